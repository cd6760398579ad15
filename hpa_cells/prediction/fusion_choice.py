"""Choosing a rule for each class on validation fields, without believing every difference.

First the one rule that is best for all classes on average, the common one. A class leaves it for another only where
that gains more average precision than it may by chance: more than a number of standard errors, found by drawing the
fields again with repetition [1]_. A small validation set so ends with one rule for all.

Shapes: N cells, T true cells, F fields, K classes, B draws of fields.

References
----------
.. [1] Efron, Tibshirani: An Introduction to the Bootstrap. Chapman & Hall 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.metrics import Overlaps, average_precision_on_fields, match_detections
from hpa_cells.prediction.fusion import NEGATIVE_KEY, NEGATIVE_RULES
from hpa_cells.prediction.learned_fusion import CELL_ALONE, CLASS_RULES, ClassRule, FusionRules, fuse

__all__ = ["ChoiceSettings", "ValidationCells", "choose_rules"]

FloatArray: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceSettings:
    """What is tried, and how sure a gain must be.

    Attributes
    ----------
    rules
        Of ``weighted`` and ``geometric``, see `ClassRule`; empty leaves all classes the cell's score alone.
    cell_weights
        Weights of the cell that are tried in each rule.
    negative
        Of ``larger``, ``one_minus_max`` and ``product``, tried for Negative beside the rules, see
        `hpa_cells.prediction.Fusion`.
    standard_errors
        A gain must be larger than so many of its standard errors.
    num_resamples
        Number of draws of the fields that the standard error is found from.
    min_fields
        A class with true cells in fewer fields keeps the common rule: so few fields cannot tell how uncertain
        they are.
    seed
        Of the draws.
    """

    rules: list[str]
    cell_weights: list[float]
    negative: list[str]
    standard_errors: float
    num_resamples: int
    min_fields: int
    seed: int

    def __post_init__(self) -> None:
        for name, given, known in (
            ("rules", self.rules, CLASS_RULES),
            ("negative", self.negative, NEGATIVE_RULES[1:]),
        ):
            unknown = [each for each in given if each not in known]
            if unknown:
                raise ValueError(
                    f"fusion.{name} holds {unknown[0]!r}: use some of {', '.join(known)}, or []."
                )
        for weight in self.cell_weights:
            if not 0 < weight < 1:
                raise ValueError(f"fusion.cell_weights holds {weight}: give numbers between 0 and 1.")
        if not self.standard_errors >= 0:
            raise ValueError(f"fusion.standard_errors is {self.standard_errors}: give 0 or more.")
        if self.num_resamples < 2:
            raise ValueError(f"fusion.num_resamples is {self.num_resamples}: give at least 2.")
        if self.min_fields < 1:
            raise ValueError(f"fusion.min_fields is {self.min_fields}: give at least 1.")

    @property
    def candidates(self) -> list[ClassRule]:
        """The rules that are tried, the cell's score alone first."""
        return [
            CELL_ALONE,
            *(
                ClassRule(rule=rule, cell_weight=weight)
                for rule in self.rules
                for weight in self.cell_weights
            ),
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationCells:
    """Cells with their scores, and what is true.

    Attributes
    ----------
    scores
        (N, K) float32 in [0, 1], of the cells.
    field_scores
        (N, K) float32 in [0, 1], of the field of each cell.
    field_of_cell
        (N,) int64 in [0, F).
    overlaps
        Which of them lie on true cells.
    is_truth
        (T, K) bool.
    field_of_truth
        (T,) int64 in [0, F).
    """

    scores: NDArray[np.float32]
    field_scores: NDArray[np.float32]
    field_of_cell: NDArray[np.int64]
    overlaps: Overlaps
    is_truth: NDArray[np.bool_]
    field_of_truth: NDArray[np.int64]

    def average_precision(
        self, confidences: FloatArray, class_index: int, field_weights: FloatArray
    ) -> NDArray[np.float64]:
        """(B,) float64, by the 2021 metric, of confidences (N,) where fields count as often as weights (B, F) say."""
        is_truth = self.is_truth[:, class_index]
        return average_precision_on_fields(
            confidences,
            match_detections(self.overlaps, confidences, is_truth),
            field_of_detection=self.field_of_cell,
            num_truths=np.bincount(self.field_of_truth[is_truth], minlength=field_weights.shape[1]),
            field_weights=field_weights,
        )

    def average_precisions(self, confidences: FloatArray, field_weights: FloatArray) -> NDArray[np.float64]:
        """(B, K) float64, the same of all classes, of confidences (N, K)."""
        columns = enumerate(confidences.T)
        return np.stack(
            [self.average_precision(each, index, field_weights) for index, each in columns], axis=1
        )

    def num_true_fields(self, use: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(K,) int64, how many of the fields in use (F,) have a true cell of each class."""
        has_class = np.zeros((len(use), self.is_truth.shape[1]), dtype=bool)
        np.logical_or.at(has_class, self.field_of_truth, self.is_truth)
        return np.asarray(has_class[use].sum(axis=0), dtype=np.int64)


def choose_rules(
    cells: ValidationCells, class_set: ClassSet, *, use: NDArray[np.bool_], settings: ChoiceSettings
) -> FusionRules:
    """Choose the rule of each class, and of Negative apart where the classes have it.

    Parameters
    ----------
    cells
        Validation cells, which no training has seen.
    class_set
        The K classes.
    use
        (F,) bool, the fields to learn from.
    settings
        What is tried.
    """
    once, draws = use[np.newaxis].astype(np.float64), _draws(use, settings)
    candidates = settings.candidates
    scores = [fuse(cells.scores, cells.field_scores, [rule] * len(class_set)) for rule in candidates]
    areas_CK = np.concatenate([cells.average_precisions(each, once) for each in scores])
    common = _common(areas_CK, lambda index: cells.average_precisions(scores[index], draws), settings)
    trusted = cells.num_true_fields(use) >= settings.min_fields
    chosen = np.full(len(class_set), common)
    for index in np.flatnonzero(trusted).tolist():
        best = int(np.argmax(areas_CK[:, index]))
        gain = areas_CK[best, index] - areas_CK[common, index]
        if gain > 0:
            ahead, behind = (
                cells.average_precision(scores[each][:, index], index, draws) for each in (best, common)
            )
            if gain > settings.standard_errors * _standard_error(ahead - behind):
                chosen[index] = best
    rules = FusionRules(
        common=candidates[common], of_classes=tuple(candidates[each] for each in chosen), negative="own"
    )
    if NEGATIVE_KEY not in class_set.keys or not trusted[class_set.index(NEGATIVE_KEY)]:
        return rules
    return _with_negative(rules, cells, class_set, once=once, draws=draws, settings=settings)


def _common(
    areas_CK: NDArray[np.float64],
    resampled: Callable[[int], NDArray[np.float64]],
    settings: ChoiceSettings,
) -> int:
    """The candidate with the best mean over the classes that have truth, or the first, if it is hardly behind."""
    has_truth = ~np.isnan(areas_CK[0])
    if not has_truth.any():
        return 0
    means = areas_CK[:, has_truth].mean(axis=1)
    best = int(np.argmax(means))
    if best == 0:
        return 0
    # A draw without true cells of a class says nothing of that class: its mean is over the others.
    gains = np.nanmean((resampled(best) - resampled(0))[:, has_truth], axis=1)
    return best if means[best] - means[0] > settings.standard_errors * _standard_error(gains) else 0


def _with_negative(
    rules: FusionRules,
    cells: ValidationCells,
    class_set: ClassSet,
    *,
    once: FloatArray,
    draws: FloatArray,
    settings: ChoiceSettings,
) -> FusionRules:
    """Let Negative go its own way where that gains enough over its rule."""
    index = class_set.index(NEGATIVE_KEY)

    def scores(negative: str) -> NDArray[np.float32]:
        apart = replace(rules, negative=negative)
        return apart.combine(cells.scores, cells.field_scores, class_set)[:, index]

    tried = ["own", *settings.negative]
    areas = [float(cells.average_precision(scores(each), index, once)[0]) for each in tried]
    best = int(np.argmax(areas))
    if best == 0:
        return rules
    ahead, behind = (cells.average_precision(scores(each), index, draws) for each in (tried[best], "own"))
    gains_enough = areas[best] - areas[0] > settings.standard_errors * _standard_error(ahead - behind)
    return replace(rules, negative=tried[best]) if gains_enough else rules


def _draws(use: NDArray[np.bool_], settings: ChoiceSettings) -> NDArray[np.float64]:
    """(B, F) float64, how often each field is drawn; only those in use are."""
    rng = np.random.default_rng(settings.seed)
    draws = np.zeros((settings.num_resamples, len(use)))
    draws[:, use] = rng.multinomial(use.sum(), np.full(use.sum(), 1 / use.sum()), size=settings.num_resamples)
    return draws


def _standard_error(resampled: NDArray[np.float64]) -> float:
    """Spread of a difference over the draws in which it is known."""
    return float(np.nanstd(resampled, ddof=1))
