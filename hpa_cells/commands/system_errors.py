"""What the system says of files, in words that tell which file, what is wrong and what to do."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

__all__ = ["told_by_system"]

# The name under which `hpa_cells.atomic` writes before a file gets its own.
_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(?:tmp|old)(\.[^./]+)?")
# HDF5 has these in the middle of a long text.
_NAME_IN_TEXT: Final = re.compile(r"name = '([^']*)'")
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def told_by_system(error: OSError, out: str | None) -> str:
    """The message of an error; one that has no number is in plain words already and stays as it is.

    Parameters
    ----------
    error
        It.
    out
        Where the command writes to, which tells what was read from what was to be written.

    Examples
    --------
    >>> told_by_system(FileNotFoundError(2, "No such file", "/proc/.c.0a1b2c3d.tmp.csv"), "/proc/c.csv")
    '/proc/c.csv cannot be written there (No such file): choose another `out`.'
    >>> told_by_system(FileNotFoundError(2, "No such file", "/data/train.csv"), "run")
    '/data/train.csv cannot be read (No such file): check the path.'
    """
    if error.errno is None:
        return str(error)
    text = str(error.strerror or error)
    named = error.filename if isinstance(error.filename, (str, os.PathLike)) else None
    found = _NAME_IN_TEXT.search(text)
    if named is None and found:
        named, text = found[1], os.strerror(error.errno)
    if error.errno in _FULL:
        place = out or (named and _own_name(Path(named))) or "what is written"
        return (
            f"The disk has no room for {place} ({text}): make room there, or choose another `out`; the same command "
            "then does what is left."
        )
    if named is None:
        return str(error)
    path = _own_name(Path(named))
    if path == Path(named) and not _is_of(path, out):
        start = "" if path.is_absolute() else f"; it starts from {Path.cwd()}"
        to_do = "have that allowed" if error.errno in _NOT_ALLOWED else f"check the path{start}"
        return f"{path} cannot be read ({text}): {to_do}."
    allowed = ", or have that allowed" if error.errno in _NOT_ALLOWED else ""
    return f"{path} cannot be written there ({text}): choose another `out`{allowed}."


def _own_name(path: Path) -> Path:
    """The path that a temporary one stands for, also of a file in a temporary folder."""
    parts = [(_TEMPORARY.fullmatch(part), part) for part in path.parts]
    return Path(*(f"{found[1]}{found[2] or ''}" if found else part for found, part in parts))


def _is_of(path: Path, out: str | None) -> bool:
    """Whether a path is `out`, in it, or a folder that it is in."""
    if out is None:
        return False
    whole, place = path.resolve(), Path(out).resolve()
    return whole.is_relative_to(place) or place.is_relative_to(whole)
