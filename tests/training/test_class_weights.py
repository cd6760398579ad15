from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.training.class_weights import CLASS_WEIGHTS, class_weights, positive_weights

# One field, four fields, none.
LABELS = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("rule", "beta", "expected"),
    [
        ("none", 0.5, [1, 1, 1]),
        # The class without a field counts as one: 1 - 1/6, 1 - 4/6, 1 - 1/6, divided by their mean, 2/3.
        ("one_minus_share", 0.5, [5 / 4, 1 / 2, 5 / 4]),
        # 1, 1/2, 1, divided by 5/6.
        ("inverse_root", 0.5, [6 / 5, 3 / 5, 6 / 5]),
        # 1, 0.5 / (15/16) = 8/15, 1, divided by 38/45.
        ("effective_number", 0.5, [45 / 38, 24 / 38, 45 / 38]),
        ("effective_number", 0.0, [1, 1, 1]),
        # 1, 1/4, 1, divided by 3/4.
        ("effective_number", 1 - 1e-9, [4 / 3, 1 / 3, 4 / 3]),
    ],
)
def test_weights_by_hand(rule: str, beta: float, expected: list[float]) -> None:
    weights = class_weights(LABELS, rule, beta=beta)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("rule", CLASS_WEIGHTS)
def test_weights_are_finite_with_mean_one(rule: str) -> None:
    one_class, no_label = np.ones((7, 1), dtype=bool), np.zeros((7, 4), dtype=bool)
    np.testing.assert_array_equal(class_weights(one_class, rule, beta=0.9), [1])
    np.testing.assert_array_equal(class_weights(no_label, rule, beta=0.9), [1, 1, 1, 1])
    many = np.arange(20_000)[:, None] < np.array([0, 1, 30, 5_000, 20_000])
    weights = class_weights(many, rule, beta=0.9999)
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    assert (weights > 0).all()
    assert weights[0] == weights[1]
    assert (np.diff(weights) <= 0).all()


def test_positive_weights() -> None:
    labels = np.zeros((1000, 3), dtype=bool)
    labels[:100, 0] = labels[:1, 1] = True
    np.testing.assert_allclose(positive_weights(labels, 0.0), 1)
    np.testing.assert_allclose(positive_weights(labels, 0.5), [3, np.sqrt(999), 1])
    np.testing.assert_allclose(positive_weights(labels, 1.0), [9, 50, 1])
