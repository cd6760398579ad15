"""The header of a PNG: its size in pixels, and the physical size of a pixel."""

from __future__ import annotations

import struct
import zlib

__all__ = ["PNG_SIGNATURE", "png_pixel_size_um", "png_shape", "with_pixel_size"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END_OF_HEADER = 33  # signature (8), then the header chunk: length (4), name (4), content (13), checksum (4)
_UM_PER_METRE = 1e6
# Screen programs fill the same chunk with 72 or 96 dots per inch (about 300 um): no light microscope has such
# pixels.
_SMALLEST_UM, _LARGEST_UM = 0.005, 5.0


def png_shape(data: bytes) -> tuple[int, int]:
    """Height and width that the header of a PNG promises, in px; (0, 0) where the header is cut off."""
    if len(data) < _END_OF_HEADER:
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def png_pixel_size_um(data: bytes) -> float | None:
    """Side of a pixel by the ``pHYs`` chunk, in um; None without one, or with the dots of a screen."""
    position = data.find(b"pHYs", 0, data.find(b"IDAT"))
    if position < 0:
        return None
    across, down, is_metre = struct.unpack(">IIB", data[position + 4 : position + 13])
    if not is_metre or across != down or across == 0:
        return None
    # The chunk counts whole pixels a metre: six digits are what it can hold of a size near 1 um, and more
    # below.
    size_um = float(f"{_UM_PER_METRE / across:.6g}")
    return size_um if _SMALLEST_UM <= size_um <= _LARGEST_UM else None


def with_pixel_size(data: bytes, pixel_size_um: float) -> bytes:
    """The same PNG with the side of a pixel in a ``pHYs`` chunk; unchanged where no microscope has such."""
    if not _SMALLEST_UM <= pixel_size_um <= _LARGEST_UM:
        return data
    pixels_a_metre = round(_UM_PER_METRE / pixel_size_um)
    chunk = b"pHYs" + struct.pack(">IIB", pixels_a_metre, pixels_a_metre, 1)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:_END_OF_HEADER] + chunk + data[_END_OF_HEADER:]
