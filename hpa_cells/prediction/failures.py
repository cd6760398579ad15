"""Fields that failed: on record with their error, while the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Generic, Protocol, TypeVar

import cv2
import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.places import Place, local_or_bytes
from hpa_cells.prediction.memory import is_out_of_memory
from hpa_cells.shown import redacted
from hpa_cells.spreadsheet import guarded, plain_text

__all__ = ["FAILURES_FILE", "Attempt", "Failure", "OfField", "at_stage", "read_failures", "write_failures"]

log = logging.getLogger(__name__)

FAILURES_FILE = "failures.csv"

# What a single field may be blamed for, beside memory that torch does not get: a field may have ten times the cells
# of the others. Anything else is a fault of the program or the machine, would befall every field alike, and ends
# the run.
_FIELD_ERRORS = (OSError, ValueError, TypeError, ArithmeticError, MemoryError, cv2.error)


class OfField(Protocol):
    """Whatever is of one field."""

    @property
    def field_id(self) -> str:
        """The field's name."""
        ...


T = TypeVar("T", bound=OfField)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A field that could not be finished.

    Attributes
    ----------
    field_id
        The field.
    stage
        Where it failed: ``find``, ``read``, ``segment``, ``crop`` or ``score``; ``survive`` if the process ends that
        reads it.
    error
        What was found, what was wanted, what to do.
    """

    field_id: str
    stage: str
    error: str

    def __post_init__(self) -> None:
        # It goes into files and logs, and libraries put whole addresses into their errors.
        object.__setattr__(self, "error", redacted(self.error))


class _StageError(Exception):
    """An error that a field is to blame for, and the stage it came from."""

    def __init__(self, stage: str, error: str, *, is_of_memory: bool = False) -> None:
        super().__init__(error)
        self.stage = stage
        self.is_of_memory = is_of_memory


@contextmanager
def at_stage(stage: str, errors: tuple[type[Exception], ...] = _FIELD_ERRORS) -> Iterator[None]:
    """Name the stage of an error in the block, for `Attempt`; a field is to blame for these and for lack of memory."""
    of_memory_too: tuple[type[Exception], ...] = (*errors, RuntimeError)
    try:
        yield
    except of_memory_too as error:
        found = str(error).strip() or type(error).__name__
        if is_out_of_memory(error):
            first = found.split("\n")[0]
            raise _StageError(
                stage,
                f"It needs more memory than is free ({first}): lower batch_cells, or use another device.",
                is_of_memory=True,
            ) from error
        if not isinstance(error, errors):
            raise
        raise _StageError(stage, found) from error


@dataclass(slots=True)
class Attempt(Generic[T, R]):
    """Calls a function that takes several fields at once, and puts a `Failure` in place of each guilty one.

    When a call fails `at_stage`, the halves of the fields are tried alone, and so on, so that only those that fail by
    themselves are lost. Where the memory was too small, no more fields are tried at once from then on.
    """

    function: Callable[[Sequence[T]], Sequence[R]]
    _most_fields: int | None = None

    def __call__(self, items: Sequence[T]) -> list[R | Failure]:
        """What the function says of each, or why it cannot."""
        size = self._most_fields or max(1, len(items))
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        return [outcome for part in parts for outcome in self._try(part)]

    def _try(self, items: Sequence[T]) -> list[R | Failure]:
        try:
            return [*self.function(items)]
        except _StageError as error:
            if len(items) == 1:
                return [Failure(field_id=items[0].field_id, stage=error.stage, error=str(error))]
            is_of_memory = error.is_of_memory
        middle = len(items) // 2
        outcomes = [*self._try(items[:middle]), *self._try(items[middle:])]
        # Else it was for one field alone that the memory was too small.
        if is_of_memory and not any(isinstance(each, Failure) for each in outcomes):
            self._most_fields = min(middle, self._most_fields or middle)
            log.warning("The memory is too small for %d fields at once: going on with fewer.", len(items))
        return outcomes


def read_failures(folder: Place) -> list[Failure]:
    """What ``failures.csv`` of a folder says; nothing where there is none."""
    path = folder / FAILURES_FILE
    if not path.exists():
        return []
    rows = pd.read_csv(local_or_bytes(path), dtype=str, keep_default_na=False)
    if missing := [column.name for column in fields(Failure) if column.name not in rows]:
        raise ValueError(f"{path} has no column {missing[0]}: remove the file, or copy the run again.")
    columns = [rows[column.name] for column in fields(Failure)]
    return [
        Failure(field_id=plain_text(field_id), stage=stage, error=plain_text(error))
        for field_id, stage, error in zip(*columns, strict=True)
    ]


def write_failures(folder: Place, failures: Sequence[Failure]) -> Place:
    """Write ``failures.csv`` (field_id, stage, error) in one go; only its header where nothing failed.

    What is there already is not written again: who reads the masks of a folder takes new files for new masks.
    """
    path = folder / FAILURES_FILE
    columns = [column.name for column in fields(Failure)]
    text = guarded(pd.DataFrame([asdict(each) for each in failures], columns=columns)).to_csv(index=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replaced_on_success(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path
