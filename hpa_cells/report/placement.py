"""Places for words over a field, so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["place_boxes"]

Pair: TypeAlias = tuple[float, float]

# Tried in this order: where the word belongs, then below and above, then beside, in heights and widths of its
# box.
_SHIFTS = [
    (0.0, 0.0),
    *((0.0, sign * step) for step in (0.35, 0.7, 1.05, 1.4, 2.1) for sign in (1, -1)),
    *((sign * 0.5, step) for step in (0.0, 0.7, -0.7) for sign in (1, -1)),
]


def place_boxes(centers: Sequence[Pair], sizes: Sequence[Pair], bounds: Pair) -> list[Pair]:
    """Centres of boxes, each as near to where it is wanted as the boxes before it allow.

    Parameters
    ----------
    centers
        N wanted centres, x and y.
    sizes
        N widths and heights.
    bounds
        Width and height of the picture. A box is pushed inside of it; one that is larger is centred.

    Returns
    -------
    N centres in the given order. Where every place nearby is taken, the box stays where it covers least.

    Examples
    --------
    >>> place_boxes([(50, 50), (50, 50), (0, 50)], [(20, 10)] * 3, (100, 100))
    [(50.0, 50.0), (50.0, 60.5), (10.0, 50.0)]
    """
    taken: list[tuple[Pair, Pair]] = []
    for (x, y), (width, height) in zip(centers, sizes, strict=True):
        best, least_covered = (x, y), float("inf")
        for dx, dy in _SHIFTS:
            place = (_inside(x + dx * width, width, bounds[0]), _inside(y + dy * height, height, bounds[1]))
            covered = sum(_covered(place, (width, height), *box) for box in taken)
            if covered < least_covered:
                best, least_covered = place, covered
            if not covered:
                break
        taken.append((best, (width, height)))
    return [center for center, _ in taken]


def _inside(center: float, side: float, bound: float) -> float:
    return float(min(max(center, side / 2), bound - side / 2)) if side < bound else bound / 2


def _covered(center_a: Pair, size_a: Pair, center_b: Pair, size_b: Pair) -> float:
    """Area that two boxes have in common."""
    width, height = (
        min(a + side_a / 2, b + side_b / 2) - max(a - side_a / 2, b - side_b / 2)
        for a, side_a, b, side_b in zip(center_a, size_a, center_b, size_b, strict=True)
    )
    return max(0.0, width) * max(0.0, height)
