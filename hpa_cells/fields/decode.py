"""From the bytes of an image file to the pixels of its channels, or a reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields.png import PNG_SIGNATURE, has_whole_chunks, png_pixel_size_um, png_shape
from hpa_cells.fields.source import UnreadableImageError
from hpa_cells.fields.tiff import read_tiff
from hpa_cells.fields.tiff_checks import check_size

__all__ = ["DecodedImage", "decode_colors", "decode_image"]

_JPEG_SIGNATURE, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
# A progressive one has ten.
_MOST_SCANS = 100
_SAMPLES_OF_COLOR = 3
_PNG_END = b"IEND\xaeB`\x82"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Some cameras and programs write notes behind the end of the image.
_TAIL_BYTES = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """What an image file holds.

    Attributes
    ----------
    planes
        (P, H, W) uint8 or uint16; one plane for a file of one channel.
    pixel_size_um
        Side of a pixel as the file states it, in um; None where it does not.
    """

    planes: NDArray[np.uint8] | NDArray[np.uint16]
    pixel_size_um: float | None


def decode_image(data: bytes, *, is_stack: bool = False) -> DecodedImage:
    """The planes of a PNG, JPEG, TIFF or OME-TIFF, which is told by its content and not by its name.

    A colour image of one channel (the Human Protein Atlas paints each channel in its colour) becomes grey by
    the largest of its samples; transparency is left out.

    Parameters
    ----------
    data
        The whole file.
    is_stack
        Whether the file holds all channels of a field; else it must hold one.

    Raises
    ------
    UnreadableImageError
        If it is empty, of another format, cut off or damaged, absurdly large, or its pixels are not unsigned
        integers of 8 or 16 bits. The message goes on a sentence that names the file.
    """
    if data.startswith(_TIFF_SIGNATURES):
        return _decode_tiff(data, is_stack=is_stack)
    if data and is_stack:
        raise UnreadableImageError("it is not a TIFF")
    planes = _to_grey(_decode_png_or_jpeg(data))[None]
    size_um = png_pixel_size_um(data) if data.startswith(PNG_SIGNATURE) else None
    return DecodedImage(planes=planes, pixel_size_um=size_um)


def decode_colors(data: bytes) -> NDArray[Any]:
    """(H, W), or (H, W, 3) red, green and blue, of a PNG, JPEG or TIFF of 8 or 16 bits; without transparency.

    Raises
    ------
    UnreadableImageError
        As of `decode_image`, and for a TIFF of several planes.
    """
    if not data.startswith(_TIFF_SIGNATURES):
        pixels = _decode_png_or_jpeg(data)
        # OpenCV has blue first.
        return pixels if pixels.ndim == 2 else pixels[..., 2::-1]
    image = read_tiff(data)
    if "C" in image.axes:
        raise UnreadableImageError("it has several channels: give one, or their colours")
    pixels = _checked_type(image.pixels).transpose(
        [image.axes.index(axis) for axis in "YXS" if axis in image.axes]
    )
    return pixels if pixels.ndim == 2 else pixels[..., :_SAMPLES_OF_COLOR]


def _decode_png_or_jpeg(data: bytes) -> NDArray[Any]:
    """(H, W) or (H, W, S) as OpenCV has them."""
    if not data:
        raise UnreadableImageError("it is empty")
    if data.startswith(PNG_SIGNATURE):
        check_size(*png_shape(data), len(data))
        if not has_whole_chunks(data):
            raise UnreadableImageError(
                f"it is cut off after {len(data)} bytes, or damaged: a part of it goes on"
            )
        return _decode_by_opencv(data, end=_PNG_END)
    if data.startswith(_JPEG_SIGNATURE):
        check_size(*_jpeg_shape(data), len(data))
        _check_scans(data)
        return _decode_by_opencv(data, end=_JPEG_END)
    raise UnreadableImageError(f"it is not a PNG, JPEG or TIFF (it begins with {data[:8]!r})")


def _decode_by_opencv(data: bytes, *, end: bytes) -> NDArray[Any]:
    # A decoder may fill what is missing with black and say nothing: ask first whether the end is there.
    if data.rfind(end, -_TAIL_BYTES) < 0:
        raise UnreadableImageError(f"it is cut off after {len(data)} bytes")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnreadableImageError("it is damaged")
    return _checked_type(pixels)


def _decode_tiff(data: bytes, *, is_stack: bool) -> DecodedImage:
    image = read_tiff(data)
    pixels = _checked_type(image.pixels)
    axes = image.axes if "C" in image.axes or not is_stack else image.axes.replace("S", "C")
    pixels = pixels.transpose([axes.index(axis) for axis in "CYXS" if axis in axes])
    planes = pixels if "C" in axes else pixels[None]
    if "S" in axes:
        planes = np.stack([_to_grey(plane) for plane in planes])
    if not is_stack and len(planes) != 1:
        raise UnreadableImageError(
            f"it has {len(planes)} channels: a file of all channels is named <id>.ome.tif"
        )
    return DecodedImage(planes=planes, pixel_size_um=image.pixel_size_um)


def _checked_type(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(
            f"its pixels are {pixels.dtype}, expected unsigned integers of 8 or 16 bits: convert it"
        )
    return pixels


def _to_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) from (H, W) or (H, W, S): the largest sample, without transparency (the last of 2 or 4)."""
    if pixels.ndim == 2:
        return pixels
    num_samples = int(pixels.shape[2])
    num_colors = num_samples - 1 if num_samples in (2, 4) else num_samples
    grey = pixels[..., 0]
    for color in range(1, num_colors):
        grey = np.maximum(grey, pixels[..., color])
    return np.ascontiguousarray(grey)


def _jpeg_shape(data: bytes) -> tuple[int, int, int]:
    """Height and width that the frame header of a JPEG promises, in px, and bytes a pixel; zeros without a header."""
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xFF:
            # Any number of these may stand before a marker.
            position += 1
            continue
        # Frame headers are C0 to CF, less the tables of C4, C8 and CC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            num_samples = max(data[position + 9], _SAMPLES_OF_COLOR)
            return int.from_bytes(height, "big"), int.from_bytes(width, "big"), num_samples
        position += 2 + length
    return 0, 0, 0


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that goes over all its pixels again and again: ten bytes each time, and seconds."""
    num_scans = data.count(_JPEG_SCAN)
    if num_scans > _MOST_SCANS:
        raise UnreadableImageError(f"it has {num_scans} scans, more than {_MOST_SCANS}: save it again")
