"""The image files in a folder, a zip or a CSV of paths, each with the field and channel its name tells.

Folders and CSVs may be at an address. There, nobody asks whether a file of a CSV exists: that would be four requests a
field, and who reads it finds out.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hpa_cells.fields.rows import read_rows
from hpa_cells.fields.source import ImageFile
from hpa_cells.places import Address, Place, files_in, is_address, place
from hpa_cells.shown import redacted
from hpa_cells.types import Channel

__all__ = ["Entry", "Listing", "list_files"]

_COLORS = {channel.color: channel for channel in Channel}
_CHANNEL_NAME = re.compile(
    rf"(?P<id>.*)_(?P<color>{'|'.join(_COLORS)})\.(?:png|jpe?g|(?:ome\.)?tiff?)", re.IGNORECASE | re.DOTALL
)
_STACK_NAME = re.compile(r"(?P<id>.*)\.ome\.tiff?", re.IGNORECASE | re.DOTALL)
_ID_COLUMN = "field_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file that belongs to a field.

    Attributes
    ----------
    field_id
        The field, by the name of the file; not checked yet.
    channel
        Its channel; None for a file of all channels.
    file
        Where it is.
    problem
        Why it must not be used, in words that go on a sentence; empty where it may.
    """

    field_id: str
    channel: Channel | None
    file: ImageFile
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What was found at a place.

    Attributes
    ----------
    entries
        The files that belong to fields.
    ignored
        Names of the other files, or columns of a CSV.
    """

    entries: list[Entry]
    ignored: list[str]


def list_files(location: Place, *, csv_addresses: Collection[str] = ()) -> Listing:
    """The files of fields in a folder (not in folders below it), a zip (at any depth) or a CSV of paths.

    Parameters
    ----------
    location
        The folder, zip or CSV.
    csv_addresses
        One protocol or several, of which a CSV may name any address. Of others it names those of its own bucket or web
        server: who made the CSV would have requests sent wherever they like, from where the user is.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `location`.
    ValueError
        If it is none of the three, or a damaged zip or CSV.
    """
    csv_addresses = {csv_addresses} if isinstance(csv_addresses, str) else csv_addresses
    if isinstance(location, Address):
        return _list_address(location, csv_addresses)
    if location.is_dir():
        return _list_folder(location)
    if not location.exists():
        raise FileNotFoundError(
            f"{location} does not exist: give a folder of fields, a zip or a CSV of paths."
        )
    if location.suffix.lower() == ".csv":
        return _list_csv(location, csv_addresses)
    if location.suffix.lower() == ".zip":
        return _sort_out(_members(location))
    raise ValueError(f"{location} is a file, expected a folder of fields, a .zip or a .csv of paths.")


def _list_address(location: Address, csv_addresses: Collection[str]) -> Listing:
    """The same at an address, where the name alone tells what it is: web servers do not."""
    if location.suffix.lower() == ".csv":
        return _list_csv(location, csv_addresses)
    if location.suffix.lower() == ".zip":
        raise ValueError(f"{location} is a zip, and these are read from disk: unpack it there, or copy it.")
    return _list_folder(location)


def _list_folder(location: Place) -> Listing:
    files = (ImageFile.at(path) for path in files_in(location))
    return _sort_out((file.name, file, "") for file in files)


def _sort_out(files: Iterator[tuple[str, ImageFile, str]]) -> Listing:
    """Entries of files, each with its name and why it must not be used."""
    listing = Listing(entries=[], ignored=[])
    for name, file, problem in files:
        # Hidden files: half-written ones of this package, notes of macOS. Two dots are no honest name.
        is_hidden = name.startswith(".") and not name.startswith("..")
        entry = None if is_hidden else _entry_of_name(name, file, problem)
        if entry is None:
            listing.ignored.append(name)
        else:
            listing.entries.append(entry)
    return listing


def _entry_of_name(name: str, file: ImageFile, problem: str) -> Entry | None:
    if match := _CHANNEL_NAME.fullmatch(name):
        channel = _COLORS[match["color"].lower()]
        return Entry(field_id=match["id"], channel=channel, file=file, problem=problem)
    if match := _STACK_NAME.fullmatch(name):
        return Entry(field_id=match["id"], channel=None, file=file, problem=problem)
    return None


def _why_unsafe(member: zipfile.ZipInfo) -> str:
    """Why a member of a zip is not one of an honest zip: unpacked, it would lead outside the folder."""
    if member.filename.startswith("/") or ".." in PurePosixPath(member.filename).parts:
        return "its name leads out of the zip"
    # Its content is the name of another file, of whoever reads it.
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a link, and links in a zip are not followed: put in the file itself"
    return ""


def _members(location: Path) -> Iterator[tuple[str, ImageFile, str]]:
    try:
        with zipfile.ZipFile(location) as archive:
            members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    # The latter two are what a damaged directory of the archive can lead to.
    except (zipfile.BadZipFile, RuntimeError, struct.error) as error:
        raise ValueError(f"{location} is not a whole zip ({error}): get it again.") from error
    for info in members:
        file = ImageFile.at(location, member=info.filename)
        yield PurePosixPath(info.filename).name, file, _why_unsafe(info)


def _list_csv(location: Place, csv_addresses: Collection[str]) -> Listing:
    rows = read_rows(location)
    if _ID_COLUMN not in rows.header or not _COLORS.keys() & set(rows.header):
        found = ", ".join(rows.header) or "none"
        raise ValueError(f"{location} has columns {found}; expected {_ID_COLUMN}, {', '.join(_COLORS)}.")
    entries = [
        entry
        for field_id, cells in zip(rows.column(_ID_COLUMN), rows.cells, strict=True)
        for entry in _entries_of_row(
            field_id, dict(zip(rows.header, cells, strict=True)), location, csv_addresses
        )
    ]
    ignored = [name for name in rows.header if name not in (_ID_COLUMN, *_COLORS)]
    return Listing(entries=entries, ignored=ignored)


def _entries_of_row(
    field_id: str, row: dict[str, str], location: Place, csv_addresses: Collection[str]
) -> list[Entry]:
    texts = {channel: row[color] for color, channel in _COLORS.items() if row.get(color)}
    if not texts:
        problem = "its row names no file"
        return [Entry(field_id=field_id, channel=None, file=ImageFile.at(location), problem=problem)]
    entries = []
    for channel, text in texts.items():
        try:
            path, problem = _place_beside(location, text, csv_addresses), ""
        except ValueError as error:
            path, problem = location, str(error)
        if isinstance(path, Path) and not problem and not _is_file(path):
            problem = "there is no such file"
        entries.append(Entry(field_id=field_id, channel=channel, file=ImageFile.at(path), problem=problem))
    return entries


def _place_beside(csv: Place, text: str, csv_addresses: Collection[str]) -> Place:
    """The place that a CSV names.

    Raises
    ------
    ValueError
        If it may not name it, or it is none.
    """
    if not is_address(text):
        return csv.beside(text) if isinstance(csv, Address) else csv.parent / text
    protocol = text.partition(":")[0].lower()
    is_own = isinstance(csv, Address) and f"{text}/".startswith(f"{csv.root}/")
    if not is_own and protocol not in csv_addresses:
        raise ValueError(
            f"it names {redacted(text)}, which is neither beside it nor allowed: if you trust the CSV, set "
            f"csv_addresses=[{protocol}]"
        )
    return place(text)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name that is too long for the system, or a folder that may not be looked into.
        return False
