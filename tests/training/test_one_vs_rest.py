"""Heads of embeddings: scikit-learn's own pipeline is the slow way."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpa_cells.classes import get_class_set
from hpa_cells.training.one_vs_rest import FittedHeads, OneVsRestSettings, fit_one_vs_rest

NUM_FIELDS, SIZE = 90, 12


def settings(**changed: Any) -> OneVsRestSettings:
    chosen: dict[str, Any] = {"C": [0.01, 1.0], "class_weights": ["none", "balanced"]}
    return OneVsRestSettings(**(chosen | {"max_iterations": 1000, "batch_cells": 8} | changed))


def world(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Embeddings of very different scales, four classes that are seen in them and folds."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(NUM_FIELDS, SIZE))
    labels = values[:, :4] + draw.normal(size=(NUM_FIELDS, 4)) > [0.5, 0.5, 1.0, 2.0]
    return (values + np.linspace(-5, 5, SIZE)) * np.logspace(-3, 3, SIZE), labels, np.arange(NUM_FIELDS) % 3


def slow_model(strength: float, weight: str) -> Any:
    class_weight = None if weight == "none" else weight
    model = LogisticRegression(
        C=strength, class_weight=class_weight, solver="newton-cholesky", tol=1e-10, max_iter=1000
    )
    return make_pipeline(StandardScaler(), model)


def probabilities(fitted: FittedHeads, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the linear layer says, in its 32 bits."""
    weight, bias = fitted.weight.astype(np.float32), fitted.bias.astype(np.float32)
    said: NDArray[np.float64] = expit(values.astype(np.float32) @ weight.T + bias)
    return said


def test_the_heads_say_what_the_models_say() -> None:
    values, labels, folds = world()
    fitted = fit_one_vs_rest(values, labels, folds, settings())
    assert len(set(fitted.chosen)) > 1
    other, _, _ = world(seed=1)
    for index, point in enumerate(fitted.grid[chosen] for chosen in fitted.chosen):
        model = slow_model(point.C, point.class_weight).fit(values, labels[:, index])
        expected = model.predict_proba(other)[:, 1]
        np.testing.assert_allclose(probabilities(fitted, other)[:, index], expected, atol=1e-5)


def test_the_choice_is_that_of_cross_validation() -> None:
    values, labels, folds = world()
    fitted = fit_one_vs_rest(values, labels, folds, settings())
    assert [(point.C, point.class_weight) for point in fitted.grid] == [
        (0.01, "none"),
        (1.0, "none"),
        (0.01, "balanced"),
        (1.0, "balanced"),
    ]
    for index, is_true in enumerate(labels.T):
        precisions, said = [], []
        for point in fitted.grid:
            scores = np.empty(NUM_FIELDS)
            for fold in range(3):
                model = slow_model(point.C, point.class_weight).fit(
                    values[folds != fold], is_true[folds != fold]
                )
                scores[folds == fold] = model.predict_proba(values[folds == fold])[:, 1]
            precisions.append(average_precision_score(is_true, scores))
            said.append(scores)
        np.testing.assert_allclose(fitted.average_precision[:, index], precisions, atol=1e-6)
        assert fitted.chosen[index] == np.argmax(precisions)
        np.testing.assert_allclose(fitted.out_of_fold[:, index], said[fitted.chosen[index]], atol=1e-5)
        assert fitted.num_scored[index] == is_true.sum()


def test_classes_that_cannot_be_learned_or_measured() -> None:
    """Shown by no field, by all, by those of one fold, and by one field in each of two folds."""
    values, _, folds = world()
    labels = np.zeros((NUM_FIELDS, 4), dtype=bool)
    labels[:, 1] = True
    labels[np.flatnonzero(folds == 2)[:5], 2] = True
    labels[[0, 1], 3] = True
    fitted = fit_one_vs_rest(values, labels, folds, settings())
    assert np.isnan(fitted.average_precision[:, :3]).all()
    assert np.isfinite(fitted.average_precision[:, 3]).all()
    assert fitted.num_scored.tolist() == [0, 0, 0, 2]
    # Where nothing can be measured, what regularises most.
    assert fitted.chosen[:3].tolist() == [0, 0, 0]
    assert not fitted.weight[:2].any()
    assert fitted.weight[2].any()
    np.testing.assert_allclose(expit(fitted.bias[:2]), [0.5 / 91, 90.5 / 91])
    # Fields of the only fold that shows the class are scored by models that have never seen it: all alike.
    alone = fitted.out_of_fold[folds == 2, 2]
    np.testing.assert_allclose(alone, 0.5 / 61)


def test_what_is_told_of_each_class() -> None:
    class_set = get_class_set("hpa2021")
    values, few, folds = world()
    labels = np.zeros((NUM_FIELDS, len(class_set)), dtype=bool)
    labels[:, :4] = few
    told = fit_one_vs_rest(values, labels, folds, settings()).per_class(class_set, labels)
    assert tuple(told) == class_set.keys
    first, last = told[class_set.keys[0]], told[class_set.keys[-1]]
    assert first["fields"] == first["fields_scored"] == int(few[:, 0].sum())
    assert first["C"] in (0.01, 1.0)
    assert 0 < first["cross_validated_average_precision"] <= 1
    assert last == {
        "C": 0.01,
        "class_weight": "none",
        "cross_validated_average_precision": None,
        "fields": 0,
        "fields_scored": 0,
    }


def test_what_did_not_vary_has_no_say_later() -> None:
    values, labels, folds = world()
    rounding = 7 + 1e-4 * np.random.default_rng(0).normal(size=NUM_FIELDS)
    values = np.column_stack([values, np.full(NUM_FIELDS, 3.0), rounding])
    fitted = fit_one_vs_rest(values, labels, folds, settings())
    assert not fitted.weight[:, -2:].any()
    changed = values.copy()
    changed[:, -2:] += 1000
    np.testing.assert_array_equal(probabilities(fitted, changed), probabilities(fitted, values))


def test_weights_of_fields() -> None:
    """Half the weight for all is half the strength; and next to no weight is no say."""
    values, labels, folds = world()
    half = fit_one_vs_rest(values, labels, folds, settings(C=[1.0]), weights=np.full(NUM_FIELDS, 0.5))
    whole = fit_one_vs_rest(values, labels, folds, settings(C=[0.5]))
    np.testing.assert_allclose(half.weight, whole.weight, rtol=1e-3, atol=1e-6)
    wrong, light = labels.copy(), np.ones(NUM_FIELDS)
    doubtful = slice(0, 30)
    wrong[doubtful] = ~wrong[doubtful]
    light[doubtful] = 1e-6
    trusting = fit_one_vs_rest(values, wrong, folds, settings(C=[1.0], class_weights=["none"]))
    careful = fit_one_vs_rest(values, wrong, folds, settings(C=[1.0], class_weights=["none"]), weights=light)
    rest = slice(30, None)
    right = [
        average_precision_score(labels[rest], probabilities(each, values)[rest], average="macro")
        for each in (trusting, careful)
    ]
    assert right[1] > right[0] + 0.05


def test_fits_that_are_cut_short_are_told(caplog: pytest.LogCaptureFixture) -> None:
    values, labels, folds = world()
    with caplog.at_level(logging.WARNING):
        fit_one_vs_rest(values, labels, folds, settings())
        assert not caplog.records
        fit_one_vs_rest(values, labels, folds, settings(max_iterations=2))
    assert "fits were cut short after heads.max_iterations=2" in caplog.text


def test_what_cannot_be_fitted() -> None:
    values, labels, folds = world()
    with pytest.raises(ValueError, match=r"single fold: set data\.num_folds to 3"):
        fit_one_vs_rest(values, labels, np.zeros_like(folds), settings())
    values[3, 3] = np.nan
    with pytest.raises(ValueError, match="An embedding is not finite"):
        fit_one_vs_rest(values, labels, folds, settings())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"C": []}, r"heads\.C is \[\]: give one or more numbers above 0"),
        ({"C": [1.0, 0.0]}, r"heads\.C is \[1\.0, 0\.0\]"),
        ({"C": [float("inf")]}, r"heads\.C is \[inf\]"),
        (
            {"class_weights": ["even"]},
            r"heads\.class_weights is \['even'\]: give one or both of none, balanced",
        ),
        ({"class_weights": []}, r"heads\.class_weights is \[\]"),
        ({"max_iterations": 0}, r"heads\.max_iterations is 0"),
        ({"batch_cells": 0}, r"heads\.batch_cells is 0"),
    ],
)
def test_settings_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changed)
