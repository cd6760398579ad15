from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from hpa_cells.metrics import fixed_thresholds, ratio_thresholds, tuned_thresholds


def random_rows(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities with ties, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 40)), 5)
    probabilities = (rng.integers(0, rng.choice([4, 1000]), shape) / 1000).astype(np.float32)
    return probabilities, rng.random(shape) < 0.2 + probabilities


@pytest.mark.parametrize("seed", range(30))
def test_no_threshold_has_a_higher_f1_than_the_tuned_one(seed: int) -> None:
    probabilities, labels = random_rows(seed)
    thresholds = tuned_thresholds(probabilities, labels, fallback=0.25)
    for column, is_true, threshold in zip(probabilities.T, labels.T, thresholds, strict=True):
        if not is_true.any():
            assert threshold == 0.25
            continue
        by_candidate = {value: f1_score(is_true, column >= value) for value in np.unique(column)}
        best = max(by_candidate.values())
        assert threshold == max(value for value, f1 in by_candidate.items() if f1 == pytest.approx(best))


@pytest.mark.parametrize("seed", range(30))
def test_no_threshold_comes_closer_to_the_training_ratio(seed: int) -> None:
    probabilities, _ = random_rows(seed)
    ratios = np.random.default_rng(seed + 1).random(5)
    thresholds = ratio_thresholds(probabilities, ratios)
    for column, ratio, threshold in zip(probabilities.T, ratios, thresholds, strict=True):
        share = (column >= threshold).mean()
        every_share = [(column >= value).mean() for value in [*np.unique(column), 2.0]]
        assert abs(share - ratio) == pytest.approx(min(abs(each - ratio) for each in every_share))


def test_distinct_probabilities_meet_the_ratio_exactly() -> None:
    probabilities = np.random.default_rng(0).permutation(200).reshape(200, 1) / 200
    predicted = probabilities >= ratio_thresholds(probabilities, [0.035])
    assert predicted.sum() == 7


def test_ratios_of_none_and_all() -> None:
    probabilities = np.array([[1.0, 0.0], [0.2, 0.3]], dtype=np.float32)
    predicted = probabilities >= ratio_thresholds(probabilities, [0, 1])
    assert predicted.tolist() == [[False, True], [False, True]]


def test_fixed() -> None:
    assert fixed_thresholds(0.3, 3).tolist() == [0.3, 0.3, 0.3]


def test_no_rows_to_tune_on() -> None:
    assert tuned_thresholds(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool)).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="There are no rows to match label ratios on"):
        ratio_thresholds(np.zeros((0, 2)), [0.1, 0.2])


@pytest.mark.parametrize("ratios", [[0.1], [0.1, 1.2], [-0.1, 0.5], [np.nan, 0.5]])
def test_ratios_must_be_shares(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected 2 shares in \[0, 1\], one a class"):
        ratio_thresholds(np.zeros((3, 2)), ratios)
