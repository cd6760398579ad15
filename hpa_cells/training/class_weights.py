"""How much each class counts in the loss, from how many fields show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASS_WEIGHTS", "class_weights", "positive_weights"]

CLASS_WEIGHTS = ("none", "one_minus_share", "inverse_root", "effective_number")


def class_weights(labels: NDArray[np.bool_], rule: str, *, beta: float) -> NDArray[np.float32]:
    """Give the factor on the whole loss of each class, positives and negatives.

    With n the number of fields of a class, its weight is in proportion to

    - ``none``: 1;
    - ``one_minus_share``: ``1 - n / total``, where total is the sum of n over the classes;
    - ``inverse_root``: ``1 / sqrt(n)``;
    - ``effective_number``: ``(1 - beta) / (1 - beta ** n)`` [1]_.

    Parameters
    ----------
    labels
        (F, K) bool, of the training fields.
    rule
        One of `CLASS_WEIGHTS`.
    beta
        In [0, 1), of ``effective_number`` only: 0 gives 1 everywhere, towards 1 it becomes ``1 / n``.

    Returns
    -------
    (K,) float32 with mean 1. A class without fields weighs as one of a single field; a class alone weighs 1.

    References
    ----------
    .. [1] Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019, eq. 2.

    Examples
    --------
    >>> labels = np.array([[1, 1], [1, 0], [1, 0], [1, 0]], dtype=bool)
    >>> class_weights(labels, "one_minus_share", beta=0.0)
    array([0.4, 1.6], dtype=float32)
    """
    counts: NDArray[np.float64] = np.maximum(labels.sum(axis=0), 1).astype(np.float64)
    weights: NDArray[np.float64]
    if rule == "none" or len(counts) == 1:
        weights = np.ones(len(counts))
    elif rule == "one_minus_share":
        weights = 1 - counts / counts.sum()
    elif rule == "inverse_root":
        weights = 1 / np.sqrt(counts)
    else:
        assert rule == "effective_number", rule
        weights = (1 - beta) / (1 - beta**counts)
    weights = weights / weights.mean()
    return weights.astype(np.float32)


def positive_weights(
    labels: NDArray[np.bool_], power: float, *, largest: float = 50.0
) -> NDArray[np.float32]:
    """How much a positive of each class counts.

    Parameters
    ----------
    labels
        (F, K) bool, of the training fields.
    power
        0 gives 1 everywhere, 1 balances positives and negatives of each class.
    largest
        Limit, which keeps a class of a handful of fields from ruling the loss.

    Returns
    -------
    (K,) float32; 1 for a class without positives.

    Examples
    --------
    >>> positive_weights(np.array([[1, 0], [0, 0], [0, 0]], dtype=bool), power=1.0)
    array([2., 1.], dtype=float32)
    """
    positives = labels.sum(axis=0)
    ratio = (len(labels) - positives) / np.maximum(positives, 1)
    weights = np.where(positives > 0, np.minimum(ratio**power, largest), 1.0)
    return weights.astype(np.float32)
