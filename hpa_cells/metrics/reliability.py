"""How well probabilities mean what they say: of the rows with 0.3, three in ten should be true.

Rows are put into bins of equal numbers by rising probability, so that a bin of a rare class holds as many rows as
any other [1]_. The expected calibration error is the mean gap between what a bin says and what is true in it [2]_; the
Brier score is the mean square of the error of each row [3]_, which also rewards telling rows apart. A class that no
row has, or that every row has, is NaN: any constant would be right.

Shapes: N rows (cells or fields), K classes.

References
----------
.. [1] Nguyen, O'Connor: Posterior calibration and exploratory analysis for natural language processing models.
   EMNLP 2015, 1587-1598.
.. [2] Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning. AAAI 2015.
.. [3] Brier: Verification of forecasts expressed in terms of probability. Monthly Weather Review 78:1 (1950).
.. [4] Wilson: Probable inference, the law of succession, and statistical inference. JASA 22:209 (1927).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.metrics.columns import ScoreColumn

__all__ = [
    "ReliabilityColumn",
    "brier_score",
    "calibration_error",
    "calibration_scores",
    "equal_shares",
    "halving_shares",
    "reliability_bins",
    "wilson_interval",
]

FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]

# Two-sided 95 %.
_STANDARD_NORMAL_QUANTILE = 1.959964


class ReliabilityColumn:
    """Columns of the tables of this module, beside those of `ScoreColumn`."""

    CALIBRATION_ERROR: Final = "calibration_error"
    BRIER: Final = "brier"
    NUM_ROWS: Final = "num_rows"
    PREDICTED: Final = "predicted"
    OBSERVED: Final = "observed"
    LOW: Final = "low"
    HIGH: Final = "high"


def reliability_bins(
    probabilities: FloatArray, labels: BoolArray, *, shares: Sequence[float]
) -> pd.DataFrame:
    """What is said and what is true in bins of rows of like probability, for one class.

    Rows of equal probability are in one bin, so their order does not matter and bins may be larger or fewer.

    Parameters
    ----------
    probabilities
        (N,) float in [0, 1], no NaN.
    labels
        (N,) bool, the truth.
    shares
        Of the rows, by rising probability, how many are in each bin; 1 in all. See `equal_shares` and
        `halving_shares`.

    Returns
    -------
    One row a bin that is not empty, by rising probability: ``predicted``, the mean probability, ``observed``, the
    share that is true, ``low`` and ``high``, its 95 % interval (see `wilson_interval`), ``num_rows`` and
    ``num_truths``.
    """
    _, groups, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    middles = (np.cumsum(sizes) - sizes / 2) / max(len(labels), 1)
    # Whoever is in the middle of two bins is in the lower one, however the sum of shares is rounded.
    bins = np.searchsorted(np.cumsum(shares)[:-1] + 1e-12, middles)[groups]
    num_rows = np.bincount(bins, minlength=len(shares))
    num_truths = np.bincount(bins[labels], minlength=len(shares))
    sums = np.bincount(bins, weights=probabilities, minlength=len(shares))
    filled = num_rows > 0
    sums, num_truths, num_rows = sums[filled], num_truths[filled], num_rows[filled]
    low, high = wilson_interval(num_truths, num_rows)
    return pd.DataFrame(
        {
            ReliabilityColumn.PREDICTED: sums / num_rows,
            ReliabilityColumn.OBSERVED: num_truths / num_rows,
            ReliabilityColumn.LOW: low,
            ReliabilityColumn.HIGH: high,
            ReliabilityColumn.NUM_ROWS: num_rows,
            ScoreColumn.NUM_TRUTHS: num_truths,
        }
    )


def equal_shares(num_bins: int) -> list[float]:
    """Shares of bins of equal numbers of rows."""
    return [1 / num_bins] * num_bins


def halving_shares(num_rows: int, *, least: int) -> list[float]:
    """Shares of bins of which each holds half of the rows above the one below, for a picture of rare classes.

    Where one row in a hundred is true, bins of equal numbers put all that matters into the last one.

    Parameters
    ----------
    num_rows
        Number of rows to be put into bins.
    least
        The two topmost bins hold at least so many rows each, or there is but one bin.

    Examples
    --------
    >>> halving_shares(100, least=10)
    [0.5, 0.25, 0.125, 0.125]
    """
    num_halvings = max(0, int(np.floor(np.log2(max(num_rows, 1) / least))))
    return [*(0.5 ** (1 + halving) for halving in range(num_halvings)), 0.5**num_halvings]


def wilson_interval(
    num_true: NDArray[np.int64], num_rows: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """The 95 % interval of a share by Wilson [4]_, for independent rows; cells of one field are not quite.

    Parameters
    ----------
    num_true, num_rows
        (B,) int64, `num_rows` at least 1.

    Returns
    -------
    (B,) and (B,) float64 in [0, 1], its lower and upper end.

    Examples
    --------
    >>> [end.round(3).tolist() for end in wilson_interval(np.array([0, 5]), np.array([10, 10]))]
    [[0.0, 0.237], [0.278, 0.763]]
    """
    square = _STANDARD_NORMAL_QUANTILE**2
    share = num_true / num_rows
    middle = (share + square / (2 * num_rows)) / (1 + square / num_rows)
    spread = np.sqrt(share * (1 - share) / num_rows + square / (4 * num_rows**2))
    half = _STANDARD_NORMAL_QUANTILE * spread / (1 + square / num_rows)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def calibration_error(probabilities: FloatArray, labels: BoolArray, *, num_bins: int) -> float:
    """Expected calibration error of one class, in [0, 1]; NaN where no row or every row has the class.

    Finite samples are off by chance: with B bins of n rows around a probability p, a perfect calibration still
    gives about ``sqrt(2 p (1 - p) / (pi n))``.

    Parameters
    ----------
    probabilities, labels
        See `reliability_bins`.
    num_bins
        Number of bins of equal numbers of rows.
    """
    if not _is_mixed(labels):
        return float("nan")
    bins = reliability_bins(probabilities, labels, shares=equal_shares(num_bins))
    gaps = (bins[ReliabilityColumn.PREDICTED] - bins[ReliabilityColumn.OBSERVED]).abs()
    return float((gaps * bins[ReliabilityColumn.NUM_ROWS]).sum() / len(labels))


def brier_score(probabilities: FloatArray, labels: BoolArray) -> float:
    """Mean square of the error of one class, in [0, 1]; NaN where no row or every row has the class.

    Parameters
    ----------
    probabilities, labels
        See `reliability_bins`.
    """
    if not _is_mixed(labels):
        return float("nan")
    return float(np.mean(np.square(probabilities.astype(np.float64) - labels)))


def calibration_scores(
    probabilities: FloatArray, labels: BoolArray, class_set: ClassSet, *, num_bins: int
) -> pd.DataFrame:
    """Calibration error and Brier score of each class.

    Parameters
    ----------
    probabilities
        (N, K) float in [0, 1], no NaN.
    labels
        (N, K) bool, the truth.
    class_set
        The K classes.
    num_bins
        At least 1.

    Returns
    -------
    One row a class: ``class_key``, ``name``, ``calibration_error``, ``brier``, ``num_truths``, ``num_rows``.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no bin.
    """
    if probabilities.shape != labels.shape or labels.ndim != 2 or labels.shape[1] != len(class_set):
        raise ValueError(
            f"Probabilities have shape {probabilities.shape}, labels {labels.shape}: both must have one row a "
            f"cell or field and {len(class_set)} columns."
        )
    if num_bins < 1:
        raise ValueError(f"num_bins is {num_bins}: give at least 1.")
    columns = list(zip(probabilities.T, labels.T, strict=True))
    return pd.DataFrame(
        {
            ScoreColumn.CLASS_KEY: class_set.keys,
            ScoreColumn.NAME: class_set.names,
            ReliabilityColumn.CALIBRATION_ERROR: [
                calibration_error(*column, num_bins=num_bins) for column in columns
            ],
            ReliabilityColumn.BRIER: [brier_score(*column) for column in columns],
            ScoreColumn.NUM_TRUTHS: labels.sum(axis=0),
            ReliabilityColumn.NUM_ROWS: len(labels),
        }
    )


def _is_mixed(labels: BoolArray) -> bool:
    return bool(labels.any() and not labels.all())
