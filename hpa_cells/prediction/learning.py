"""Learning fusion and calibration from validation fields, and measuring both on fields they were not learned from.

Shapes: N cells, T true cells, M cells that lie on a true one, F fields, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.prediction.calibration import check_method, fit_calibration
from hpa_cells.prediction.fusion_choice import ChoiceSettings, ValidationCells, choose_rules
from hpa_cells.prediction.learned_fusion import LearnedFusion

__all__ = ["HeldOut", "LearningSettings", "Validation", "learn", "score_held_out"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningSettings:
    """What is learned.

    Attributes
    ----------
    calibration
        One of `hpa_cells.prediction.calibration.CALIBRATION_METHODS`.
    choice
        How the rule of a class is chosen.
    """

    calibration: str
    choice: ChoiceSettings

    def __post_init__(self) -> None:
        check_method(self.calibration)


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Scores of fields that no training has seen, and what is true of them.

    Attributes
    ----------
    class_set
        The K classes.
    field_scores
        (F, K) float32 in [0, 1].
    field_labels
        (F, K) bool.
    field_known
        (F,) bool, which fields have both: one without cells has no scores.
    cells
        The cells; None where only fields are labelled.
    """

    class_set: ClassSet
    field_scores: NDArray[np.float32]
    field_labels: NDArray[np.bool_]
    field_known: NDArray[np.bool_]
    cells: ValidationCells | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """What was learned from the other folds says of each fold.

    Attributes
    ----------
    cells
        (N, K) float32; None where only fields are labelled.
    fields
        (F, K) float32, NaN where they have no scores.
    average_precision
        By name (``own``: the cell's score alone, ``common``: one rule for all classes, ``learned``): (K,) float64,
        the mean over the folds, weighted with their true cells. Scores of two folds are never ranked against each
        other: they went through different maps. NaN for a class without true cells.
    """

    cells: NDArray[np.float32] | None
    fields: NDArray[np.float32]
    average_precision: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def learn(
    validation: Validation,
    *,
    use: NDArray[np.bool_],
    settings: LearningSettings,
    provenance: Mapping[str, Any] | None = None,
) -> LearnedFusion:
    """Learn from the fields in use: rules first, then the calibration of what they give.

    Cells are calibrated on those that lie on a true cell: what a piece of background shows is not known.

    Parameters
    ----------
    validation
        Scores and truth.
    use
        (F,) bool.
    settings
        What is learned.
    provenance
        Written into the result.
    """
    known = use & validation.field_known
    fields = fit_calibration(
        validation.field_scores[known], validation.field_labels[known], settings.calibration
    )
    rules = calibration = None
    if validation.cells is not None:
        cells = validation.cells
        rules = choose_rules(cells, validation.class_set, use=use, settings=settings.choice)
        rows, labels = matched_cells(cells)
        used = use[cells.field_of_cell[rows]]
        fused = rules.combine(cells.scores[rows], cells.field_scores[rows], validation.class_set)
        calibration = fit_calibration(fused[used], labels[used], settings.calibration)
    return LearnedFusion(
        class_set=validation.class_set,
        rules=rules,
        cells=calibration,
        fields=fields,
        provenance_of_scores=provenance or {},
    )


def matched_cells(cells: ValidationCells) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows of the M cells that lie on a true cell, and (M, K) bool, what these show."""
    return cells.overlaps.predicted_rows, cells.is_truth[cells.overlaps.truth_rows]


def score_held_out(validation: Validation, folds: NDArray[np.int64], settings: LearningSettings) -> HeldOut:
    """Learn once a fold from all others, and score what was left out.

    Parameters
    ----------
    validation
        Scores and truth.
    folds
        (F,) int64, the fold of each field.
    settings
        What is learned.
    """
    cells = validation.cells
    after_fields = validation.field_scores.copy()
    after_cells = None if cells is None else cells.scores.copy()
    areas: dict[str, list[NDArray[np.float64]]] = {"own": [], "common": [], "learned": []}
    for fold in np.unique(folds):
        held_out = folds == fold
        learned = learn(validation, use=~held_out, settings=settings)
        after_fields[held_out] = learned.of_field(validation.field_scores[held_out])
        if cells is None or after_cells is None or learned.rules is None:
            continue
        combined = learned.combine(cells.scores, cells.field_scores, validation.class_set)
        mine = held_out[cells.field_of_cell]
        after_cells[mine] = combined[mine]
        common = learned.rules.only_common().combine(cells.scores, cells.field_scores, validation.class_set)
        weights = held_out[np.newaxis].astype(np.float64)
        for name, scores in (("own", cells.scores), ("common", common), ("learned", combined)):
            areas[name].append(cells.average_precisions(scores, weights)[0])
    if cells is None:
        return HeldOut(cells=None, fields=after_fields)
    truths = np.stack(
        [cells.is_truth[folds[cells.field_of_truth] == fold].sum(axis=0) for fold in np.unique(folds)]
    )
    return HeldOut(
        cells=after_cells,
        fields=after_fields,
        average_precision={name: _weighted_mean(np.stack(each), truths) for name, each in areas.items()},
    )


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) mean over the first axis; NaN where all weights are 0."""
    sums = np.where(weights > 0, values * weights, 0).sum(axis=0)
    totals = weights.sum(axis=0)
    mean: NDArray[np.float64] = np.divide(sums, totals, out=np.full(len(totals), np.nan), where=totals > 0)
    return mean
