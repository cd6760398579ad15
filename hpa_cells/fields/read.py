"""Reading a field: its files become one array of four channels."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields.decode import DecodedImage, decode_colors, decode_image
from hpa_cells.fields.source import FieldSource, ImageFile, UnreadableImageError
from hpa_cells.places import Address, Place, overlapped
from hpa_cells.types import NUM_CHANNELS, Channel, Field

__all__ = ["ASSUMED_FIELD_SIDE_UM", "read_colors", "read_field"]

log = logging.getLogger(__name__)

# 2048 px of 0.08 um: what a field of the Human Protein Atlas shows, whatever it was resized to later.
ASSUMED_FIELD_SIDE_UM = 2048 * 0.08
# Whole fields come in these sizes, and as smaller copies.
_USUAL_SIDES_PX = range(512, 4097)
_16_BIT_PER_8_BIT = 257  # 255 becomes 65535


def read_field(source: FieldSource, *, pixel_size_um: float | None = None) -> Field:
    """Read the channels of a field from PNG, JPEG, TIFF or OME-TIFF files.

    Colour images of one channel become grey by the largest of red, green and blue. Where some channels have 8
    bits and others 16, those of 8 are scaled by 257 to 16. A missing channel is all zero.

    Parameters
    ----------
    source
        Where its files are; from `find_fields`.
    pixel_size_um
        Side of a pixel, in um, for files that do not state it (an OME-TIFF does, and a PNG of `write_field`).
        Without either, the longer side of the field is taken for 163.84 um, that is 0.08 um a pixel at 2048
        px: a 1024 px copy of a field has 0.16 um.

    Raises
    ------
    ValueError
        If a file is gone, empty, cut off, damaged or of another format, or the channels differ in shape or
        pixel size. The message names field and file.
    """
    decoded = _decode_files(source)
    shapes = {channel: image.shape for channel, (image, _) in decoded.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{source.files[channel]}: {h} x {w}" for channel, (h, w) in shapes.items())
        raise ValueError(
            f"Field {source.field_id}: its channels differ in height x width ({found}): export them alike."
        )
    height_px, width_px = next(iter(shapes.values()))
    is_16_bit = any(image.dtype == np.uint16 for image, _ in decoded.values())
    pixels = np.empty((NUM_CHANNELS, height_px, width_px), np.uint16 if is_16_bit else np.uint8)
    pixels[[channel for channel in Channel if channel not in decoded]] = 0
    for channel, (image, _) in decoded.items():
        pixels[channel] = image
        if is_16_bit and image.dtype == np.uint8:
            pixels[channel] *= _16_BIT_PER_8_BIT
    size_um = _stated_size_um(source, decoded) or pixel_size_um
    if size_um is None:
        size_um = _assumed_size_um(max(height_px, width_px))
    return Field(field_id=source.field_id, image=pixels, pixel_size_um=size_um, missing=source.missing)


def read_colors(path: Path) -> NDArray[Any]:
    """(H, W), or (H, W, 3) red, green and blue, uint8 or uint16, of one image file as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no PNG, JPEG or TIFF of 8 or 16 bits, damaged or absurdly large.
    """
    try:
        return decode_colors(ImageFile.at(path).read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist: give a PNG, TIFF or JPEG.") from error
    except UnreadableImageError as error:
        raise ValueError(f"{path} cannot be used: {error}.") from error


_Plane = tuple[NDArray[Any], float | None]


def _decode_files(source: FieldSource) -> dict[Channel, _Plane]:
    """The plane and the stated pixel size of each channel; a file of several channels is decoded once."""
    images: dict[tuple[Place, str], DecodedImage] = {}
    planes: dict[Channel, _Plane] = {}
    ordered = sorted(source.files.items())
    files = {_key(file): file for _, file in ordered}.values()
    are_far = any(isinstance(file.path, Address) for file in files)
    contents = overlapped(ImageFile.read_bytes, files, are_far=are_far)
    for channel, file in ordered:
        key = _key(file)
        try:
            if key not in images:
                images[key] = decode_image(next(contents), is_stack=file.plane is not None)
            planes[channel] = (_plane(images[key], file.plane or 0), images[key].pixel_size_um)
        except (UnreadableImageError, OSError) as error:
            raise ValueError(f"Field {source.field_id}: {file} cannot be used: {error}.") from error
    return planes


def _key(file: ImageFile) -> tuple[Place, str]:
    """The same for all planes of a file."""
    return file.path, file.member


def _plane(image: DecodedImage, number: int) -> NDArray[Any]:
    if number >= len(image.planes):
        raise UnreadableImageError(f"it has {len(image.planes)} planes, fewer than its OME metadata say")
    plane: NDArray[Any] = image.planes[number]
    return plane


def _stated_size_um(source: FieldSource, decoded: dict[Channel, _Plane]) -> float | None:
    stated = {channel: size for channel, (_, size) in decoded.items() if size is not None}
    if len(set(stated.values())) > 1:
        found = ", ".join(f"{source.files[channel]}: {size:g} um" for channel, size in stated.items())
        raise ValueError(f"Field {source.field_id}: its channels differ in pixel size ({found}).")
    return next(iter(stated.values()), None)


def _assumed_size_um(longer_side_px: int) -> float:
    size_um = ASSUMED_FIELD_SIDE_UM / longer_side_px
    _tell_assumption(longer_side_px, size_um)
    return size_um


@cache
def _tell_assumption(longer_side_px: int, size_um: float) -> None:
    """Say it once for each size, not once a field."""
    text = "No pixel size in the files or settings: taking %.4g um for fields of %d px (0.08 um at 2048 px)."
    if longer_side_px in _USUAL_SIDES_PX:
        log.info(text, size_um, longer_side_px)
    else:
        hint = " For a part of a field, or several stitched together, that is wrong: give pixel_size_um."
        log.warning(text + hint, size_um, longer_side_px)
