"""Maps from scores to probabilities that mean what they say, one a class, learned on labelled rows.

Every map rises strictly, so that the order of rows within a class, and with it the average precision, stays as it is
(to the 32 bits that a table stores). ``temperature`` divides the logit by one number a class [1]_; ``platt`` adds a
bias [2]_, which a model needs that saw another share of positives than there is; ``isotonic`` takes any rising
shape [3]_.

Shapes: N rows (cells or fields), K classes.

References
----------
.. [1] Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks. ICML 2017, arXiv:1706.04599.
.. [2] Platt: Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods.
   Advances in Large Margin Classifiers, 1999.
.. [3] Zadrozny, Elkan: Transforming classifier scores into accurate multiclass probability estimates. KDD 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CALIBRATION_METHODS",
    "Calibration",
    "ClassMap",
    "IsotonicMap",
    "ScaleMap",
    "fit_calibration",
    "fit_isotonic",
    "fit_scale",
]

FloatArray: TypeAlias = NDArray[np.floating[Any]]

CALIBRATION_METHODS = ("none", "temperature", "platt", "isotonic")
_LEAST_SCALE, _LARGEST_SCALE = 0.01, 100.0
# Scores of exactly 0 or 1 have no logit to fit with.
_LARGEST_LOGIT = 30.0
# A block of equal values is tilted by this share of the steps to its neighbours.
_TILT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleMap:
    """The probability whose logit is ``scale * logit(score) + bias``; 0 stays 0, and 1 stays 1.

    Attributes
    ----------
    scale
        One divided by the temperature; above 0, or the order of rows would turn.
    bias
        Any finite number.
    """

    scale: float
    bias: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.bias)):
            raise ValueError(
                f"A calibration has scale {self.scale} and bias {self.bias}: the scale must be above 0 and both finite."
            )

    def __call__(self, scores: FloatArray) -> NDArray[np.float64]:
        """Probabilities in [0, 1] of `scores` in [0, 1], of any shape; NaN stays NaN."""
        from scipy.special import expit, logit

        # Not clipped: scores closer to 0 than the fit looks at keep their order.
        calibrated: NDArray[np.float64] = expit(self.scale * logit(scores.astype(np.float64)) + self.bias)
        return calibrated


@dataclass(frozen=True, kw_only=True, slots=True)
class IsotonicMap:
    """Straight lines between points, over the logit of the score; scores beyond 1e-13 of 0 or 1 are as those.

    Attributes
    ----------
    logits
        From -30 to 30, each larger than the one before.
    probabilities
        In [0, 1], each larger than the one before, one a logit.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        rises = all((np.diff(values) > 0).all() for values in (self.logits, self.probabilities))
        if not (
            rises
            and len(self.logits) == len(self.probabilities) >= 2
            and (self.logits[0], self.logits[-1]) == (-_LARGEST_LOGIT, _LARGEST_LOGIT)
            and 0 <= self.probabilities[0] < self.probabilities[-1] <= 1
        ):
            raise ValueError(
                f"An isotonic calibration has {len(self.logits)} logits and {len(self.probabilities)} probabilities "
                "that do not rise strictly, the logits from -30 to 30, the probabilities within 0 and 1."
            )

    def __call__(self, scores: FloatArray) -> NDArray[np.float64]:
        """Probabilities in [0, 1] of `scores` in [0, 1], of any shape; NaN stays NaN."""
        return np.interp(_logits(scores), self.logits, self.probabilities)


ClassMap: TypeAlias = ScaleMap | IsotonicMap


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """One map a class.

    Attributes
    ----------
    method
        One of `CALIBRATION_METHODS`.
    maps
        K maps; None for a class that keeps its scores.
    """

    method: str
    maps: tuple[ClassMap | None, ...]

    def __post_init__(self) -> None:
        check_method(self.method)

    def apply(self, scores: FloatArray) -> NDArray[np.float32]:
        """Calibrated probabilities.

        Parameters
        ----------
        scores
            (N, K) or (K,) float in [0, 1]; NaN stays NaN.

        Returns
        -------
        float32 of the same shape, in [0, 1].
        """
        calibrated = scores.astype(np.float32)
        for index, each in enumerate(self.maps):
            if each is not None:
                calibrated[..., index] = each(scores[..., index])
        return calibrated


def check_method(method: str) -> None:
    """Refuse what is none of `CALIBRATION_METHODS`.

    Raises
    ------
    ValueError
        If it is unknown.
    """
    if method not in CALIBRATION_METHODS:
        raise ValueError(f"calibration is {method!r}: use one of {', '.join(CALIBRATION_METHODS)}.")


def fit_calibration(scores: FloatArray, labels: NDArray[np.bool_], method: str) -> Calibration:
    """Fit one map a class; a class that no row has, or that every row has, keeps its scores.

    Parameters
    ----------
    scores
        (N, K) float in [0, 1], no NaN, of rows that the model was not trained on.
    labels
        (N, K) bool, the truth.
    method
        One of `CALIBRATION_METHODS`; ``none`` keeps all scores.

    Raises
    ------
    ValueError
        If the method is unknown or the shapes differ.
    """
    check_method(method)
    if scores.shape != labels.shape:
        raise ValueError(f"Scores have shape {scores.shape}, labels {labels.shape}: both must be (N, K).")
    maps: list[ClassMap | None] = []
    for of_class, is_true in zip(scores.T, labels.T, strict=True):
        if method == "none" or not is_true.any() or is_true.all():
            maps.append(None)
        elif method == "isotonic":
            maps.append(fit_isotonic(of_class, is_true))
        else:
            maps.append(fit_scale(of_class, is_true, with_bias=method == "platt"))
    return Calibration(method=method, maps=tuple(maps))


def fit_scale(scores: FloatArray, labels: NDArray[np.bool_], *, with_bias: bool) -> ScaleMap:
    """The scale, and bias, of the largest likelihood, with the targets of Platt [2]_.

    His targets are as if one more positive and one more negative had been seen, so that scores that part the few
    positives of a rare class from all negatives do not become certain. A scale that would turn the order, since the
    scores say the opposite of the truth, becomes the least one: nearly constant.

    Parameters
    ----------
    scores
        (N,) float in [0, 1], no NaN.
    labels
        (N,) bool, with at least one of each kind.
    with_bias
        False for the temperature alone.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    logits = _logits(scores)
    num_true, num_rows = labels.sum(), len(labels)
    targets = np.where(labels, (num_true + 1) / (num_true + 2), 1 / (num_rows - num_true + 2))
    # Scale and bias are found for centred logits of width 1, where they do not pull at each other.
    center = logits.mean() if with_bias else 0.0
    width = float(np.sqrt(np.mean(np.square(logits - center)))) or 1.0
    units = (logits - center) / width

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        arguments = parameters[0] * units + parameters[1]
        errors = expit(arguments) - targets
        value = np.mean(np.logaddexp(0, arguments) - targets * arguments)
        return float(value), np.array([np.mean(errors * units), np.mean(errors)])

    bounds = [(_LEAST_SCALE * width, _LARGEST_SCALE * width), (None, None) if with_bias else (0, 0)]
    start = [width, float(logit(targets.mean())) if with_bias else 0.0]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    scale, bias = found.x[0] / width, found.x[1] - found.x[0] * center / width
    return ScaleMap(scale=float(scale), bias=float(bias))


def fit_isotonic(scores: FloatArray, labels: NDArray[np.bool_]) -> IsotonicMap:
    """Isotonic regression, made to rise strictly.

    Its blocks of equal values would make ties of different scores. Each is tilted by a twentieth of the steps to its
    neighbours, and all values are brought a little inside (0, 1), by one part in the number of rows.

    Parameters
    ----------
    scores
        (N,) float in [0, 1], no NaN.
    labels
        (N,) bool, with at least one of each kind.
    """
    from scipy.optimize import isotonic_regression

    unique, groups, sizes = np.unique(_logits(scores), return_inverse=True, return_counts=True)
    shares = np.bincount(groups, weights=labels) / sizes
    fitted = isotonic_regression(shares, weights=sizes)
    first, last = fitted.blocks[:-1], fitted.blocks[1:] - 1
    inset = 1 / (len(labels) + 2)
    values = inset + (1 - 2 * inset) * fitted.x[first]
    steps = _TILT * np.diff(values, prepend=0, append=1)
    # Beyond the seen scores, the line goes on rising by as much again. A block of one score is one point.
    points = {-_LARGEST_LOGIT: values[0] - 2 * steps[0], _LARGEST_LOGIT: values[-1] + 2 * steps[-1]}
    for index, value in enumerate(values):
        start, end = unique[first[index]], unique[last[index]]
        tilted = {start: value - steps[index], end: value + steps[index + 1]}
        points |= tilted if start < end else {start: value}
    at = sorted(points)
    return IsotonicMap(logits=tuple(map(float, at)), probabilities=tuple(float(points[each]) for each in at))


def _logits(scores: FloatArray) -> NDArray[np.float64]:
    """The logits of scores, within what a fit can use."""
    from scipy.special import logit

    logits: NDArray[np.float64] = np.clip(logit(scores.astype(np.float64)), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return logits
