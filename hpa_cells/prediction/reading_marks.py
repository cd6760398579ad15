"""Fields whose files end the process that reads them: found after the fact, and kept from doing it again.

Decoders are large programs in C, and some file may be the one that they do not survive. No `except` helps then. So what
is being read is marked on disk, and a field whose mark is still there is read in a process of its own first.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from hpa_cells.fields import FieldSource, read_field
from hpa_cells.places import Address, Place

__all__ = ["FatalFieldError", "ReadingMarks", "marks_in"]

log = logging.getLogger(__name__)

_FOLDER = ".reading"
# Of one field; a slow network disk is no fault of the field's.
_PATIENCE_S = 600.0


class FatalFieldError(ValueError):
    """A field cannot be read, since the process that tries comes to a sudden end."""


@dataclass(frozen=True, slots=True)
class ReadingMarks:
    """A file for each field that is being read; gone at the end of the block, but not after a sudden end.

    It can be pickled, and several processes may mark fields at once.

    Attributes
    ----------
    folder
        Of the run; there already, and seen by all processes.
    """

    folder: Path

    def __enter__(self) -> ReadingMarks:
        (self.folder / _FOLDER).mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove all marks but those of fields that are known to be fatal."""
        marks = self.folder / _FOLDER
        for mark in marks.iterdir():
            # A thread that comes to its end may be quicker.
            with suppress(FileNotFoundError):
                if mark.stat().st_size == 0:
                    mark.unlink()
        with suppress(OSError):
            marks.rmdir()

    @contextmanager
    def reading(self, source: FieldSource) -> Iterator[None]:
        """Mark a field during the block.

        Raises
        ------
        FatalFieldError
            Instead of the block, if it was marked before, and reading it does end a process.
        """
        mark = self.folder / _FOLDER / source.field_id
        try:
            mark.open("x").close()
        except FileExistsError:
            log.info(
                "Field %s was being read when a process came to a sudden end: it is read apart first.",
                source.field_id,
            )
            if found := _end_of_reading(source):
                mark.write_text(f"{found}\n", encoding="utf-8")
                files = ", ".join(str(file) for file in source.files.values())
                raise FatalFieldError(
                    f"Field {source.field_id}: to read {files} {found}. Copy or convert them again."
                ) from None
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def marks_in(out: Place) -> AbstractContextManager[ReadingMarks | None]:
    """The marks of a run for what is being read, for the time of a block; None at an address.

    There they would be two more requests a field.
    """
    return nullcontext() if isinstance(out, Address) else ReadingMarks(out)


def _end_of_reading(source: FieldSource) -> str:
    """Read a field in a process of its own: how that ended, if it was not well; an error is no such end."""
    process = get_context("spawn").Process(target=_read, args=(source,), daemon=True)
    process.start()
    process.join(_PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        return f"takes more than {_PATIENCE_S:g} s"
    if process.exitcode < 0:
        return f"ends the process that does it ({signal.Signals(-process.exitcode).name})"
    # Libraries in C end a process by themselves, too.
    return f"ends the process that does it (status {process.exitcode})" if process.exitcode else ""


def _read(source: FieldSource) -> None:
    with suppress(BaseException):
        read_field(source)
