"""What is logged, as a terminal shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

SECRET = "https://user:pw@host/f.png?sig=abc"


def test_names_of_strangers_and_secrets(
    hpa_cells: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def run(_: object) -> None:
        log = logging.getLogger("hpa_cells.anywhere")
        log.warning("%s of %s", "a\x1b[2J\nERROR b", SECRET)
        try:
            raise KeyError(SECRET)
        except KeyError:
            log.exception("c\x07")
        raise ValueError(f"d\x1b[2J {SECRET}")

    monkeypatch.setattr(import_module("hpa_cells.commands.predict"), "run", run)
    ended = hpa_cells("predict", "fields=F", f"out={tmp_path}")
    assert ended.status == 1
    first, second, *trace, last = ended.stderr.splitlines()
    assert first == "WARNING a\\x1b[2J"
    assert second == "  ERROR b of https://***@host/f.png?***"
    assert trace[0] == "ERROR c\\x07"
    assert all(line.startswith("  ") for line in trace[1:])
    assert "KeyError: 'https://***@host/f.png?***'" in trace[-1]
    assert last == "hpa-cells: d\\x1b[2J https://***@host/f.png?***"
