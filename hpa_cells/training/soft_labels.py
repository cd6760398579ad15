"""Labels of single cells from what an earlier model says of them and what their field is labelled with.

A model that learned from field labels answers "what is the field of such a cell labelled with?". A second round
wants "what does this cell show?". The field's label rules out what it does not name; how many cells of a labelled
field show a class is known from cells that were labelled one by one. The winner of the 2021 challenge trained on such
labels in five steps, the third on those of other models [1]_.

Shapes: N cells, K classes.

References
----------
.. [1] Le et al., Nature Methods 19:1221 (2022), doi:10.1038/s41592-022-01606-z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.presence import PRESENCE

__all__ = ["SoftLabelSettings", "soft_labels"]

_NEGATIVE_KEY = "negative"
_RULES = ("as_they_are", "probabilities", "calibrated")
_BISECTIONS = 60
_ITERATIONS = 30
_LARGEST_LOGIT = 30.0
# For classes whose real share is not known.
_SHARE_OF_OTHER_CLASSES = 0.65


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftLabelSettings:
    """How probabilities become labels to learn from.

    Attributes
    ----------
    rule
        ``as_they_are``: the table's values, whatever the field is labelled with: right for a truth.
        ``probabilities``: the same, but 0 for a class that the field lacks. ``calibrated``: these, shifted so
        that of the cells of fields labelled with a class a real share shows it.
    levels
        Number of even steps, ends included, that labels are rounded to; 5 gives 0, 1/4, 1/2, 3/4 and 1. 0 leaves
        them alone.
    agreement
        Cells of a field go together: of two fields of one label, one may show it in nearly all cells and the other in
        few. Concentration of the beta distribution of that share; that of real fields is about 2.5. Null looks at
        each cell alone. Only for ``calibrated``.
    shares
        Share of cells that show a class where their field is labelled with it, by key; classes without one
        take the share of real cells.
    """

    rule: str
    levels: int
    agreement: float | None
    shares: dict[str, float]

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise ValueError(f"soft_labels.rule is {self.rule!r}: use one of {', '.join(_RULES)}.")
        if self.levels != 0 and self.levels < 2:
            raise ValueError(
                f"soft_labels.levels is {self.levels}: give 2 or more, or 0 to leave labels alone."
            )
        if self.agreement is not None and not self.agreement > 0:
            raise ValueError(f"soft_labels.agreement is {self.agreement}: give a number above 0, or null.")
        for key, share in self.shares.items():
            if not 0 < share < 1:
                raise ValueError(f"soft_labels.shares.{key} is {share}: give a share between 0 and 1.")


def soft_labels(
    probabilities: NDArray[np.float32],
    field_labels: NDArray[np.bool_],
    field_of_cell: NDArray[np.int64],
    class_set: ClassSet,
    settings: SoftLabelSettings,
) -> NDArray[np.float32]:
    """Make labels of probabilities.

    Negative goes its own way, where the classes have it: a cell shows nothing with the probability that it shows
    none of the labels of its field, also where the field is not labelled Negative.

    Parameters
    ----------
    probabilities
        (N, K) float32 in [0, 1], what a table says of each cell.
    field_labels
        (N, K) bool, the labels of each cell's field.
    field_of_cell
        (N,) int64, which cells are of one field.
    class_set
        The K classes.
    settings
        The rule.

    Returns
    -------
    (N, K) float32 in [0, 1].

    Raises
    ------
    ValueError
        If the settings name a class that is none.
    """
    unknown = sorted(settings.shares.keys() - set(class_set.keys))
    if unknown:
        raise ValueError(f"soft_labels.shares names {', '.join(unknown)}: use keys of {class_set.name}.")
    if settings.rule == "as_they_are":
        return _rounded(probabilities, settings.levels)
    labels = np.where(field_labels, probabilities, 0).astype(np.float32)
    if settings.rule == "calibrated":
        for index, key in enumerate(class_set.keys):
            labelled = field_labels[:, index]
            if labelled.any() and key != _NEGATIVE_KEY:
                share = settings.shares.get(key, PRESENCE.get(key, _SHARE_OF_OTHER_CLASSES))
                shown = _shifted_to_mean(probabilities[labelled, index], share)
                if settings.agreement is not None:
                    shown = _within_fields(shown, field_of_cell[labelled], share, settings.agreement)
                labels[labelled, index] = shown
    if _NEGATIVE_KEY in class_set.keys:
        negative = class_set.index(_NEGATIVE_KEY)
        labels[:, negative] = np.prod(1 - np.delete(labels, negative, axis=1), axis=1)
    return _rounded(labels, settings.levels)


def _shifted_to_mean(probabilities: NDArray[np.float32], mean: float) -> NDArray[np.float32]:
    """Add to all logits what brings their probabilities to this mean; the order of cells stays."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-9, 1 - 1e-9)
    logits = np.log(clipped) - np.log1p(-clipped)
    low, high = -_LARGEST_LOGIT, _LARGEST_LOGIT
    for _ in range(_BISECTIONS):
        shift = (low + high) / 2
        too_high = _sigmoid(logits + shift).mean() > mean
        low, high = (low, shift) if too_high else (shift, high)
    return _sigmoid(logits + (low + high) / 2).astype(np.float32)


def _within_fields(
    probabilities: NDArray[np.float32], field_of_cell: NDArray[np.int64], share: float, agreement: float
) -> NDArray[np.float32]:
    """What each cell shows, given the others of its field: expectation and maximisation of the field's share.

    The share of a field is beta distributed around `share`. A probability that was calibrated to the mean says by its
    odds how much better the cell's look goes with the class than without; that stays, the share is the field's own.
    """
    clipped = np.clip(probabilities.astype(np.float64), 1e-9, 1 - 1e-9)
    evidence = clipped / (1 - clipped) * (1 - share) / share
    _, field = np.unique(field_of_cell, return_inverse=True)
    num_cells = np.bincount(field)
    shown = clipped
    for _ in range(_ITERATIONS):
        shares = (np.bincount(field, weights=shown) + share * agreement) / (num_cells + agreement)
        odds = evidence * (shares / (1 - shares))[field]
        shown = odds / (1 + odds)
    return shown.astype(np.float32)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    half: NDArray[np.float64] = np.tanh(logits / 2)
    return (1 + half) / 2


def _rounded(labels: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    if levels == 0:
        return labels
    steps = np.float32(levels - 1)
    rounded: NDArray[np.float32] = np.rint(labels * steps) / steps
    return rounded
