"""What a TIFF must not promise: each of these made a decoder work for hours or fill the memory."""

from __future__ import annotations

import lzma
import struct
import zlib
from math import prod
from typing import IO

import tifffile

from hpa_cells.fields.source import UnreadableImageError
from hpa_cells.limits import check_side, check_unpacked

__all__ = ["MAX_PAGES", "check_pages", "check_segments", "check_size"]

MAX_PAGES = 4096

# Byte order, and then: whether offsets have 8 bytes.
_IS_BIG = {b"*\0": False, b"\0*": False, b"+\0": True, b"\0+": True}
# How many bytes a tag of a page takes, and the number of tags, which comes before them.
_TAG_BYTES, _COUNT_FORMAT, _OFFSET_FORMAT = (12, 20), ("H", "Q"), ("I", "Q")

_UNPACK_WITHOUT_END = (
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
    tifffile.COMPRESSION.LZMA,
)


def check_size(height_px: int, width_px: int, pixel_bytes: int, file_bytes: int) -> None:
    """Refuse an image whose header promises an absurd size, by itself or for its file, before memory is taken.

    Raises
    ------
    UnreadableImageError
        If a side is too long, or the file is far too short for so many pixels.
    """
    try:
        check_side(height_px, width_px)
        check_unpacked(height_px * width_px * pixel_bytes, file_bytes)
    except ValueError as error:
        raise UnreadableImageError(str(error)) from error


def check_pages(stream: IO[bytes]) -> None:
    """Refuse a chain of pages without end, which readers follow until the memory is full; rewinds the stream.

    Raises
    ------
    UnreadableImageError
        If it has more than `MAX_PAGES`, or comes back to one.
    """
    start = stream.read(16)
    stream.seek(0)
    is_big = _IS_BIG.get(start[2:4])
    if is_big is None:
        return
    order = "<" if start.startswith(b"II") else ">"
    count_format, offset_format = (order + each[is_big] for each in (_COUNT_FORMAT, _OFFSET_FORMAT))
    position = struct.calcsize(offset_format)
    offset = _number(offset_format, start[position : 2 * position])
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) == MAX_PAGES:
            stream.seek(0)
            found = "its pages go round in a circle" if offset in seen else f"it has over {MAX_PAGES} pages"
            raise UnreadableImageError(f"{found}: save the field alone")
        seen.add(offset)
        stream.seek(offset)
        num_tags = _number(count_format, stream.read(struct.calcsize(count_format)))
        stream.seek(num_tags * _TAG_BYTES[is_big], 1)
        offset = _number(offset_format, stream.read(struct.calcsize(offset_format)))
    stream.seek(0)


def check_segments(data: bytes, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse strips and tiles that unpack to more than their pixels: tifffile unpacks them to the end.

    Raises
    ------
    UnreadableImageError
        If one does, or there are more of them than the image has.
    """
    if page.compression not in _UNPACK_WITHOUT_END or page.dtype is None:
        return
    if len(page.dataoffsets) > prod(page.chunked):
        raise UnreadableImageError("it has more strips or tiles than its size needs")
    # What remains of a pixel of fewer bits than a byte counts as one.
    expected = prod(page.chunks) * max(page.dtype.itemsize, 1)
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if _unpacks_to_more(page.compression, data[offset : offset + length], expected):
            raise UnreadableImageError(f"a strip or tile of it unpacks to more than its {expected:,} bytes")


def _unpacks_to_more(compression: int, packed: bytes, expected: int) -> bool:
    if compression == tifffile.COMPRESSION.LZMA:
        return len(lzma.LZMADecompressor().decompress(packed, expected + 1)) > expected
    return len(zlib.decompressobj().decompress(packed, expected + 1)) > expected


def _number(number_format: str, data: bytes) -> int:
    """A number of a header; 0, which ends the chain, where the file does."""
    is_whole = len(data) == struct.calcsize(number_format)
    return int(struct.unpack(number_format, data)[0]) if is_whole else 0
