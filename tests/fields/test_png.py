from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.fields.png import png_pixel_size_um, png_shape, with_pixel_size

PIXELS = np.arange(15, dtype=np.uint8).reshape(3, 5)
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


@given(st.floats(0.005, 5))
def test_a_pixel_size_comes_back_to_six_digits(pixel_size_um: float) -> None:
    data = with_pixel_size(PNG, pixel_size_um)
    assert png_pixel_size_um(data) == pytest.approx(pixel_size_um, rel=5e-6)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), PIXELS)


@pytest.mark.parametrize("pixel_size_um", [0.08, 0.16, 0.32, 0.065, 0.1083, 1.0])
def test_common_pixel_sizes_come_back_exactly(pixel_size_um: float) -> None:
    assert png_pixel_size_um(with_pixel_size(PNG, pixel_size_um)) == pixel_size_um


@pytest.mark.parametrize("pixel_size_um", [1e-9, 350.0])
def test_sizes_that_no_microscope_has_are_not_written(pixel_size_um: float) -> None:
    assert with_pixel_size(PNG, pixel_size_um) == PNG


def physical(across: int, down: int, is_metre: int) -> bytes:
    chunk = b"pHYs" + struct.pack(">IIB", across, down, is_metre)
    chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return PNG[:33] + chunk + PNG[33:]


@pytest.mark.parametrize(
    "data",
    [
        PNG,
        physical(2835, 2835, 1),
        physical(12_500_000, 12_500_000, 0),
        physical(10**7, 10**6, 1),
        physical(0, 0, 1),
    ],
    ids=["none", "dots of a screen", "unit unknown", "not square", "zero"],
)
def test_other_chunks_say_nothing_of_the_pixel_size(data: bytes) -> None:
    assert png_pixel_size_um(data) is None


def test_the_shape_is_read_from_the_header() -> None:
    assert png_shape(PNG)[:2] == (3, 5)
    assert png_shape(PNG[:20]) == (0, 0, 0)
