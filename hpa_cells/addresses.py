"""Files at addresses: object stores and the web, by way of fsspec.

`Address` has those methods of `pathlib.Path` that mean something without a disk, so that most code takes either. It is
no `os.PathLike`: what needs a disk says so, instead of making a folder called ``s3:``.
"""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hpa_cells.limits import MAX_FILE_BYTES
from hpa_cells.shown import redacted

__all__ = ["PACKAGES", "Address", "file_system"]

# Protocol -> the package that knows it. fsspec knows more, and says itself what they want.
PACKAGES: Final = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "memory": "fsspec",
}
# Metadata lie here and there in a file: each piece costs a request, and each request a twentieth of a second.
_PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Address:
    """A file or folder by its address, such as ``s3://bucket/run``; made by `place`.

    Folders are not removed, and made only when that is asked for: object stores have none. Whatever goes wrong is an
    OSError, in whose text the address stands. As a text it is for people to see, without passwords and tokens.

    Attributes
    ----------
    url
        The whole address, without ``/`` at its end.
    """

    url: str

    def __str__(self) -> str:
        return redacted(self.url)

    def __repr__(self) -> str:
        return f"Address(url={str(self)!r})"

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.url}/{name}")

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    @property
    def root(self) -> str:
        """The bucket or web server, with its protocol."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part, without what stands after its last dot."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """What stands after the last dot of the last part, and the dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> Address:
        """The folder; of a bucket the bucket itself."""
        return self if self.url == self.root else Address(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> Address:
        """Another file beside this one."""
        return self.parent / name

    def beside(self, path: str) -> Address:
        """The file at a path that starts from the folder of this one, and may begin with ``../``.

        Raises
        ------
        ValueError
            If the path is none that starts there, or leads out of the bucket or web server.
        """
        inside = posixpath.normpath(posixpath.join(self.parent.url[len(self.root) + 1 :], path))
        if path.startswith("/") or inside.startswith(".."):
            raise ValueError(
                f"{path} leads out of {redacted(self.root)}: write it as from {self.parent}/ on, or as a whole address"
            )
        return Address(f"{self.root}/{inside}")

    def exists(self) -> bool:
        """Whether there is a file or a folder; asked anew each time."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether there is a file; asked anew each time."""
        return self._kind() == "file"

    def glob(self, pattern: str) -> Iterator[Address]:
        """Files and folders in this folder whose names are as the pattern; none where it does not exist."""
        try:
            names = self._children()
        except FileNotFoundError:
            names = {}
        return (self / name for name in names if fnmatchcase(name, pattern))

    def files(self) -> list[Address]:
        """The files in this folder, sorted; one request for a thousand of them.

        Raises
        ------
        FileNotFoundError
            If there is nothing.
        NotADirectoryError
            If it is a file.
        """
        return sorted(self / name for name, is_file in self._children().items() if is_file)

    def num_bytes(self) -> int:
        """The size of the file; from its listing, where that is known."""
        with self._opened() as (store, path):
            size = store.info(path).get("size")
        if size is None:
            raise OSError(f"{self} does not say how large it is: copy it to this machine")
        return int(size)

    def read_bytes(self) -> bytes:
        """The content of the whole file.

        Raises
        ------
        ValueError
            If it is absurdly large.
        """
        num_bytes = self.num_bytes()
        if num_bytes > MAX_FILE_BYTES:
            raise ValueError(
                f"{self} has {num_bytes:,} bytes, at most {MAX_FILE_BYTES:,} are read: cut it into parts"
            )
        with self._opened() as (store, path):
            return bytes(store.cat_file(path))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of the whole file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Put up the whole file in one go: of an object store it is there whole, or as it was."""
        try:
            with self._opened() as (store, path):
                store.pipe_file(path, data)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self} cannot be written, since {redacted(self.root)} is not there: make it first."
            ) from error

    def make_folder(self) -> None:
        """Make the folder where there are folders that have to be made, as by sftp; object stores have none."""
        with self._opened() as (store, path):
            store.makedirs(path, exist_ok=True)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with self._opened() as (store, path):
                store.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self) -> io.BufferedReader:
        """The content as a stream to seek in, of which only what is read is fetched."""
        return io.BufferedReader(_Pieces(self), _PIECE_BYTES)

    def read_piece(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`."""
        with self._opened() as (store, path):
            piece = bytes(store.cat_file(path, start=start, end=end))
        # Some web servers know no pieces, and send the whole.
        return piece if len(piece) <= end - start else piece[start:end]

    def _kind(self) -> str | None:
        try:
            with self._opened() as (store, path):
                store.invalidate_cache(path)
                return str(store.info(path)["type"])
        except FileNotFoundError:
            return None

    def _children(self) -> dict[str, bool]:
        """Name -> whether it is a file; asked anew each time, since other machines may write here."""
        with self._opened() as (store, path):
            store.invalidate_cache(path)
            found = store.ls(path, detail=True)
        children = {}
        for each in found:
            name = str(each["name"]).rstrip("/")
            if name.strip("/") != path.strip("/"):
                children[name.rpartition("/")[2]] = each["type"] == "file"
            elif each["size"]:
                # Where it has no bytes, it is how some programs mark a folder.
                raise NotADirectoryError(f"{self} is a file, expected a folder.")
        return children

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """The file system of fsspec and the path in it; errors in the block become plain ones."""
        kind = file_system(self.protocol)
        try:
            options = kind._get_kwargs_from_urls(self.url)
            yield _connected(kind, frozenset(options.items()), os.getpid()), kind._strip_protocol(self.url)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self} does not exist.") from error
        # Each store's package has errors of its own, which have no more in common than this.
        except Exception as error:
            told = redacted(str(error))
            # Its trace would tell what is secret.
            cause = error if told == str(error) else None
            raise OSError(
                f"{self} cannot be reached ({type(error).__name__}: {told}): check its spelling, your credentials and "
                "rights, and the network."
            ) from cause


class _Pieces(io.RawIOBase):
    def __init__(self, address: Address) -> None:
        self._address, self._num_bytes, self._position = address, address.num_bytes(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._num_bytes)
        if end <= self._position:
            return 0
        piece = self._address.read_piece(self._position, end)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


@lru_cache
def file_system(protocol: str) -> Any:
    """The class of fsspec for a protocol."""
    from fsspec import get_filesystem_class

    try:
        return get_filesystem_class(protocol)
    except ImportError as error:
        cure = f"pip install {PACKAGES[protocol]}" if protocol in PACKAGES else str(error)
        raise ValueError(f"{protocol}:// needs a package that is not installed: {cure}") from error
    except ValueError as error:
        raise ValueError(
            f"{protocol}:// is not a protocol that is known: use {', '.join(PACKAGES)}, or a path of this machine."
        ) from error


# fsspec would connect anew for each thread; forked processes must not share connections.
@lru_cache(maxsize=16)
def _connected(kind: Any, options: frozenset[tuple[str, Any]], _process: int) -> Any:
    return kind(**dict(options))
