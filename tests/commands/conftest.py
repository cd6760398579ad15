"""The console program as a user sees it, in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from hpa_cells.commands.app import main


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def hpa_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Call ``hpa-cells`` with these arguments."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hpa-cells", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code
        return Ended(status if isinstance(status, int) else 0, *capsys.readouterr())

    yield call
    root.handlers, root.level = handlers, level
