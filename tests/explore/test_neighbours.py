from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpa_cells.explore.neighbours as neighbours
from hpa_cells.explore.neighbours import deviations, nearest, typical_distance


def vectors_of(number: int, size: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, size)).astype(np.float32)


def by_loops(vectors: np.ndarray, rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for own, vector in enumerate(vectors):
        others = [(np.linalg.norm(vector - vectors[row]), row) for row in rows if row != own]
        found.append(sorted(others)[:number])
    return np.array([[each[0] for each in row] for row in found]), np.array(
        [[each[1] for each in row] for row in found]
    )


@given(st.integers(4, 12), st.integers(1, 3), st.randoms(use_true_random=False))
def test_nearest_are_those_of_loops(number: int, num_neighbours: int, draw: object) -> None:
    vectors = vectors_of(number, seed=draw.randint(0, 1000))
    rows = np.sort(draw.sample(range(number), draw.randint(num_neighbours + 1, number)))
    distances, found = nearest(vectors, rows, num_neighbours)
    expected = by_loops(vectors, rows, num_neighbours)
    np.testing.assert_allclose(distances, expected[0], rtol=1e-5)
    np.testing.assert_array_equal(found, expected[1])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, rows = vectors_of(50), np.arange(0, 50, 3)
    expected = nearest(vectors, rows, 4)
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", 3 * len(rows))
    found = nearest(vectors, rows, 4)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], expected[1])


def test_copies_are_at_distance_0_and_near_ones_near_it() -> None:
    vectors = 100 + vectors_of(30, 64)
    vectors[7] = vectors[3]
    vectors[20] = vectors[9] + np.float32(1e-4)
    distances, found = nearest(vectors, np.arange(30), 2)
    assert distances[[3, 7], 0].tolist() == [0, 0]
    assert found[[3, 7, 9, 20], 0].tolist() == [7, 3, 20, 9]
    # The difference of two squares near 640,000 could not tell this.
    assert distances[9, 0] == pytest.approx(8e-4, rel=0.1)


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_fewer_than_asked_for(number: int, size: int) -> None:
    distances, found = nearest(vectors_of(number), np.arange(number), 5)
    assert distances.shape == found.shape == (number, size)


def test_typical_distance_is_the_median_of_all_pairs() -> None:
    vectors = vectors_of(40)
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(vectors) for b in vectors[:i]]
    assert typical_distance(vectors) == pytest.approx(np.median(pairs), rel=0.05)
    assert typical_distance(np.repeat(vectors, 2, axis=0)) == pytest.approx(np.median(pairs), rel=0.07)
    assert np.isnan(typical_distance(vectors[:1]))
    assert typical_distance(np.ones((3, 4), np.float32)) == 0


def test_typical_distance_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = vectors_of(40)
    expected = typical_distance(vectors)
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", 16 * 999)
    assert typical_distance(vectors) == expected


def test_deviations_are_in_robust_standard_deviations() -> None:
    logs = np.random.default_rng(0).normal(3, 0.2, 4001)
    found = deviations(np.exp(logs))
    np.testing.assert_allclose(found, (logs - 3) / 0.2, atol=0.15)
    # A tenth of outliers hardly changes what is told of the others.
    logs[:400] = 9
    assert deviations(np.exp(logs))[:400].min() > 15
    np.testing.assert_allclose(deviations(np.exp(logs))[400:], found[400:], atol=0.6)


def test_equal_distances_deviate_by_nothing_and_a_hair_is_not_told() -> None:
    assert not deviations(np.full(30, 2.5)).any()
    distances = np.full(30, 2.5)
    distances[4] += 0.05
    assert 1 < deviations(distances)[4] < 3.5


def test_a_copy_among_others_is_far_below() -> None:
    distances = np.random.default_rng(0).uniform(1, 2, 50)
    distances[0] = 0
    assert deviations(distances)[0] < -10
    assert np.isfinite(deviations(distances)).all()


def test_nothing_is_unusual_among_copies_or_nothing() -> None:
    assert deviations(np.zeros(0)).shape == (0,)
    assert not deviations(np.array([0.0, 0, 0, 5])).any()
