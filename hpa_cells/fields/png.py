"""The header of a PNG: its size in pixels, and the physical size of a pixel."""

from __future__ import annotations

import struct
import zlib

__all__ = ["PNG_SIGNATURE", "has_whole_chunks", "png_pixel_size_um", "png_shape", "with_pixel_size"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END_OF_HEADER = 33  # signature (8), then the header chunk: length (4), name (4), content (13), checksum (4)
# Grey, and grey with transparency, which OpenCV makes four; a palette and colours become three or four.
_SAMPLES_OF_COLOR, _MOST_SAMPLES = {0: 1}, 4
_UM_PER_METRE = 1e6
# Screen programs fill the same chunk with 72 or 96 dots per inch (about 300 um): no light microscope has such
# pixels.
_SMALLEST_UM, _LARGEST_UM = 0.005, 5.0


def png_shape(data: bytes) -> tuple[int, int, int]:
    """Height and width that the header of a PNG promises, in px, and bytes a pixel; zeros where it has no header."""
    if len(data) < _END_OF_HEADER or data[12:16] != b"IHDR":
        return 0, 0, 0
    width, height, bits, color = struct.unpack(">IIBB", data[16:26])
    return height, width, (2 if bits > 8 else 1) * _SAMPLES_OF_COLOR.get(color, _MOST_SAMPLES)


def has_whole_chunks(data: bytes) -> bool:
    """Whether each chunk up to the end of the image lies within the file.

    A decoder makes room for as many bytes as a chunk claims, up to 2 GB, before it looks for them.
    """
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        position += 12 + length
        if name == b"IEND":
            break
    return position <= len(data)


def png_pixel_size_um(data: bytes) -> float | None:
    """Side of a pixel by the ``pHYs`` chunk, in um; None without one, or with the dots of a screen."""
    position = data.find(b"pHYs", 0, data.find(b"IDAT"))
    if position < 0:
        return None
    chunk = data[position + 4 : position + 13]
    across, down, is_metre = struct.unpack(">IIB", chunk) if len(chunk) == 9 else (0, 0, 0)
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
