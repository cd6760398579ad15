"""Tables that commands write and print, with texts of strangers in them."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from hpa_cells.commands.tables import print_table, write_csv

HOSTILE = ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "'x"]


def test_no_cell_of_a_file_begins_as_a_formula(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"field_id": HOSTILE, "=label": HOSTILE, "n": range(6)}), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["field_id", "'=label", "n"]
    assert [row[0] for row in rows] == [row[1] for row in rows] == [f"'{text}" for text in HOSTILE]


def test_brackets_are_printed_and_control_characters_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Title", pd.DataFrame({"id": ["[red]a[/nothing]", "b\x1b]0;c\x07"], "n": [1.0, 2.0]}))
    printed = capsys.readouterr().out
    assert "[red]a[/nothing]" in printed
    assert "b\\x1b]0;c\\x07" in printed
