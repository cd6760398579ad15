"""One logistic regression a class on embeddings that stay as they are: the cheapest thing to learn.

Each class is a binary model of its own [1]_, with its own strength of regularisation. Strength and class weights are
chosen by cross-validation; what is fitted is linear, so standardisation and coefficients become the weights of an
ordinary linear layer.

Shapes: F fields, D embedding size, K classes, G points of the grid.

References
----------
.. [1] Rifkin and Klautau, "In defense of one-vs-all classification", JMLR 5:101-141 (2004).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.special import expit

from hpa_cells.classes import ClassSet
from hpa_cells.metrics import average_precision_per_class
from hpa_cells.shown import bar_console
from hpa_cells.training.logistic import CLASS_WEIGHTS, GridPoint, LogisticFits, Standard, has_both

__all__ = ["FittedHeads", "OneVsRestSettings", "fit_one_vs_rest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OneVsRestSettings:
    """What is tried for each class.

    Attributes
    ----------
    C
        Strengths to choose from, as in scikit-learn: larger regularises less.
    class_weights
        Choices of ``none``, each field counts alike, and ``balanced``, positives count together as much as negatives.
    max_iterations
        Most iterations of a fit.
    batch_cells
        Number of crops the encoder sees at once: memory and speed, never the result.
    """

    C: list[float]
    class_weights: list[str]
    max_iterations: int
    batch_cells: int

    def __post_init__(self) -> None:
        if not self.C or not all(math.isfinite(each) and each > 0 for each in self.C):
            raise ValueError(f"heads.C is {self.C}: give one or more numbers above 0.")
        unknown = [each for each in self.class_weights if each not in CLASS_WEIGHTS]
        if unknown or not self.class_weights:
            raise ValueError(
                f"heads.class_weights is {self.class_weights}: give one or both of {', '.join(CLASS_WEIGHTS)}."
            )
        for name in ("max_iterations", "batch_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"heads.{name} is {getattr(self, name)}: give at least 1.")

    def grid(self) -> tuple[GridPoint, ...]:
        """All G combinations, those that regularise most first."""
        return tuple(
            GridPoint(C=strength, class_weight=weight)
            for weight in dict.fromkeys(self.class_weights)
            for strength in sorted(set(self.C))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedHeads:
    """Linear heads, and how they were chosen.

    Attributes
    ----------
    weight, bias
        (K, D) and (K,) float64, of the embeddings as they are: standardisation is in them. A class that all fields,
        or none, show has weight 0 and the logit of its smoothed share as its bias.
    grid
        The G combinations that were tried.
    average_precision
        (G, K) float64 of fields that the model had not seen, all folds together; NaN where there is none to measure:
        fields count where the other folds show the class on some fields and not on others, and one of these fields
        must show it.
    num_scored
        (K,) int64, fields with the class that could be scored so: the support of the average precision.
    chosen
        (K,) int64, the combination of each class.
    out_of_fold
        (F, K) float64, the probabilities by the models chosen, each field by the one that has not seen it.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    grid: tuple[GridPoint, ...]
    average_precision: NDArray[np.float64]
    num_scored: NDArray[np.int64]
    chosen: NDArray[np.int64]
    out_of_fold: NDArray[np.float64]

    def per_class(self, class_set: ClassSet, labels: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
        """What was chosen for each class, as plain values, from the labels (F, K) that it was chosen by."""
        precisions = self.average_precision[self.chosen, np.arange(len(class_set))]
        return {
            key: {
                **asdict(self.grid[self.chosen[index]]),
                "cross_validated_average_precision": (
                    None if np.isnan(precisions[index]) else round(float(precisions[index]), 4)
                ),
                "fields": int(labels[:, index].sum()),
                "fields_scored": int(self.num_scored[index]),
            }
            for index, key in enumerate(class_set.keys)
        }


def fit_one_vs_rest(
    embeddings: NDArray[np.floating[Any]],
    labels: NDArray[np.bool_],
    folds: NDArray[np.int64],
    settings: OneVsRestSettings,
    *,
    weights: NDArray[np.float64] | None = None,
) -> FittedHeads:
    """Choose and fit a logistic regression for each class.

    Parameters
    ----------
    embeddings
        (F, D) float.
    labels
        (F, K) bool.
    folds
        (F,) the fold of each field; 2 or more different ones.
    settings
        What is tried. Of combinations with equal average precision the first of the grid is taken, which regularises
        most; so it is for a class whose average precision cannot be measured.
    weights
        (F,) how much each field counts in a fit; None for all alike.

    Raises
    ------
    ValueError
        If there is only one fold, or an embedding is not finite.
    """
    _check(embeddings, folds)
    values = np.asarray(embeddings, dtype=np.float64)
    counts = np.ones(len(values)) if weights is None else weights
    fits = LogisticFits(settings.grid(), max_iterations=settings.max_iterations)
    logits, is_scored = _score_out_of_fold(fits, values, labels, folds=folds, counts=counts)
    precisions = _average_precision(logits, labels, is_scored)
    chosen = np.where(np.isnan(precisions), -1.0, precisions).argmax(axis=0)
    weight, bias = _fit_chosen(fits, values, labels, counts=counts, chosen=chosen)
    fits.tell()
    return FittedHeads(
        weight=weight,
        bias=bias,
        grid=fits.grid,
        average_precision=precisions,
        num_scored=(labels & is_scored).sum(axis=0),
        chosen=chosen,
        out_of_fold=expit(logits[chosen, :, np.arange(labels.shape[1])].T),
    )


def _check(embeddings: NDArray[np.floating[Any]], folds: NDArray[np.int64]) -> None:
    if len(np.unique(folds)) < 2:
        raise ValueError(
            "Strengths are chosen by cross-validation, but the training fields are of a single fold: set "
            "data.num_folds to 3 or more (one is for validation)."
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("An embedding is not finite: start from other weights (init, encoder).")


def _score_out_of_fold(
    fits: LogisticFits,
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    *,
    folds: NDArray[np.int64],
    counts: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits (G, F, K) of each field by models of the other folds, and (F, K) whether those saw both kinds of label."""
    num_classes = labels.shape[1]
    logits = np.zeros((len(fits.grid), *labels.shape))
    is_scored = np.zeros_like(labels)
    console = bar_console()
    steps = list(product(np.unique(folds), range(num_classes)))
    for fold, steps_of_fold in groupby(
        track(steps, "Choosing strengths", console=console), key=lambda step: step[0]
    ):
        own, rest = folds == fold, folds != fold
        standard = Standard.of(values[rest])
        scaled, held_out = standard.apply(values[rest]), standard.apply(values[own])
        for _, index in steps_of_fold:
            is_true = labels[rest, index]
            is_scored[own, index] = has_both(is_true)
            for point, (weight, bias) in enumerate(fits.along(fits.grid, scaled, is_true, counts[rest])):
                logits[point, own, index] = held_out @ weight + bias
    return logits, is_scored


def _fit_chosen(
    fits: LogisticFits,
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    *,
    counts: NDArray[np.float64],
    chosen: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (K, D) and biases (K,) of all fields, for embeddings that are not standardised."""
    standard = Standard.of(values)
    scaled = standard.apply(values)
    heads = [
        next(fits.along([fits.grid[point]], scaled, is_true, counts))
        for point, is_true in zip(chosen, labels.T, strict=True)
    ]
    weight = np.stack([each for each, _ in heads]) / standard.spread
    return weight, np.array([bias for _, bias in heads]) - weight @ standard.mean


def _average_precision(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], is_scored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(G, K) float64, see `FittedHeads`."""
    columns = [
        [
            average_precision_per_class(of_class[rows, None], is_true[rows, None])[0]
            for of_class, is_true, rows in zip(of_point.T, labels.T, is_scored.T, strict=True)
        ]
        for of_point in logits
    ]
    return np.array(columns, dtype=np.float64)
