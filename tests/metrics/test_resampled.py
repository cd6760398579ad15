import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.metrics import average_precision_of_matches, average_precision_on_fields

NUM_FIELDS = 4


@st.composite
def detections(draw: st.DrawFn, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, matches, fields, and the number of true cells of each field."""
    size = draw(st.integers(0, 15))
    values = draw(st.lists(st.integers(0, 4 if ties else 10_000), min_size=size, max_size=size, unique=not ties)
                  if not ties or size else st.just([]))  # fmt: skip
    matches = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
    fields = np.array(
        draw(st.lists(st.integers(0, NUM_FIELDS - 1), min_size=size, max_size=size)), dtype=np.int64
    )
    missed = np.array(draw(st.lists(st.integers(0, 2), min_size=NUM_FIELDS, max_size=NUM_FIELDS)))
    truths = np.bincount(fields[matches], minlength=NUM_FIELDS) + missed
    return np.array(values, dtype=np.float64), matches, fields, truths


def slow_twin(confidences: np.ndarray, matches: np.ndarray, num_truths: int) -> float:
    """Precision at every distinct threshold; for each true cell, the best at its recall or beyond."""
    if num_truths == 0:
        return float("nan")
    points = []
    for threshold in sorted(set(confidences), reverse=True):
        accepted = confidences >= threshold
        points.append((matches[accepted].sum() / num_truths, matches[accepted].sum() / accepted.sum()))
    area, reached = 0.0, 0.0
    for recall, _ in points:
        area += (recall - reached) * max(precision for other, precision in points if other >= recall)
        reached = recall
    return area


@given(given_=detections(ties=False))
def test_every_field_once_is_the_metric_itself(given_: tuple[np.ndarray, ...]) -> None:
    confidences, matches, fields, truths = given_
    [area] = average_precision_on_fields(
        confidences,
        matches,
        field_of_detection=fields,
        num_truths=truths,
        field_weights=np.ones((1, NUM_FIELDS)),
    )
    expected = average_precision_of_matches(confidences, matches, int(truths.sum()))
    np.testing.assert_allclose(area, expected)


@given(
    given_=detections(ties=True),
    weights=st.lists(st.integers(0, 3), min_size=2 * NUM_FIELDS, max_size=2 * NUM_FIELDS),
)
def test_a_weight_is_so_many_copies_of_a_field(given_: tuple[np.ndarray, ...], weights: list[int]) -> None:
    confidences, matches, fields, truths = given_
    draws = np.array(weights).reshape(2, NUM_FIELDS)
    areas = average_precision_on_fields(
        confidences, matches, field_of_detection=fields, num_truths=truths, field_weights=draws.astype(float)
    )
    for area, draw in zip(areas, draws, strict=True):
        copies = draw[fields]
        expected = slow_twin(np.repeat(confidences, copies), np.repeat(matches, copies), int(draw @ truths))
        np.testing.assert_allclose(area, expected)


def test_ties_are_accepted_together() -> None:
    tied = average_precision_on_fields(
        np.array([0.5, 0.5, 0.5, 0.5]),
        np.array([True, True, False, False]),
        field_of_detection=np.zeros(4, dtype=np.int64),
        num_truths=np.array([2]),
        field_weights=np.ones((1, 1)),
    )
    assert tied == pytest.approx([0.5])


def test_without_truths_or_detections() -> None:
    none = np.zeros(0)
    areas = average_precision_on_fields(
        none,
        none.astype(bool),
        field_of_detection=none.astype(np.int64),
        num_truths=np.array([0, 3]),
        field_weights=np.array([[1.0, 0.0], [0.0, 1.0]]),
    )
    np.testing.assert_array_equal(areas, [np.nan, 0])
