"""Places of files: paths of this machine, and addresses."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from hpa_cells.addresses import PACKAGES, Address, file_system
from hpa_cells.shown import redacted

__all__ = ["Address", "Place", "files_in", "is_address", "local_or_bytes", "overlapped", "place"]

T = TypeVar("T")
R = TypeVar("R")

Place: TypeAlias = Path | Address

_LOCAL: Final = ("file", "local")
# Two letters at least: one is a drive of Windows.
_PROTOCOL: Final = re.compile(r"([a-z][a-z0-9+.-]+(?:::[a-z0-9+.-]+)*)(://?)", re.IGNORECASE)
_REQUESTS_AT_ONCE: Final = 16


def place(text: str | Place) -> Place:
    """The place that a text names: a path, also of ``file://``, or an `Address` for any other protocol of fsspec.

    Raises
    ------
    ValueError
        If the protocol is not known, its package is not installed, or the address lacks a slash or its path.

    Examples
    --------
    >>> place("memory://bucket/run/")
    Address(url='memory://bucket/run')
    >>> place("runs/a").name
    'a'
    """
    if isinstance(text, Address):
        return text
    if not is_address(str(text)):
        return Path(text)
    protocol, separator, rest = str(text).partition("://")
    protocol = protocol.lower()
    if not separator or "::" in protocol or not rest.strip("/"):
        raise ValueError(
            f"{redacted(str(text))} is no whole address: write it as in s3://bucket/folder, as a text and no path of "
            "Python, and without a chain of protocols."
        )
    kind = file_system(protocol)
    if protocol in _LOCAL:
        return Path(kind._strip_protocol(str(text)))
    return Address(f"{protocol}://{rest}".rstrip("/"))


def is_address(text: str) -> bool:
    """Whether a text names a place by a protocol, be it known or not; also one that lacks a slash.

    Examples
    --------
    >>> [is_address(each) for each in ("s3://bucket/run", "s4://bucket", "runs/a", "C:/runs")]
    [True, True, False, False]
    """
    found = _PROTOCOL.match(text)
    # A folder may be called ``x:``, but for those words that a slash was lost from.
    return found is not None and (found[2] == "://" or found[1].lower() in PACKAGES)


def files_in(folder: Place) -> list[Place]:
    """The files in a folder, by name; not the folders."""
    if isinstance(folder, Address):
        return [*folder.files()]
    return [path for path in sorted(folder.iterdir()) if not path.is_dir()]


def local_or_bytes(file: Place) -> Path | io.BytesIO:
    """What libraries open that know nothing of addresses: the path, or the bytes of the whole file."""
    return io.BytesIO(file.read_bytes()) if isinstance(file, Address) else file


def overlapped(function: Callable[[T], R], items: Iterable[T], *, are_far: bool) -> Iterator[R]:
    """What a function says of each item, in order; of things at an address it asks for several at once.

    A request takes its time, during which nothing is to do here.
    """
    if not are_far:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="hpa-cells far")
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
