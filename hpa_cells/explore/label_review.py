"""Labels of fields that models which have not seen them contradict, by confident learning [1]_.

Each class is judged by itself, as one label against its absence. Of each, confident learning counts the fields that
score above the mean of those labelled alike, estimates from the counts how many labels are wrong, and tells that many,
those that score lowest for what they are labelled with. The quality of a label is what it scores in relation to that
mean: a class whose fields all score low is hard, and not therefore wrong. The quality of a field is a mean of those of
its labels in which the lowest weigh most [2]_. The computation is the authors' package cleanlab.

Shapes: F fields, K classes.

References
----------
.. [1] Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. Journal of Artificial
   Intelligence Research 70 (2021), 1373-1411. arXiv 1911.00068.
.. [2] Thyagarajan, Snorrason, Northcutt, Mueller: Identifying Incorrect Annotations in Multi-Label Classification Data.
   arXiv 2211.13895 (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet

__all__ = [
    "GIVEN_NOT_SEEN",
    "SEEN_NOT_GIVEN",
    "LabelReview",
    "check_reviewer",
    "proposed_weights",
    "review_labels",
]

GIVEN_NOT_SEEN, SEEN_NOT_GIVEN = "given but not seen", "seen but not given"

# Of a class that so few fields have, or lack, the usual score is that of the doubtful label itself.
_FEWEST_FIELDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelReview:
    """What is doubtful about the labels of F fields.

    Attributes
    ----------
    doubtful
        One row a doubtful label, those of the worst field first: ``rank`` from 1, ``field_id``, ``class`` (its number),
        ``key``, ``name``, ``kind`` (`GIVEN_NOT_SEEN` or `SEEN_NOT_GIVEN`), ``is_given``, ``score`` (the field's
        probability of the class), ``quality`` of the label and ``field_quality``, both in [0, 1], low for doubtful.
    field_quality
        (F,) float64 in [0, 1], of each field; 1 where no class is judged.
    not_judged
        Keys of the classes that fewer than two fields have, or lack.
    """

    doubtful: pd.DataFrame
    field_quality: NDArray[np.float64]
    not_judged: tuple[str, ...]


def review_labels(
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    *,
    field_ids: Sequence[str],
    class_set: ClassSet,
) -> LabelReview:
    """The labels that the scores contradict.

    Parameters
    ----------
    labels
        (F, K) bool, as given.
    probabilities
        (F, K) in [0, 1], by models that have not learned from the field's own labels.
    field_ids
        F names.
    class_set
        The K classes.

    Raises
    ------
    ValueError
        If a shape is wrong, a probability is none, or cleanlab is not installed.
    """
    _check(labels, probabilities, (len(field_ids), len(class_set)))
    num_with = labels.sum(axis=0)
    judged = np.flatnonzero(np.minimum(num_with, len(labels) - num_with) >= _FEWEST_FIELDS)
    is_doubtful, quality, field_quality = _confident_learning(labels[:, judged], probabilities[:, judged])
    rows, places = np.nonzero(is_doubtful)
    order = np.lexsort((quality[rows, places], rows, field_quality[rows]))
    rows, places = rows[order], places[order]
    classes = judged[places]
    is_given = labels[rows, classes]
    doubtful = pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1),
            "field_id": np.array(field_ids, dtype=object)[rows],
            "class": classes,
            "key": np.array(class_set.keys, dtype=object)[classes],
            "name": np.array(class_set.names, dtype=object)[classes],
            "kind": np.where(is_given, GIVEN_NOT_SEEN, SEEN_NOT_GIVEN),
            "is_given": is_given,
            "score": probabilities[rows, classes],
            "quality": quality[rows, places],
            "field_quality": field_quality[rows],
        }
    )
    not_judged = tuple(key for index, key in enumerate(class_set.keys) if index not in judged)
    return LabelReview(doubtful=doubtful, field_quality=field_quality, not_judged=not_judged)


def proposed_weights(review: LabelReview) -> pd.DataFrame:
    """How often to draw each doubtful field in training, for a person to go through.

    The weight is the field's quality in parts of the median of all fields, at most 1. On simulated fields, a tenth of
    them labelled wrongly, that comes near the share of rightly labelled fields at each quality.

    Returns
    -------
    One row a field with a doubtful label, the worst first: ``field_id``, ``weight`` in [0, 1], and in words
    ``given_but_not_seen`` and ``seen_but_not_given``.
    """
    usual = max(float(np.median(review.field_quality)), 1e-6)
    rows = []
    for field_id, found in review.doubtful.groupby("field_id", sort=False):
        weight = min(1.0, float(found["field_quality"].iloc[0]) / usual)
        names = {
            kind: ", ".join(found.loc[found["kind"] == kind, "name"])
            for kind in (GIVEN_NOT_SEEN, SEEN_NOT_GIVEN)
        }
        rows.append((field_id, round(weight, 2), names[GIVEN_NOT_SEEN], names[SEEN_NOT_GIVEN]))
    return pd.DataFrame(rows, columns=["field_id", "weight", "given_but_not_seen", "seen_but_not_given"])


def check_reviewer() -> None:
    """See that the package is there which reviews labels, such as before long work.

    Raises
    ------
    ValueError
        If it is not.
    """
    if find_spec("cleanlab") is None:
        raise ValueError(
            "The review of labels needs cleanlab: install it with pip install 'hpa-cells[review]'."
        )


def _confident_learning(
    labels: NDArray[np.bool_], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Which labels are doubtful (F, K) bool, the quality of each (F, K) and of each field (F,)."""
    check_reviewer()
    if not labels.shape[1]:
        return labels.copy(), np.ones(labels.shape), np.ones(len(labels))
    # It brings scikit-learn with it, which takes seconds to load.
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import (
        get_label_quality_scores,
        get_label_quality_scores_per_class,
    )

    num_classes = labels.shape[1]
    if num_classes == 1:
        # One class alone is refused; twice, it has the same quality.
        labels, probabilities = (np.repeat(each, 2, axis=1) for each in (labels, probabilities))
    given = [np.flatnonzero(row).tolist() for row in labels]
    scores = probabilities.astype(np.float64)
    is_doubtful = find_multilabel_issues_per_class(given, scores, n_jobs=1)
    quality = get_label_quality_scores_per_class(given, scores, adjust_pred_probs=True)
    field_quality = get_label_quality_scores(given, scores, adjust_pred_probs=True)
    return np.asarray(is_doubtful, dtype=bool)[:, :num_classes], quality[:, :num_classes], field_quality


def _check(labels: NDArray[np.bool_], probabilities: NDArray[np.floating], expected: tuple[int, int]) -> None:
    if labels.shape != expected or labels.dtype != np.bool_:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, expected bool {expected}.")
    if probabilities.shape != expected:
        raise ValueError(f"probabilities are {probabilities.shape}, expected {expected}.")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(
            "A probability of a field is not between 0 and 1: leave out fields without cells (NaN)."
        )
