"""A file appears whole or not at all, and a folder has one writer at a time."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hpa_cells.places import Address, Place

__all__ = ["folder_replaced_on_success", "replaced_on_success", "sole_writer"]

log = logging.getLogger(__name__)

# What systems say whose disks cannot be waited for; any other error is one of the disk.
_KNOW_NO_SYNC: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_TRIES, _PAUSE_S = 20, 0.1


@contextmanager
def replaced_on_success(path: Place) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    The temporary name keeps the suffix of `path`, since many writers choose their format by it, and no two
    are alike. When the block raises, the temporary file is removed and `path` stays as it was. The folder is
    made when it is missing. When this returns, the file outlasts a power cut, as far as the disk keeps what it says. At
    an address, the temporary file is one of this machine, and is put up in one go.
    """
    if isinstance(path, Address):
        with TemporaryDirectory(prefix="hpa-cells-") as folder:
            yield Path(folder, path.name)
            path.write_bytes(Path(folder, path.name).read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        # A file may else be there by its name before its content is.
        _bring_to_disk(temporary)
        temporary.replace(path)
        # Windows opens no folder, and the file is there already.
        with suppress(OSError):
            _bring_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _bring_to_disk(path: Path) -> None:
    """Wait until the disk has what was written to a file, or the names in a folder."""
    # To be written to, where a system asks that of files.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _KNOW_NO_SYNC:
            raise
    finally:
        os.close(handle)


@contextmanager
def folder_replaced_on_success(path: Path, *, marks: Collection[str]) -> Iterator[Path]:
    """Give the name of a folder beside `path` to write to; it takes the place of `path` when the block ends well.

    As `replaced_on_success`, for formats that are folders, but nothing waits for the disk, and a kill between its two
    steps leaves the old folder under a hidden name. Who writes makes the folder.

    Parameters
    ----------
    path
        The folder. One that is there is replaced when the block has ended well, and not before.
    marks
        Names of which a folder of this format holds one: any other folder is left alone.

    Raises
    ------
    FileExistsError
        If there is a folder of something else at `path`, or a file.
    """
    path = path.resolve()
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file, and a folder is to be written: choose another `out`.")
    if path.exists() and any(path.iterdir()) and not any((path / mark).exists() for mark in marks):
        raise FileExistsError(
            f"{path} holds something else ({next(path.iterdir()).name}) and is not replaced: choose another `out`."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporary, old = (path.with_name(f".{path.stem}.{token}.{word}{path.suffix}") for word in ("tmp", "old"))
    try:
        yield temporary
        # A folder that holds something cannot be replaced in one step.
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        _remove(temporary)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove a folder for good; threads of who wrote it, such as those of zarr, may make it again after an error."""
    for _ in range(_TRIES):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_PAUSE_S)
    log.warning("%s could not be removed, and is of no use: remove it.", folder)


@contextmanager
def sole_writer(folder: Place) -> Iterator[None]:
    """Keep other writers out of `folder` during the block; the folder is made when it is missing.

    The hold ends with the process, however that ends, and leaves no file. Where the system or the disk knows
    no such holds (Windows, some network disks), nothing is held; nor is it at an address,
    since object stores know none.

    Raises
    ------
    BlockingIOError
        If another writer is at work there.
    """
    if isinstance(folder, Address):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"Another command is writing to {folder}: wait for its end, or choose another `out`."
            ) from error
        except OSError:
            log.debug("%s cannot be held for one writer", folder)
        yield
    finally:
        os.close(handle)
