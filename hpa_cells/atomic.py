"""A file appears whole or not at all, and a folder has one writer at a time."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hpa_cells.places import Address, Place

__all__ = ["replaced_on_success", "sole_writer"]

log = logging.getLogger(__name__)


@contextmanager
def replaced_on_success(path: Place) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    The temporary name keeps the suffix of `path`, since many writers choose their format by it, and no two
    are alike. When the block raises, the temporary file is removed and `path` stays as it was. The folder is
    made when it is missing. At an address, the temporary file is one of this machine, and is put up in one go.
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
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
