import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss

from hpa_cells.classes import get_class_set
from hpa_cells.metrics import (
    brier_score,
    calibration_error,
    calibration_scores,
    equal_shares,
    halving_shares,
    reliability_bins,
    wilson_interval,
)

HPA2021 = get_class_set("hpa2021")

sizes = st.integers(1, 30)
rows = sizes.flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.float32, size, elements=st.sampled_from([0, 0.125, 0.25, 0.5, 0.75, 1])),
        hnp.arrays(bool, size),
    )
)


def slow_bins(probabilities: np.ndarray, labels: np.ndarray, num_bins: int) -> dict[int, list[int]]:
    """Bin -> rows, by the middle rank of those of equal probability."""
    bins: dict[int, list[int]] = {}
    for row, probability in enumerate(probabilities):
        below = sum(other < probability for other in probabilities)
        equal = sum(other == probability for other in probabilities)
        share = (below + equal / 2) / len(probabilities)
        # A middle rank on the border of two bins is in the lower one.
        bins.setdefault(max(0, math.ceil(share * num_bins - 1e-9) - 1), []).append(row)
    return bins


@given(rows=rows, num_bins=st.integers(1, 6))
def test_bins_and_error_are_those_of_the_slow_twin(
    rows: tuple[np.ndarray, np.ndarray], num_bins: int
) -> None:
    probabilities, labels = rows
    bins = reliability_bins(probabilities, labels, shares=equal_shares(num_bins))
    expected = [members for _, members in sorted(slow_bins(probabilities, labels, num_bins).items())]
    assert bins["num_rows"].tolist() == list(map(len, expected))
    np.testing.assert_allclose(
        bins["predicted"], [probabilities[each].mean() for each in expected], rtol=1e-6
    )
    np.testing.assert_allclose(bins["observed"], [labels[each].mean() for each in expected])
    assert bins["num_truths"].tolist() == [labels[each].sum() for each in expected]
    if 0 < labels.sum() < len(labels):
        gaps = [len(each) * abs(probabilities[each].mean() - labels[each].mean()) for each in expected]
        error = calibration_error(probabilities, labels, num_bins=num_bins)
        assert error == pytest.approx(sum(gaps) / len(labels), abs=1e-6)


@given(rows=rows, seed=st.integers(0, 9))
def test_the_order_of_rows_does_not_matter(rows: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    probabilities, labels = rows
    order = np.random.default_rng(seed).permutation(len(labels))
    both = [
        reliability_bins(probabilities[each], labels[each], shares=equal_shares(4))
        for each in (np.arange(len(labels)), order)
    ]
    np.testing.assert_allclose(*both)


def test_bins_hold_equal_numbers_of_rows() -> None:
    probabilities = np.random.default_rng(0).random(997)
    bins = reliability_bins(probabilities, probabilities > 0.5, shares=equal_shares(10))
    assert set(bins["num_rows"]) <= {99, 100}


def test_bins_of_a_picture_halve_towards_the_top() -> None:
    probabilities = np.arange(640) / 640
    bins = reliability_bins(probabilities, probabilities > 0.5, shares=halving_shares(640, least=20))
    assert bins["num_rows"].tolist() == [320, 160, 80, 40, 20, 20]
    assert halving_shares(10, least=20) == halving_shares(0, least=20) == [1.0]
    for num_rows in (20, 100, 5_000):
        assert sum(halving_shares(num_rows, least=20)) == 1


def test_no_rows_are_no_bins() -> None:
    none = np.zeros(0)
    assert reliability_bins(none, none.astype(bool), shares=equal_shares(10)).empty


@given(num_rows=st.integers(1, 500), share=st.floats(0, 1))
def test_the_interval_is_that_of_scipy(num_rows: int, share: float) -> None:
    num_true = round(share * num_rows)
    expected = binomtest(num_true, num_rows).proportion_ci(0.95, method="wilson")
    [low], [high] = wilson_interval(np.array([num_true]), np.array([num_rows]))
    np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-6)


@given(rows=rows)
def test_brier_is_that_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = rows
    if 0 < labels.sum() < len(labels):
        assert brier_score(probabilities, labels) == pytest.approx(brier_score_loss(labels, probabilities))


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_the_error_of_a_perfect_calibration_is_that_of_chance(power: float) -> None:
    """Each bin is off by a normal deviate of its sampling error: their mean is known, and so is its spread."""
    rng = np.random.default_rng(1)
    probabilities = rng.random(20_000) ** power
    labels = rng.random(20_000) < probabilities
    deviations = np.sqrt([
        part.mean() * (1 - part.mean()) / len(part) for part in np.array_split(np.sort(probabilities), 20)
    ])  # fmt: skip
    expected = np.sqrt(2 / np.pi) * deviations.mean()
    spread = np.sqrt((1 - 2 / np.pi) * np.mean(deviations**2) / 20)
    error = calibration_error(probabilities, labels, num_bins=20)
    assert abs(error - expected) < 4 * spread
    assert calibration_error(probabilities**2, labels, num_bins=20) > 10 * expected


def test_a_class_of_one_kind_of_row_is_nan_with_its_support() -> None:
    labels = np.zeros((40, 19), dtype=bool)
    labels[:, 1] = True
    labels[:10, 2] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = calibration_scores(np.full((40, 19), 0.25), labels, HPA2021, num_bins=10)
    assert scores["class_key"].tolist() == list(HPA2021.keys)
    assert scores["calibration_error"].isna().tolist() == [True, True, False] + [True] * 16
    assert scores["brier"].isna().tolist() == [True, True, False] + [True] * 16
    assert scores.loc[2, ["calibration_error", "brier"]].tolist() == pytest.approx([0, 0.1875])
    assert scores["num_truths"].tolist() == [0, 40, 10] + [0] * 16
    assert set(scores["num_rows"]) == {40}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Probabilities have shape \(3, 19\), labels \(4, 19\)"):
        calibration_scores(np.zeros((3, 19)), np.zeros((4, 19), dtype=bool), HPA2021, num_bins=10)
    with pytest.raises(ValueError, match="num_bins is 0: give at least 1"):
        calibration_scores(np.zeros((3, 19)), np.zeros((3, 19), dtype=bool), HPA2021, num_bins=0)
