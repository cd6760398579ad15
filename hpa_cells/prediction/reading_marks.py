"""Fields whose files end the process that reads them: found after the fact, and kept from doing it again.

Decoders are large programs in C, and some file may be the one that they do not survive. No `except` helps then. So what
is being read is marked beside the table, and a field whose mark is still there when a process begins is read in a
process of its own first. A cluster does the work of a lost process again, for ever: so it comes to an end of it, too.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from types import TracebackType

from hpa_cells.fields import FieldSource, read_field
from hpa_cells.places import Place, files_in

__all__ = ["FatalFieldError", "ReadingMarks"]

log = logging.getLogger(__name__)

_FOLDER = ".reading"
# No field has such an id.
_BEGUN = ".begun"
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
        Of the run, on a disk or at an address; there already, and seen by all processes.
    """

    folder: Place

    def __enter__(self) -> ReadingMarks:
        marks = self.folder / _FOLDER
        if isinstance(marks, Path):
            marks.mkdir(exist_ok=True)
        else:
            # Where there are no folders, or it may not, the first file tells.
            with suppress(OSError):
                marks.make_folder()
            # Stores that are asked for a folder without a file look through all that is beside it.
            (marks / _BEGUN).write_bytes(b"")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove all marks but those of fields that are known to be fatal."""
        for mark in self._left():
            # A thread that comes to its end may be quicker.
            with suppress(FileNotFoundError):
                if mark.name == _BEGUN or not mark.read_bytes():
                    mark.unlink()
        if isinstance(self.folder, Path):
            with suppress(OSError):
                (self.folder / _FOLDER).rmdir()

    def reader(self) -> Callable[[FieldSource], AbstractContextManager[None]]:
        """What marks a field during a block, for a process or task that begins; it may be called from several threads.

        It looks for marks of others once, at the first field: at an address that is a request.

        Raises
        ------
        FatalFieldError
            When it is called, instead of the block, if the field was marked before, and reading it does end a process.
        """
        look, seen = Lock(), list[frozenset[str]]()

        def suspects() -> frozenset[str]:
            with look:
                if not seen:
                    seen.append(frozenset(mark.name for mark in self._left()))
            return seen[0]

        return lambda source: self._reading(source, is_suspect=source.field_id in suspects())

    @contextmanager
    def _reading(self, source: FieldSource, *, is_suspect: bool) -> Iterator[None]:
        mark = self.folder / _FOLDER / source.field_id
        if is_suspect:
            log.warning(
                "Field %s was being read when a process came to a sudden end: it is read apart first.",
                source.field_id,
            )
            if found := _end_of_reading(source):
                mark.write_bytes(f"{found}\n".encode())
                files = ", ".join(str(file) for file in source.files.values())
                raise FatalFieldError(
                    f"Field {source.field_id}: to read {files} {found}. Copy or convert them again."
                )
        mark.write_bytes(b"")
        try:
            yield
        finally:
            # One that stays costs its field another look, no more.
            with suppress(OSError):
                mark.unlink(missing_ok=True)

    def _left(self) -> list[Place]:
        try:
            return files_in(self.folder / _FOLDER)
        except FileNotFoundError:
            return []


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
