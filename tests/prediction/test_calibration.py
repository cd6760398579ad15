import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from hpa_cells.metrics import average_precision_per_class, calibration_error
from hpa_cells.prediction.calibration import (
    CALIBRATION_METHODS,
    Calibration,
    IsotonicMap,
    ScaleMap,
    fit_calibration,
    fit_isotonic,
    fit_scale,
)


def world(scale: float, bias: float, num_rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose logits are those of the truth, distorted."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 2, num_rows)
    labels = rng.random(num_rows) < expit(logits)
    return expit(scale * logits + bias).astype(np.float32), labels


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_temperature_is_recovered(scale: float) -> None:
    scores, labels = world(scale, 0)
    found = fit_scale(scores, labels, with_bias=False)
    assert found.scale == pytest.approx(1 / scale, rel=0.04)
    assert found.bias == 0


@pytest.mark.parametrize(("scale", "bias"), [(0.5, 1.5), (2.0, -1.0), (1.0, 0.0)])
def test_scale_and_bias_are_recovered(scale: float, bias: float) -> None:
    scores, labels = world(scale, bias)
    found = fit_scale(scores, labels, with_bias=True)
    assert (found.scale, found.bias) == (
        pytest.approx(1 / scale, rel=0.04),
        pytest.approx(-bias / scale, abs=0.08),
    )


def test_scale_and_bias_are_those_of_scikit_learn() -> None:
    """Platt's targets as two weighted rows each."""
    scores, labels = world(2, -1, num_rows=300)
    target = np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))
    logits = np.tile(logit(scores.astype(np.float64)), 2)[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(logits, np.repeat([1, 0], 300), sample_weight=np.concatenate([target, 1 - target]))
    found = fit_scale(scores, labels, with_bias=True)
    assert (found.scale, found.bias) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), rel=1e-4)


def test_few_positives_apart_from_all_negatives_do_not_become_certain() -> None:
    scores = np.append(np.linspace(0.01, 0.4, 500), [0.85, 0.85])
    labels = scores > 0.5
    found = fit_scale(scores, labels, with_bias=True)
    assert 0.4 < found(scores)[labels].mean() < 0.9
    assert found(scores).sum() == pytest.approx(2 * 3 / 4 + 500 * 1 / 502, rel=1e-4)


def test_scores_that_say_the_opposite_keep_their_order() -> None:
    scores, labels = world(1, 0, num_rows=1_000)
    for method in ("temperature", "platt", "isotonic"):
        [opposite] = fit_calibration(scores[:, None], ~labels[:, None], method).maps
        assert opposite is not None
        assert (np.diff(opposite(np.unique(scores))) > 0).all()


def test_equal_scores_become_the_share_that_is_true() -> None:
    labels = np.arange(1_000) < 300
    for found in (
        fit_scale(np.full(1_000, 0.9), labels, with_bias=True),
        fit_isotonic(np.full(1_000, 0.9), labels),
    ):
        assert found(np.array([0.9])) == pytest.approx(0.3, abs=2e-3)


@pytest.mark.parametrize("num_levels", [10_000, 12])
def test_isotonic_is_that_of_scikit_learn_but_for_its_tilt(num_levels: int) -> None:
    scores, labels = world(2, 1, num_rows=3_000)
    scores = np.ceil(scores * num_levels) / (num_levels + 1)
    reference = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    expected = reference.predict(scores)
    steps = np.diff(np.unique(expected), prepend=0, append=1)
    found = fit_isotonic(scores, labels)(scores)
    assert np.abs(found - expected).max() <= 0.05 * steps.max() + 1 / len(labels)
    assert np.abs(found - expected).mean() < 0.005


rows = st.integers(4, 60).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.float32, size, elements=st.floats(2**-20, 1 - 2**-20, width=32)),
        hnp.arrays(bool, size),
    )
)


@settings(max_examples=40)
@given(rows=rows, method=st.sampled_from(CALIBRATION_METHODS))
def test_a_map_rises_strictly_and_stays_in_0_to_1(rows: tuple[np.ndarray, np.ndarray], method: str) -> None:
    scores, labels = rows
    [found] = fit_calibration(scores[:, None], labels[:, None], method).maps
    assume(found is not None)
    assert found is not None
    grid = np.unique(np.concatenate([scores.astype(np.float64), np.linspace(0, 1, 200)]))
    calibrated = found(grid)
    assert 0 <= calibrated[0] < calibrated[-1] <= 1
    # A steep logistic reaches 1 in 64 bits; next to it alone may it be flat.
    assert ((np.diff(calibrated) > 0) | (calibrated[1:] > 1 - 1e-15) | (calibrated[:-1] == 0)).all()


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_average_precision_stays_and_the_error_falls(method: str) -> None:
    columns = [world(2, 0), world(0.4, 0)]
    scores, labels = (np.stack(each, axis=1) for each in zip(*columns, strict=True))
    calibrated = fit_calibration(scores[::2], labels[::2], method).apply(scores[1::2])
    assert calibrated.dtype == np.float32
    before, after = (average_precision_per_class(each, labels[1::2]) for each in (scores[1::2], calibrated))
    np.testing.assert_allclose(after, before, atol=1e-5)
    for index in range(2):
        errors = [
            calibration_error(each[:, index], labels[1::2, index], num_bins=10)
            for each in (scores[1::2], calibrated)
        ]
        assert errors[1] < 0.3 * errors[0]


def test_isotonic_makes_no_ties_where_blocks_are_flat() -> None:
    """scikit-learn's does: the average precision of its result is another."""
    scores, labels = world(1, 0, num_rows=400)
    flat = IsotonicRegression().fit(scores, labels).predict(scores)
    tilted = fit_isotonic(scores, labels)(scores)
    assert len(np.unique(flat)) < 40
    assert len(np.unique(tilted)) == len(np.unique(scores))
    areas = [
        average_precision_per_class(each[:, None], labels[:, None])[0] for each in (scores, flat, tilted)
    ]
    assert areas[0] == areas[2] != areas[1]


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_a_class_of_one_kind_keeps_its_scores(method: str) -> None:
    scores = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    labels = np.zeros((50, 3), dtype=bool)
    labels[:, 1] = True
    labels[:25, 2] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_calibration(scores, labels, method)
    assert [each is None for each in found.maps] == [True, True, False]
    np.testing.assert_array_equal(found.apply(scores)[:, :2], scores[:, :2])
    assert (found.apply(scores)[:, 2] != scores[:, 2]).any()


def test_none_keeps_all_scores() -> None:
    scores, labels = world(2, 0, num_rows=50)
    found = fit_calibration(scores[:, None], labels[:, None], "none")
    assert found.maps == (None,)
    np.testing.assert_array_equal(found.apply(scores[:, None]), scores[:, None])


def test_0_and_1_stay_and_nan_stays() -> None:
    scale = ScaleMap(scale=0.5, bias=3)
    isotonic = fit_isotonic(*world(1, 0, num_rows=100))
    for each in (scale, isotonic):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            low, high, unknown = each(np.array([0, 1, np.nan], dtype=np.float32))
        assert 0 <= low < high <= 1
        assert np.isnan(unknown)
    assert scale(np.array([0.0, 1.0])).tolist() == [0, 1]


def test_what_is_no_rising_map_is_refused() -> None:
    wrong: list[tuple[type, dict[str, Any]]] = [
        (ScaleMap, {"scale": 0.0, "bias": 0.0}),
        (ScaleMap, {"scale": float("nan"), "bias": 0.0}),
        (ScaleMap, {"scale": 1.0, "bias": float("inf")}),
        (IsotonicMap, {"logits": (-30.0, 30.0), "probabilities": (0.5, 0.5)}),
        (IsotonicMap, {"logits": (-30.0, 0.0, 0.0, 30.0), "probabilities": (0.1, 0.2, 0.3, 0.4)}),
        (IsotonicMap, {"logits": (-3.0, 30.0), "probabilities": (0.1, 0.2)}),
        (IsotonicMap, {"logits": (-30.0, 30.0), "probabilities": (0.1, 1.2)}),
        (IsotonicMap, {"logits": (-30.0, 30.0), "probabilities": (0.1, 0.2, 0.3)}),
        (IsotonicMap, {"logits": (), "probabilities": ()}),
    ]
    for kind, values in wrong:
        with pytest.raises(ValueError, match=r"calibration has"):
            kind(**values)
    with pytest.raises(
        ValueError, match="calibration is 'plat': use one of none, temperature, platt, isotonic"
    ):
        Calibration(method="plat", maps=())
    with pytest.raises(ValueError, match=r"Scores have shape \(2, 1\), labels \(2, 2\)"):
        fit_calibration(np.zeros((2, 1)), np.zeros((2, 2), dtype=bool), "platt")
