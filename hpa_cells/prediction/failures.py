"""Fields that failed: on record with their error, while the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import pandas as pd

from hpa_cells.atomic import replaced_on_success

__all__ = ["FAILURES_FILE", "Failure", "at_stage", "attempt", "write_failures"]

FAILURES_FILE = "failures.csv"

# What a single field may be blamed for, beside memory that torch does not get: a field may have ten times the cells
# of the others. Anything else is a fault of the program or the machine, would befall every field alike, and ends
# the run.
_FIELD_ERRORS = (OSError, ValueError, TypeError, ArithmeticError, MemoryError, cv2.error)
# How torch says it of the CPU, by no error of its own.
_NO_MEMORY_OF_CPU = "can't allocate memory"


class _OfField(Protocol):
    @property
    def field_id(self) -> str: ...


T = TypeVar("T", bound=_OfField)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A field that could not be finished.

    Attributes
    ----------
    field_id
        The field.
    stage
        Where it failed: ``find``, ``read``, ``segment``, ``crop`` or ``score``.
    error
        What was found, what was wanted, what to do.
    """

    field_id: str
    stage: str
    error: str


class _StageError(Exception):
    """An error that a field is to blame for, and the stage it came from."""

    def __init__(self, stage: str, error: str) -> None:
        super().__init__(error)
        self.stage = stage


@contextmanager
def at_stage(stage: str) -> Iterator[None]:
    """Name the stage of an error in the block, for `attempt`."""
    try:
        yield
    except _FIELD_ERRORS as error:
        raise _StageError(stage, str(error) or type(error).__name__) from error
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        found = str(error).strip().split("\n")[0]
        raise _StageError(
            stage, f"It needs more memory than is free ({found}): lower batch_cells, or use another device."
        ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY_OF_CPU in str(error)


def attempt(function: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R | Failure]:
    """Call a function that takes several fields at once, and put a `Failure` in place of each guilty one.

    When the call fails `at_stage`, the halves of the fields are tried alone, and so on, so that only those that fail
    by themselves are lost, and a batch that is too large for the memory is halved.
    """
    try:
        return [*function(items)]
    except _StageError as error:
        if len(items) == 1:
            return [Failure(field_id=items[0].field_id, stage=error.stage, error=str(error))]
    middle = len(items) // 2
    return [*attempt(function, items[:middle]), *attempt(function, items[middle:])]


def write_failures(folder: Path, failures: Sequence[Failure]) -> Path:
    """Write ``failures.csv`` (field_id, stage, error) in one go; only its header where nothing failed.

    What is there already is not written again: who reads the masks of a folder takes new files for new masks.
    """
    path = folder / FAILURES_FILE
    columns = [column.name for column in fields(Failure)]
    text = pd.DataFrame([asdict(each) for each in failures], columns=columns).to_csv(index=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replaced_on_success(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path
