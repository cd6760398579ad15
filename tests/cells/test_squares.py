"""Squares of a field in the place of its cells."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.cells import SquareSettings, cut_squares, normalise_field
from hpa_cells.types import CellCrops, Field

SETTINGS = SquareSettings(um_per_px=None, field_px=None, size_px=16, num_training=6, num_predicted=3, seed=0)


def make_field(height: int = 40, width: int = 56, field_id: str = "a", pixel_size_um: float = 0.5) -> Field:
    image = np.random.default_rng(0).integers(0, 255, (4, height, width), dtype=np.uint8)
    return Field(field_id=field_id, image=image, pixel_size_um=pixel_size_um)


def places(squares: CellCrops, pixels: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where in (4, H, W) the squares are, by looking everywhere; each is at one place."""
    size = squares.images.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(1, 2))
    found = []
    for square in squares.images:
        [place] = np.argwhere((windows == square[:, None, None]).all(axis=(0, 3, 4)))
        found.append((int(place[0]), int(place[1])))
    return found


def test_squares_are_parts_of_the_field_as_it_is() -> None:
    field = make_field()
    squares = cut_squares(field, SETTINGS, num=6)
    assert squares.field_id == "a"
    assert squares.images.shape == (6, 4, 16, 16)
    np.testing.assert_array_equal(squares.cell_ids, [1, 2, 3, 4, 5, 6])
    assert squares.cell_ids.dtype == np.int32
    assert not squares.touches_border.any()
    np.testing.assert_allclose(squares.areas_um2, 16 * 16 * 0.25)
    assert len(set(places(squares, normalise_field(field)))) == 6


def test_every_place_is_as_likely_as_any_other() -> None:
    """Also those at the edges: 5 x 3 places, 2 of them at a time."""
    counts = np.zeros((5, 3))
    for index in range(600):
        field = make_field(12, 10, field_id=f"field-{index}")
        for top, left in places(
            cut_squares(field, replace(SETTINGS, size_px=8), num=2), normalise_field(field)
        ):
            counts[top, left] += 1
    # 80 each on average; a standard deviation is 8.3.
    assert counts.min() > 80 - 5 * 8.3
    assert counts.max() < 80 + 5 * 8.3


def test_the_same_field_and_seed_give_the_same_squares() -> None:
    field = make_field()
    first = cut_squares(field, SETTINGS, num=6).images
    np.testing.assert_array_equal(cut_squares(make_field(), SETTINGS, num=6).images, first)
    others = (
        cut_squares(field, replace(SETTINGS, seed=1), num=6),
        cut_squares(make_field(field_id="b"), SETTINGS, num=6),
    )
    for other in others:
        assert not np.array_equal(other.images, first)


def test_another_process_takes_the_same_squares() -> None:
    """Whose hash of texts is another."""
    program = (
        "import numpy as np; from hpa_cells.cells.squares import _draw_places;"
        "print(_draw_places('a', 24, 40, 6, 0).tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {
        str(
            [
                list(each)
                for each in places(cut_squares(make_field(), SETTINGS, num=6), normalise_field(make_field()))
            ]
        )
    }


@pytest.mark.parametrize(
    ("resized", "shape", "um_per_px"),
    [
        ({"um_per_px": 1.0}, (20, 28), 1.0),
        ({"um_per_px": 0.25}, (80, 112), 0.25),
        ({"field_px": 28}, (20, 28), 1.0),
        ({"field_px": 84}, (60, 84), 1 / 3),
    ],
)
def test_the_field_is_resized_first(
    resized: dict[str, float], shape: tuple[int, int], um_per_px: float
) -> None:
    field = make_field()
    squares = cut_squares(field, replace(SETTINGS, **resized), num=4)
    method = cv2.INTER_AREA if shape[0] < 40 else cv2.INTER_LINEAR
    pixels = np.stack(
        [cv2.resize(each, shape[::-1], interpolation=method) for each in normalise_field(field)]
    )
    assert len(places(squares, pixels)) == 4
    np.testing.assert_allclose(squares.areas_um2, 256 * um_per_px**2)


def test_a_field_no_larger_than_a_square_is_one_square() -> None:
    """Shrunk instead of cut; where it is not square, or smaller, the rest is black."""
    field = make_field()
    [square] = cut_squares(field, replace(SETTINGS, size_px=56), num=6).images
    np.testing.assert_array_equal(square[:, 8:48], normalise_field(field))
    assert not square[:, :8].any()
    assert not square[:, 48:].any()
    whole = cut_squares(make_field(40, 40), replace(SETTINGS, field_px=16), num=6)
    assert whole.images.shape == (1, 4, 16, 16)
    assert whole.images.all(axis=1).any()
    np.testing.assert_allclose(whole.areas_um2, 40 * 40 * 0.25)
    [larger] = cut_squares(field, replace(SETTINGS, size_px=64), num=6).images
    np.testing.assert_array_equal(larger[:, 12:52, 4:60], normalise_field(field))
    assert np.count_nonzero(larger) == np.count_nonzero(normalise_field(field))


def test_of_few_places_each_is_taken_once() -> None:
    field = make_field(17, 18)
    found = places(cut_squares(field, SETTINGS, num=100), normalise_field(field))
    assert sorted(found) == [(top, left) for top in range(2) for left in range(3)]


def test_a_strip_moves_along_one_side() -> None:
    squares = cut_squares(make_field(9, 30), SETTINGS, num=5)
    assert len(squares.images) == 5
    assert not squares.images[:, :, :3].any()
    assert not squares.images[:, :, 12:].any()
    np.testing.assert_allclose(squares.areas_um2, 9 * 16 * 0.25)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"um_per_px": 0.3, "field_px": 512}, "view.um_per_px is 0.3 and view.field_px 512"),
        ({"um_per_px": 0.0}, "view.um_per_px is 0.0: give a positive"),
        ({"um_per_px": float("nan")}, "view.um_per_px is nan"),
        ({"field_px": 4}, "view.field_px is 4: give at least 8"),
        ({"size_px": 7}, "view.size_px is 7: give at least 8"),
        ({"num_predicted": 0}, "view.num_predicted is 0"),
        ({"num_predicted": 7}, "view.num_predicted is 7, more than view.num_training, 6"),
        ({"seed": -1}, "view.seed is -1"),
    ],
)
def test_what_cannot_be(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **wrong)
