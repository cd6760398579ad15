"""Finding fields, and saying of each one that cannot be used why not."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial

from hpa_cells.fields.ids import check_field_id
from hpa_cells.fields.listing import Entry, Listing, list_files
from hpa_cells.fields.ome import channels_of_planes
from hpa_cells.fields.source import FieldSource, ImageFile, UnreadableImageError
from hpa_cells.fields.tiff import read_ome_metadata
from hpa_cells.places import Address, Place, overlapped, place
from hpa_cells.types import Channel

__all__ = ["FieldProblem", "find_fields", "scan_fields"]

log = logging.getLogger(__name__)

_NUM_SHOWN = 5
_EXPECTED = (
    "<id>_red.png, <id>_green.png, <id>_blue.png, <id>_yellow.png (or .tif, .tiff, .jpg), or <id>.ome.tif"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldProblem:
    """A field that was found and cannot be used.

    Attributes
    ----------
    field_id
        Its name; maybe not safe as a file name.
    message
        What was found, what is wanted and what to do, with the id and the file.
    """

    field_id: str
    message: str


class _UnusableFieldError(ValueError):
    """Why a field cannot be used."""


def find_fields(
    location: Place | str, *, optional: frozenset[Channel] = frozenset(), csv_addresses: Collection[str] = ()
) -> list[FieldSource]:
    """The fields at a place, sorted by id, when every one of them can be used.

    Parameters
    ----------
    location
        A folder of ``<id>_{red,green,blue,yellow}.{png,tif,tiff,jpg,jpeg}`` or of ``<id>.ome.tif`` with all
        channels; a ``.zip`` of such files, which is read in place; or a ``.csv`` with the columns ``field_id,
        red, green, blue, yellow``, whose paths start from its own folder. Other files, such as
        ``<id>_cells.png``, are left aside. Folders and CSVs may be at an address, such as ``s3://bucket/plate1``.
    optional
        Channels that a field may lack.
    csv_addresses
        Protocols of which a CSV may name any address, see `hpa_cells.fields.listing.list_files`.

    Raises
    ------
    FileNotFoundError
        If `location` does not exist or holds no field.
    ValueError
        If a field lacks a channel, has two files for one, or an id that is not safe as a file name. All such
        fields are counted and the first five told; `scan_fields` returns them instead.
    """
    sources, problems = scan_fields(location, optional=optional, csv_addresses=csv_addresses)
    if problems:
        shown = "\n".join(f"  {problem.message}" for problem in problems[:_NUM_SHOWN])
        rest = len(problems) - _NUM_SHOWN
        more = f"\n  and {rest} more" if rest > 0 else ""
        total = len(sources) + len(problems)
        raise ValueError(
            f"{place(location)}: {len(problems)} of {total} fields cannot be used:\n{shown}{more}"
        )
    return sources


def scan_fields(
    location: Place | str, *, optional: frozenset[Channel] = frozenset(), csv_addresses: Collection[str] = ()
) -> tuple[list[FieldSource], list[FieldProblem]]:
    """The fields at a place that can be used, and what is wrong with the others, each sorted by id.

    See `find_fields` for the parameters. No pixels are read.

    Raises
    ------
    FileNotFoundError
        If `location` does not exist or holds no field at all.
    ValueError
        If `location` is no folder, zip or CSV, or a damaged one.
    """
    location = place(location)
    listing = list_files(location, csv_addresses=csv_addresses)
    if not listing.entries:
        raise FileNotFoundError(
            f"No fields in {location}: found {_some(listing.ignored)}; expected {_EXPECTED}."
        )
    _tell_ignored(location, listing)
    entries_of_id: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in listing.entries:
        entries_of_id[entry.field_id].append(entry)
    look_at = partial(_source_or_problem, optional=optional)
    found = list(overlapped(look_at, sorted(entries_of_id.items()), are_far=isinstance(location, Address)))
    return (
        [each for each in found if isinstance(each, FieldSource)],
        [each for each in found if isinstance(each, FieldProblem)],
    )


def _source_or_problem(
    named: tuple[str, list[Entry]], *, optional: frozenset[Channel]
) -> FieldSource | FieldProblem:
    field_id, entries = named
    try:
        return _source_of(field_id, entries, optional)
    except _UnusableFieldError as error:
        return FieldProblem(field_id=field_id, message=str(error))


def _source_of(field_id: str, entries: list[Entry], optional: frozenset[Channel]) -> FieldSource:
    try:
        check_field_id(field_id)
    except ValueError as error:
        raise _UnusableFieldError(f"{error} ({entries[0].file})") from error
    files: dict[Channel, ImageFile] = {}
    for entry in entries:
        if entry.problem:
            raise _UnusableFieldError(f"Field {field_id}: {entry.file} cannot be used: {entry.problem}.")
        for channel, file in _files_of_entry(field_id, entry).items():
            if channel in files:
                raise _UnusableFieldError(
                    f"Field {field_id} has two files for {channel.color} "
                    f"({files[channel]} and {file}): keep one."
                )
            files[channel] = file
    lacking = sorted(frozenset(Channel) - files.keys() - optional)
    if lacking:
        raise _UnusableFieldError(
            f"Field {field_id} has no {' and no '.join(channel.color for channel in lacking)} file "
            f"(found {_some([file.name for file in files.values()])}): "
            f"add it, e.g. {field_id}_{lacking[0].color}.png."
        )
    return FieldSource(field_id=field_id, files=dict(sorted(files.items())))


def _files_of_entry(field_id: str, entry: Entry) -> dict[Channel, ImageFile]:
    if entry.channel is not None:
        return {entry.channel: entry.file}
    try:
        with entry.file.open() as stream:
            metadata = read_ome_metadata(stream)
        if metadata is None:
            raise UnreadableImageError("it has no OME metadata")
        channels = channels_of_planes(metadata)
    except (UnreadableImageError, OSError) as error:
        raise _UnusableFieldError(f"Field {field_id}: {entry.file} cannot be used: {error}.") from error
    file = entry.file
    return {channel: replace(file, plane=plane) for plane, channel in enumerate(channels)}


def _tell_ignored(location: Place | str, listing: Listing) -> None:
    if listing.ignored:
        log.info("%s: ignored %d others: %s.", location, len(listing.ignored), _some(listing.ignored))


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    if not names:
        return "nothing"
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more
