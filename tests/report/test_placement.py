from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.report.placement import place_boxes

NUMBERS = st.floats(0, 200, allow_nan=False)


def covered(a, size_a, b, size_b) -> float:
    sides = [
        max(
            0.0,
            min(a[i] + size_a[i] / 2, b[i] + size_b[i] / 2) - max(a[i] - size_a[i] / 2, b[i] - size_b[i] / 2),
        )
        for i in range(2)
    ]
    return sides[0] * sides[1]


def total(places, sizes) -> float:
    boxes = list(zip(places, sizes, strict=True))
    return sum(covered(*a, *b) for a, b in itertools.combinations(boxes, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8), st.tuples(st.floats(1, 60), st.floats(1, 30)))
def test_inside_of_the_picture_and_no_worse_than_unmoved(centers, size) -> None:
    sizes = [size] * len(centers)
    places = place_boxes(centers, sizes, (200, 200))
    assert len(places) == len(centers)
    for x, y in places:
        assert size[0] / 2 - 1e-6 <= x <= 200 - size[0] / 2 + 1e-6
        assert size[1] / 2 - 1e-6 <= y <= 200 - size[1] / 2 + 1e-6
    pushed_in = [place_boxes([center], [size], (200, 200))[0] for center in centers]
    if total(pushed_in, sizes) == 0:
        assert places == pushed_in


def test_crowded_words_move_apart() -> None:
    places = place_boxes([(100, 100)] * 4, [(60, 20)] * 4, (200, 200))
    assert total(places, [(60, 20)] * 4) == 0


def test_a_box_larger_than_the_picture_is_centred() -> None:
    assert place_boxes([(3, 3)], [(500, 10)], (100, 100)) == [(50.0, 5.0)]
