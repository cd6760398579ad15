"""Where the files of a field are: on disk, inside a zip, or at an address."""

from __future__ import annotations

import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from hpa_cells.fields.ids import check_field_id
from hpa_cells.limits import MAX_FILE_BYTES, check_unpacked
from hpa_cells.places import Address, Place
from hpa_cells.types import Channel

__all__ = ["FieldSource", "ImageFile", "UnreadableImageError"]

# What zipfile raises for members that are damaged, encrypted, packed in an unknown way or not there any more.
_ZIP_DAMAGE = (zipfile.BadZipFile, RuntimeError, KeyError, EOFError, zlib.error, lzma.LZMAError)


class UnreadableImageError(ValueError):
    """Why an image file cannot be used; its text goes on the sentence ``<file> cannot be used: it ...``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """One image file, or one plane of it; made by `at`.

    A list of a million fields is held in memory, and a path of its own would be most of a file's share.

    Attributes
    ----------
    folder
        The folder of the file on disk, the same object for all its files; else the place of the file.
    file_name
        Its name in this folder; empty where `folder` is the file.
    member
        Its name inside the zip; empty for a plain file.
    plane
        Which plane of a multi-channel file; None for a file that holds one channel.
    """

    folder: Place
    file_name: str = ""
    member: str = ""
    plane: int | None = None

    @classmethod
    def at(cls, path: Place, *, member: str = "") -> ImageFile:
        """The file at a place, or the member of the zip there."""
        if isinstance(path, Address) or member:
            return cls(folder=path, member=member)
        return cls(folder=_shared(path.parent), file_name=path.name)

    @property
    def path(self) -> Place:
        """The file, or the zip on disk that holds it."""
        return self.folder / self.file_name if self.file_name else self.folder

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member).name or self.file_name or self.folder.name

    def open(self) -> IO[bytes]:
        """The content as a stream: of the file itself, or of a copy in memory where it lies in a zip."""
        path = self.path
        if isinstance(path, Address):
            return path.open()
        if self.member:
            return io.BytesIO(self.read_bytes())
        _check_file(path)
        return path.open("rb")

    def read_bytes(self) -> bytes:
        """The content of the whole file.

        Raises
        ------
        OSError
            If the file cannot be read.
        UnreadableImageError
            If it is absurdly large, no file at all, or a damaged or encrypted member of a zip.
        """
        path = self.path
        if isinstance(path, Address):
            return _read_address(path)
        if self.member:
            return _read_member(path, self.member)
        _check_file(path)
        return path.read_bytes()


@lru_cache(maxsize=1024)
def _shared(folder: Path) -> Path:
    """The first of equal paths."""
    return folder


def _check_file(path: Path) -> None:
    """Refuse what has no end, such as a device, or no beginning: a pipe that nobody writes to."""
    # A link is followed: folders of links to the images of a disk are how many laboratories share them.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImageError("it is no regular file")
    _check_size(status.st_size)


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_FILE_BYTES:
        raise UnreadableImageError(
            f"it has {num_bytes:,} bytes, at most {MAX_FILE_BYTES:,} are read: cut it into parts"
        )


def _read_address(address: Address) -> bytes:
    try:
        return address.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError("there is no such file") from error
    except ValueError as error:
        raise UnreadableImageError(str(error)) from error


def _read_member(path: Path, member: str) -> bytes:
    try:
        archive = _open_zip(path, path.stat().st_mtime_ns, os.getpid())
        info = archive.getinfo(member)
        _check_size(info.file_size)
        try:
            # Of what the zip really holds: its directory may promise anything for both.
            check_unpacked(info.file_size, min(info.compress_size, path.stat().st_size))
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error
        return archive.read(info)
    except _ZIP_DAMAGE as error:
        raise UnreadableImageError(f"it cannot be unpacked ({error})") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldSource:
    """A field that was found and not yet read.

    Attributes
    ----------
    field_id
        Name of the field, safe as a file name.
    files
        The file of each channel that has one.
    """

    field_id: str
    files: Mapping[Channel, ImageFile]

    def __post_init__(self) -> None:
        check_field_id(self.field_id)
        if not self.files:
            raise ValueError(f"Field {self.field_id} has no file of any channel.")

    @property
    def missing(self) -> frozenset[Channel]:
        """The channels without a file."""
        return frozenset(Channel) - frozenset(self.files)


# Reading the directory of a zip of 80,000 files takes half a second: once a process, not once a file. The
# process number is part of the key, since forked processes must not share the position of one open file.
@lru_cache(maxsize=4)
def _open_zip(path: Path, _modified_ns: int, _process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
