"""Showing the fields of rare classes several times an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet

__all__ = ["check_repeats", "field_repeats"]


def check_repeats(repeats: Mapping[str, int], class_set: ClassSet) -> None:
    """Refuse a class that the set does not have.

    Raises
    ------
    ValueError
        If one is named.
    """
    unknown = [key for key in repeats if key not in class_set.keys]
    if unknown:
        raise ValueError(
            f"bags.repeats names {', '.join(unknown)}, which class set {class_set.name} does not have: use some of "
            f"{', '.join(class_set.keys)}."
        )


def field_repeats(
    labels: NDArray[np.bool_], class_set: ClassSet, repeats: Mapping[str, int]
) -> NDArray[np.int64]:
    """How many times an epoch shows each field: the largest factor of its labels, 1 where none has any.

    Repeating the fields of rare classes 2 to 7 times was common among the entries to the 2018 challenge.

    Parameters
    ----------
    labels
        (F, K) bool.
    class_set
        The K classes.
    repeats
        The factors by the key of the class.

    Returns
    -------
    (F,) int64, at least 1.

    Raises
    ------
    ValueError
        For a class that the set does not have.
    """
    check_repeats(repeats, class_set)
    factors = np.ones(len(class_set), dtype=np.int64)
    for key, factor in repeats.items():
        factors[class_set.index(key)] = factor
    most: NDArray[np.int64] = np.where(labels, factors, 1).max(axis=1)
    return most
