"""What the OME-XML inside a TIFF says of channels and of the size of a pixel."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from hpa_cells.fields.source import UnreadableImageError
from hpa_cells.fields.tiff_checks import MAX_PAGES
from hpa_cells.types import NUM_CHANNELS, Channel

__all__ = ["OmeMetadata", "channels_of_planes", "parse_ome"]

_CHANNEL_OF_NAME = {
    "microtubules": Channel.MICROTUBULES,
    "protein": Channel.PROTEIN,
    "nucleus": Channel.NUCLEUS,
    "nuclei": Channel.NUCLEUS,
    "er": Channel.ER,
    "endoplasmic reticulum": Channel.ER,
} | {channel.color: channel for channel in Channel}


# There are two letters for micro: U+00B5 and the Greek U+03BC.
_UM_PER_UNIT = {
    "Å": 1e-4,
    "nm": 1e-3,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "um": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}
# How many planes there are, and where.
_COUNTS = (
    "SizeC",
    "SizeZ",
    "SizeT",
    "SamplesPerPixel",
    "NumPlanes",
    "PlaneCount",
    "IFD",
    "FirstC",
    "FirstZ",
    "FirstT",
)

# A size in these is the number 1 in other words.
_UNITS_WITHOUT_SIZE = ("pixel", "reference frame")


@dataclass(frozen=True, kw_only=True, slots=True)
class OmeMetadata:
    """What the OME-XML of a file says of its first image.

    Attributes
    ----------
    num_channels
        Number of channels.
    channel_names
        Their names; empty strings where there are none.
    pixel_size_um
        Side of a pixel, in um; None where it is not given.
    """

    num_channels: int
    channel_names: tuple[str, ...]
    pixel_size_um: float | None


def parse_ome(xml: str) -> OmeMetadata:
    """Read the metadata of the first image.

    Raises
    ------
    UnreadableImageError
        If it is not OME-XML, a number in it is none, a unit is unknown or the pixels are not square.
    """
    try:
        root = ET.fromstring(xml)
    except (ET.ParseError, RecursionError) as error:
        raise UnreadableImageError(f"its OME metadata are not XML ({error})") from error
    _check_counts(root)
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        raise UnreadableImageError("its OME metadata describe no image (no Pixels element)")
    return OmeMetadata(
        num_channels=int(_number(pixels, "SizeC", "1")),
        channel_names=tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel")),
        pixel_size_um=_pixel_size_um(pixels),
    )


def channels_of_planes(metadata: OmeMetadata) -> list[Channel]:
    """The channel of each plane: by its name, or in the usual order where no name is known.

    Raises
    ------
    UnreadableImageError
        If only some names are known, one comes twice, or there are neither three nor four channels.
    """
    named = [_CHANNEL_OF_NAME.get(name.strip().lower()) for name in metadata.channel_names]
    known = [channel for channel in named if channel is not None]
    if known and len(known) == len(set(known)) == metadata.num_channels:
        return known
    if known:
        raise UnreadableImageError(
            f"its channels are named {', '.join(metadata.channel_names)}: use each of red, green ... once"
        )
    if not NUM_CHANNELS - 1 <= metadata.num_channels <= NUM_CHANNELS:
        raise UnreadableImageError(
            f"it has {metadata.num_channels} channels, expected red, green, blue and maybe yellow"
        )
    return list(Channel)[: metadata.num_channels]


def _check_counts(root: ET.Element) -> None:
    """Refuse what would have tifffile make room for planes that no file has."""
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        if name.startswith("Modulo"):
            raise UnreadableImageError(f"its OME metadata sort planes by {name}: save the field alone")
        counts = {each: _number(element, each) for each in _COUNTS if each in element.attrib}
        for count_name, count in counts.items():
            if not -1 <= count <= MAX_PAGES:
                raise UnreadableImageError(
                    f"its OME metadata say {count_name} is {count:g}, more than {MAX_PAGES}"
                )
        num_planes = math.prod(counts.get(f"Size{axis}", 1) for axis in "CZT")
        if num_planes > MAX_PAGES:
            raise UnreadableImageError(
                f"its OME metadata describe {num_planes:g} planes, more than {MAX_PAGES}"
            )


def _pixel_size_um(pixels: ET.Element) -> float | None:
    width_um, height_um = _length_um(pixels, "PhysicalSizeX"), _length_um(pixels, "PhysicalSizeY")
    if width_um is not None and height_um is not None and not math.isclose(width_um, height_um, rel_tol=0.01):
        raise UnreadableImageError(
            f"its pixels are {width_um:g} um wide and {height_um:g} um high: resample them to squares"
        )
    return width_um


def _length_um(pixels: ET.Element, name: str) -> float | None:
    unit = pixels.get(f"{name}Unit", "µm")
    if pixels.get(name) is None or unit in _UNITS_WITHOUT_SIZE:
        return None
    if unit not in _UM_PER_UNIT:
        raise UnreadableImageError(f"its {name} is in {unit!r}, expected one of {', '.join(_UM_PER_UNIT)}")
    length_um = _number(pixels, name) * _UM_PER_UNIT[unit]
    if not (math.isfinite(length_um) and length_um > 0):
        raise UnreadableImageError(f"its {name} is {length_um:g} um, expected a positive number")
    return length_um


def _number(pixels: ET.Element, name: str, default: str = "") -> float:
    text = pixels.get(name, default)
    try:
        return float(text)
    except ValueError as error:
        raise UnreadableImageError(f"its OME metadata say {name} is {text!r}, expected a number") from error
