"""Fields whose files end the process that reads them: found after the fact, and kept from doing it again.

Decoders are large programs in C, and some file may be the one that they do not survive. No `except` helps then. So what
is being read is marked on disk, and a run that goes on after a sudden end has each marked field read in a process of
its own first.

There are no marks at an address: they would be two more requests a field, all for one object, of which some stores take
one a second.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from types import TracebackType

from hpa_cells.fields import FieldSource, read_field
from hpa_cells.places import Place
from hpa_cells.prediction.failures import Failure, read_failures

__all__ = ["ReadingMarks", "read_apart", "suspects"]

_FILE = ".reading"
# An id is part of file names: 255 bytes at most. The rest is spaces.
_SLOT_BYTES = 256
# Of one field; a slow network disk is no fault of the field's.
_PATIENCE_S = 600.0


class ReadingMarks:
    """Marks in a folder for what is being read now; gone at the end of the block, but not after a sudden end.

    Parameters
    ----------
    folder
        Of the run; there already.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._free: SimpleQueue[int] = SimpleQueue()
        self._new = count()
        self._lock = Lock()

    def __enter__(self) -> ReadingMarks:
        self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def reading(self, field_id: str) -> Iterator[None]:
        """Mark a field during the block; from any number of threads."""
        slot = self._take_slot()
        self._write(slot, field_id)
        try:
            yield
        finally:
            self._write(slot, "")
            self._free.put(slot)

    def _take_slot(self) -> int:
        try:
            return self._free.get_nowait()
        except Empty:
            return next(self._new)

    def _write(self, slot: int, field_id: str) -> None:
        with self._lock:
            self._file.seek(slot * _SLOT_BYTES)
            self._file.write(field_id.encode().ljust(_SLOT_BYTES))


def suspects(folder: Place) -> frozenset[str]:
    """The ids of fields that ended a run in a folder, or were being read when the last one came to a sudden end."""
    known = {each.field_id for each in read_failures(folder) if each.stage == "survive"}
    path = folder / _FILE
    marks = path.read_bytes() if isinstance(path, Path) and path.exists() else b""
    slots = (marks[start : start + _SLOT_BYTES] for start in range(0, len(marks), _SLOT_BYTES))
    return frozenset(known | {slot.decode(errors="replace").strip(" \0") for slot in slots}) - {""}


def read_apart(sources: Sequence[FieldSource]) -> list[Failure]:
    """Read each field in a process of its own, all at once, and say of which that process did not survive.

    An error is no such end: it is for the run to find again.
    """
    start = get_context("spawn").Process
    processes = [start(target=_read, args=(source,), daemon=True) for source in sources]
    for process in processes:
        process.start()
    ends = [_end_of(process) for process in processes]
    return [_failure(source, end) for source, end in zip(sources, ends, strict=True) if end is not None]


def _end_of(process: BaseProcess) -> str | None:
    """Wait for the end of a process; what was wrong with it, if something was."""
    process.join(_PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        return f"takes more than {_PATIENCE_S:g} s"
    if process.exitcode < 0:
        return f"ends the process that does it ({signal.Signals(-process.exitcode).name})"
    return None


def _read(source: FieldSource) -> None:
    try:
        read_field(source)
    except (OSError, ValueError, TypeError, ArithmeticError, MemoryError):
        return


def _failure(source: FieldSource, found: str) -> Failure:
    files = ", ".join(str(file) for file in source.files.values())
    return Failure(
        field_id=source.field_id,
        stage="survive",
        error=f"Field {source.field_id}: to read {files} {found}. Copy or convert them again.",
    )
