from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as outside

from hpa_cells.classes import get_class_set
from hpa_cells.metrics import average_precision_per_class, macro_f1, multilabel_scores

CLASSES = get_class_set("hpa2018")


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 60)), len(CLASSES))
    labels = rng.random(shape) < rng.choice([0, 0.05, 0.5], len(CLASSES))
    predicted = rng.random(shape) < rng.choice([0, 0.05, 0.5], len(CLASSES))
    scores = multilabel_scores(predicted, labels, CLASSES)
    precision, recall, f1, support = outside.precision_recall_fscore_support(
        labels, predicted, average=None, zero_division=np.nan
    )
    present = support > 0
    np.testing.assert_allclose(scores["precision"], np.where(present, precision, np.nan))
    np.testing.assert_allclose(scores["recall"], np.where(present, recall, np.nan))
    np.testing.assert_allclose(scores["f1"], np.where(present, f1, np.nan))
    assert scores["num_truths"].tolist() == support.tolist()
    assert scores["num_detections"].tolist() == predicted.sum(axis=0).tolist()
    if present.any():
        everywhere = outside.f1_score(
            labels[:, present], predicted[:, present], average=None, zero_division=0
        )
        assert macro_f1(scores) == pytest.approx(np.mean(everywhere))


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 80)), 7)
    labels = rng.random(shape) < 0.3
    labels[:, 3] = False
    probabilities = (rng.integers(0, rng.choice([3, 1000]), shape) / 1000).astype(np.float32)
    ours = average_precision_per_class(probabilities, labels)
    for index, area in enumerate(ours):
        if labels[:, index].any():
            assert area == pytest.approx(
                outside.average_precision_score(labels[:, index], probabilities[:, index])
            )
        else:
            assert np.isnan(area)


def test_a_class_that_is_never_predicted_has_an_f1_of_zero_and_no_precision() -> None:
    labels, predicted = np.zeros((2, 3, len(CLASSES)), dtype=bool)
    labels[0, 0] = predicted[0, 1] = True
    scores = multilabel_scores(predicted, labels, CLASSES)
    assert np.isnan(scores["precision"][0])
    assert (scores["recall"][0], scores["f1"][0]) == (0, 0)
    assert scores.loc[1, ["precision", "recall", "f1"]].isna().all()
    assert scores["num_detections"][1] == 1
    assert macro_f1(scores) == 0


def test_nothing_to_score() -> None:
    none = np.zeros((0, len(CLASSES)), dtype=bool)
    assert np.isnan(macro_f1(multilabel_scores(none, none, CLASSES)))
    assert np.isnan(average_precision_per_class(none.astype(np.float32), none)).all()


def test_shapes_must_agree() -> None:
    labels = np.zeros((4, len(CLASSES)), dtype=bool)
    with pytest.raises(
        ValueError, match=r"shape \(3, 28\), labels \(4, 28\): both must have one row a cell or field"
    ):
        multilabel_scores(labels[:3], labels, CLASSES)
    with pytest.raises(ValueError, match="and 28 columns"):
        multilabel_scores(labels[:, :19], labels[:, :19], CLASSES)
    with pytest.raises(ValueError, match=r"shape \(4, 27\)"):
        average_precision_per_class(np.zeros((4, 27)), labels)
