"""Texts of errors and settings in the table of a sweep."""

from __future__ import annotations

import csv
from pathlib import Path

from hpa_cells.commands.sweep import RUNS_FILE, _read, _record


def test_no_text_is_a_formula_and_all_come_back(tmp_path: Path) -> None:
    _record(tmp_path, {"run": 0, "settings": "=1+1", "error": "@it failed"})
    _record(tmp_path, {"run": 1, "settings": "a=1", "score": -0.5})
    with (tmp_path / RUNS_FILE).open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["settings"], first["error"]) == ("'=1+1", "'@it failed")
    # A score is a number, also a negative one.
    assert second["score"] == "-0.5"
    read = _read(tmp_path)
    assert (read["settings"][0], read["error"][0], read["score"][1]) == ("=1+1", "@it failed", "-0.5")
