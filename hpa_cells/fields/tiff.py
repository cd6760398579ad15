"""Reading TIFF and OME-TIFF."""

from __future__ import annotations

import io
import lzma
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from hpa_cells.fields.ome import OmeMetadata, parse_ome
from hpa_cells.fields.source import UnreadableImageError
from hpa_cells.fields.tiff_checks import check_pages, check_segments, check_size

__all__ = ["TiffImage", "read_ome_metadata", "read_tiff"]

# Of numbers of 16 bits; others are refused.
_MOST_ITEM_BYTES = 2

# What a fuzzer made tifffile and OpenCV raise on damaged files.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    lzma.LZMAError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    cv2.error,
    struct.error,
    zlib.error,
)
# tifffile decodes these on its own; for LZW and the like it wants another package, while OpenCV knows them.
_DECODED_BY_TIFFFILE = (
    tifffile.COMPRESSION.NONE,
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
    tifffile.COMPRESSION.PACKBITS,
    tifffile.COMPRESSION.LZMA,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffImage:
    """The first image of a TIFF.

    Attributes
    ----------
    pixels
        Array with one axis a letter of `axes`.
    axes
        ``Y`` (rows) and ``X`` (columns), maybe ``C`` (channel) and ``S`` (sample of a colour), in any order.
    pixel_size_um
        Side of a pixel from OME metadata, in um; None where it is not given.
    """

    pixels: NDArray[Any]
    axes: str
    pixel_size_um: float | None


def read_tiff(data: bytes) -> TiffImage:
    """Read the first image of a TIFF or OME-TIFF, at full resolution.

    Raises
    ------
    UnreadableImageError
        If it is damaged, too large, has several planes in depth or time, or its OME metadata point to other
        files.
    """
    with _opened(io.BytesIO(data)) as tiff:
        metadata = parse_ome(tiff.ome_metadata) if tiff.ome_metadata else None
        series = tiff.series[0]
        sizes = dict(zip(series.axes, series.shape, strict=True))
        _check_sizes(sizes, series, len(data))
        if any(page is None for page in series.pages):
            raise UnreadableImageError("its OME metadata point to planes in other files: store them in one")
        kept = tuple(size for axis, size in sizes.items() if axis in "CSYX")
        pixels = _series_pixels(data, series).reshape(kept)
    axes = "".join(axis for axis in sizes if axis in "CSYX")
    return TiffImage(pixels=pixels, axes=axes, pixel_size_um=metadata.pixel_size_um if metadata else None)


def read_ome_metadata(stream: IO[bytes]) -> OmeMetadata | None:
    """Read the OME metadata of a TIFF, but none of its pixels; None where it has none.

    Raises
    ------
    UnreadableImageError
        If the file is damaged or its metadata make no sense.
    """
    with _opened(stream) as tiff:
        return parse_ome(tiff.ome_metadata) if tiff.ome_metadata else None


@contextmanager
def _opened(stream: IO[bytes]) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF and give damage, wherever in the block it shows, one name."""
    try:
        check_pages(stream)
        with tifffile.TiffFile(stream) as tiff:
            yield tiff
    except UnreadableImageError:
        raise
    except _DAMAGE as error:
        raise UnreadableImageError(f"it is not a whole TIFF ({error})") from error


def _check_sizes(sizes: dict[str, int], series: tifffile.TiffPageSeries, file_bytes: int) -> None:
    num_planes = series.size // max(sizes["Y"] * sizes["X"], 1)
    check_size(sizes["Y"], sizes["X"], num_planes * series.dtype.itemsize, file_bytes)
    others = {axis: size for axis, size in sizes.items() if axis not in "CSYX" and size != 1}
    if others:
        found = ", ".join(f"{size} along {axis}" for axis, size in others.items())
        raise UnreadableImageError(f"it has several planes ({found}): give one, e.g. their projection")


def _series_pixels(data: bytes, series: tifffile.TiffPageSeries) -> NDArray[Any]:
    if series.keyframe.compression in _DECODED_BY_TIFFFILE:
        for page in series.pages:
            if page is not None:
                check_segments(data, page)
        pixels = series.asarray(maxworkers=1)
        return np.asarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    pixels = np.stack([_plane_by_opencv(data, page.index) for page in series.pages if page is not None])
    if pixels.ndim == 4:
        # OpenCV gives blue first.
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[3]]]
    return pixels


def _plane_by_opencv(data: bytes, number: int) -> NDArray[Any]:
    # What OpenCV will decode is this page as it is, not as the first of its series.
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[number]
    height_px, width_px, *others = page.shape
    check_size(height_px, width_px, math.prod(others) * _MOST_ITEM_BYTES, len(data))
    content = np.frombuffer(data, np.uint8)
    decoded, planes = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(number, number + 1))
    if not decoded:
        raise UnreadableImageError(f"its data (compression {page.compression}) cannot be decoded")
    plane: NDArray[Any] = planes[0]
    return plane
