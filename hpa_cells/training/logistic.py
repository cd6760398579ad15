"""Logistic regressions of one class each, by scikit-learn, on standardised embeddings.

Shapes: F fields, D embedding size.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASS_WEIGHTS", "GridPoint", "LogisticFits", "Standard", "has_both"]

log = logging.getLogger(__name__)

CLASS_WEIGHTS: Final = ("none", "balanced")
# Largest slope at the end of a fit; scikit-learn's own 1e-4 leaves probabilities off in the third digit.
_TOLERANCE = 1e-6
# A dimension that varies less than this, relative to its size, or to the one that varies most, is left out: in a layer
# of 32 bits, where standardisation is part of weight and bias, it would bring more rounding error than knowledge.
_OF_ITS_SIZE, _OF_THE_LARGEST = 1e-3, 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPoint:
    """One combination of the settings of a model.

    Attributes
    ----------
    C
        Strength as in scikit-learn: larger regularises less.
    class_weight
        ``none``: each field counts alike. ``balanced``: positives count together as much as negatives.
    """

    C: float
    class_weight: str


def has_both(is_true: NDArray[np.bool_]) -> bool:
    """Whether some of these labels are true and some are not."""
    return bool(is_true.any() and not is_true.all())


@dataclass(frozen=True, slots=True)
class Standard:
    """Brings each dimension to mean 0 and spread 1; one that does not vary becomes 0, whatever comes later."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Standard:
        """Of embeddings (F, D)."""
        mean, spread = values.mean(axis=0), values.std(axis=0)
        least = np.maximum(_OF_ITS_SIZE * np.abs(mean), _OF_THE_LARGEST * spread.max())
        return cls(mean, np.where(spread > least, spread, np.inf))

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F, D) float64, standardised."""
        scaled: NDArray[np.float64] = (values - self.mean) / self.spread
        return scaled


class LogisticFits:
    """Fits models; counts those that were cut short.

    Parameters
    ----------
    grid
        What is tried for each class.
    max_iterations
        Most iterations of a fit.
    """

    def __init__(self, grid: Sequence[GridPoint], *, max_iterations: int) -> None:
        self.grid = tuple(grid)
        self._max_iterations = max_iterations
        self._num_fits = 0
        self._num_cut_short = 0

    def along(
        self,
        points: Sequence[GridPoint],
        scaled: NDArray[np.float64],
        is_true: NDArray[np.bool_],
        counts: NDArray[np.float64],
    ) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Yield weights (D,) and bias of one class for each point; where all labels are alike, a constant."""
        # It takes a second to import; whoever trains in another way should not wait for it.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if not has_both(is_true):
            share = (is_true.sum() + 0.5) / (len(is_true) + 1)
            yield from repeat((np.zeros(scaled.shape[1]), math.log(share / (1 - share))), len(points))
            return
        # Each fit starts where the one before ended.
        model = LogisticRegression(tol=_TOLERANCE, max_iter=self._max_iterations, warm_start=True)
        for point in points:
            model.set_params(C=point.C, class_weight=None if point.class_weight == "none" else "balanced")
            with warnings.catch_warnings():
                # Counted, and told once at the end.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(scaled, is_true, sample_weight=counts)
            self._num_fits += 1
            self._num_cut_short += int(model.n_iter_[0] >= self._max_iterations)
            yield model.coef_[0].copy(), float(model.intercept_[0])

    def tell(self) -> None:
        """Warn of fits that were cut short."""
        if self._num_cut_short:
            log.warning(
                "%d of %d fits were cut short after heads.max_iterations=%d: allow more, or leave out the largest C.",
                self._num_cut_short,
                self._num_fits,
                self._max_iterations,
            )
