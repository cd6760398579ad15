from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hpa_cells.fields.decode import decode_image
from hpa_cells.fields.source import UnreadableImageError

GREY = np.random.default_rng(0).integers(0, 256, (37, 53), dtype=np.uint8)
GREY16 = np.random.default_rng(1).integers(0, 65536, (37, 53), dtype=np.uint16)
SMOOTH = cv2.GaussianBlur(GREY, (0, 0), 4)


def encoded(suffix: str, pixels: NDArray[Any]) -> bytes:
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


def by_pillow(pixels: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:
    image, stream = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def by_tifffile(pixels: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "pixels", [GREY, GREY16, GREY[:1, :1], GREY[:, :1]], ids=lambda pixels: str(pixels.shape)
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_8_and_16_bits_comes_back_as_it_was(pixels: NDArray[Any], suffix: str) -> None:
    planes = decode_image(encoded(suffix, pixels)).planes
    np.testing.assert_array_equal(planes, pixels[None], strict=True)


def test_jpeg_is_read() -> None:
    planes = decode_image(encoded(".jpg", SMOOTH)).planes
    assert planes.shape == (1, 37, 53)
    assert np.abs(planes[0].astype(int) - SMOOTH).max() <= 6


@pytest.mark.parametrize("color", range(3))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("pixels", [GREY, GREY16], ids=lambda pixels: str(pixels.dtype))
def test_a_channel_painted_in_its_color_becomes_grey(pixels: NDArray[Any], suffix: str, color: int) -> None:
    painted = np.zeros((*pixels.shape, 3), pixels.dtype)
    painted[..., color] = pixels
    np.testing.assert_array_equal(decode_image(encoded(suffix, painted)).planes[0], pixels, strict=True)


def test_yellow_and_transparent_images_become_grey() -> None:
    yellow = np.dstack([np.zeros_like(GREY), GREY, GREY])
    np.testing.assert_array_equal(decode_image(encoded(".png", yellow)).planes[0], GREY)
    for mode in ("LA", "RGBA", "P", "RGB"):
        np.testing.assert_array_equal(decode_image(by_pillow(GREY, "PNG", mode)).planes[0], GREY)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_lossless_tiff_of_pillow_is_read(compression: str, mode: str) -> None:
    data = by_pillow(GREY, "TIFF", mode, compression=compression)
    np.testing.assert_array_equal(decode_image(data).planes[0], GREY, strict=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"rowsperstrip": 5},
        {"imagej": True},
    ],
    ids=str,
)
def test_layouts_of_tiff_make_no_difference(options: dict[str, Any]) -> None:
    planes = decode_image(by_tifffile(GREY16, **options)).planes
    np.testing.assert_array_equal(planes, GREY16[None], strict=True)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_a_painted_tiff_is_read_in_either_layout(planarconfig: str) -> None:
    painted = np.zeros((37, 53, 3), np.uint16)
    painted[..., 1] = GREY16
    pixels = painted if planarconfig == "contig" else painted.transpose(2, 0, 1)
    data = by_tifffile(pixels, photometric="rgb", planarconfig=planarconfig)
    np.testing.assert_array_equal(decode_image(data).planes[0], GREY16)


def test_the_samples_of_a_stack_are_its_channels() -> None:
    colors = np.random.default_rng(2).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    for compression in ("raw", "tiff_lzw"):
        stack = decode_image(by_pillow(colors, "TIFF", compression=compression), is_stack=True)
        np.testing.assert_array_equal(stack.planes, colors.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (GREY.astype(np.float32), {}, "its pixels are float32, expected unsigned integers"),
        (np.full((4, 4), np.nan, np.float64), {}, "its pixels are float64"),
        (GREY.astype(np.int16), {}, "its pixels are int16"),
        (GREY > 9, {}, "its pixels are bool"),
        (np.stack([GREY] * 5), {"imagej": True, "metadata": {"axes": "ZYX"}}, "several planes (5 along Z)"),
        (np.stack([GREY] * 5), {"imagej": True, "metadata": {"axes": "CYX"}}, "it has 5 channels"),
    ],
)
def test_a_tiff_that_is_no_channel_says_why(
    pixels: NDArray[Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(by_tifffile(pixels, photometric="minisblack", **options))
    assert reason in str(caught.value)


def test_what_is_no_image_says_why() -> None:
    with pytest.raises(UnreadableImageError, match="it is empty"):
        decode_image(b"")
    with pytest.raises(UnreadableImageError, match=r"not a PNG, JPEG or TIFF \(it begins with b'version '\)"):
        decode_image(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UnreadableImageError, match="it is not a TIFF"):
        decode_image(encoded(".png", GREY), is_stack=True)


FILES = {
    "png": encoded(".png", SMOOTH),
    "jpg": encoded(".jpg", SMOOTH),
    "progressive jpg": by_pillow(SMOOTH, "JPEG", progressive=True),
    "tif": by_tifffile(SMOOTH),
    "lzw tif": by_pillow(SMOOTH, "TIFF", compression="tiff_lzw"),
    "tiled tif": by_tifffile(SMOOTH, tile=(16, 16), compression="zlib"),
}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=40, deadline=None)
@given(part=st.floats(0, 1))
def test_a_cut_off_file_is_never_read_in_part(kind: str, part: float) -> None:
    data = FILES[kind]
    try:
        planes = decode_image(data[: min(int(part * len(data)), len(data) - 1)]).planes
    except UnreadableImageError:
        return
    # The last bytes of a TIFF may be none of its pixels.
    np.testing.assert_array_equal(planes, decode_image(data).planes)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_never_raises_anything_else(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[kind])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        planes = decode_image(bytes(data)).planes
    except UnreadableImageError:
        return
    assert planes.ndim == 3
    assert planes.dtype in (np.uint8, np.uint16)


@settings(max_examples=40, deadline=None)
@given(position=st.integers(8, 10_000), value=st.integers(1, 255))
def test_a_damaged_png_is_told_by_its_checksums(position: int, value: int) -> None:
    data = bytearray(FILES["png"])
    data[8 + position % (len(data) - 8)] ^= value
    try:
        planes = decode_image(bytes(data)).planes
    except UnreadableImageError:
        return
    np.testing.assert_array_equal(planes[0], SMOOTH)


def test_absurd_headers_are_refused_before_memory_is_taken() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 90_000, 8, 0, 0, 0, 0)
    png = bytearray(FILES["png"])
    png[12:33] = header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(UnreadableImageError, match=r"90000 x 100000 px, more than 32768 px a side"):
        decode_image(bytes(png))
    jpeg = FILES["jpg"].replace(struct.pack(">HH", 37, 53), struct.pack(">HH", 40_000, 50_000))
    with pytest.raises(UnreadableImageError, match="40000 x 50000 px"):
        decode_image(jpeg)
    with pytest.raises(UnreadableImageError, match="1 x 33000 px"):
        decode_image(by_tifffile(np.zeros((1, 33_000), np.uint8)))
