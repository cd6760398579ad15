"""One probability from what a model says of a cell and of its whole field.

K classes, N cells. A field's score sees every cell and is the more reliable one; a cell's own score tells it
from its neighbours. Most of the best entries to the 2021 challenge combined the two: 0.7 and 0.3 in the 10th
place, the product in the 12th.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet

__all__ = ["NEGATIVE_KEY", "NEGATIVE_RULES", "AreaWeight", "Fusion", "ScoreFusion", "negative_apart"]

_RULES = ("weighted", "product")
NEGATIVE_RULES = ("own", "larger", "one_minus_max", "product")
NEGATIVE_KEY = "negative"


class ScoreFusion(Protocol):
    """From the scores of a cell and its field to the probabilities of the table."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What a table made with it says of it."""
        ...

    def check(self, class_set: ClassSet) -> None:
        """Raise a ValueError where it does not suit the classes."""
        ...

    def combine(
        self, cells: NDArray[np.float32], field: NDArray[np.float32], class_set: ClassSet
    ) -> NDArray[np.float32]:
        """(N, K) float32 in [0, 1], from cells (N, K) and their field (K,)."""
        ...

    def of_field(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K,) float32 in [0, 1], the field's own probabilities, from its scores (K,); NaN stays NaN."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """How the scores of a cell and of its field combine.

    Attributes
    ----------
    rule
        ``weighted``: ``cell_weight * cell + (1 - cell_weight) * field``. ``product``: ``cell * field``.
    cell_weight
        In [0, 1]; 1 leaves the cell's score as it is. The product does not use it.
    negative
        Negative is what no other class explains, and may go its own way. ``own``: by the rule. ``larger``:
        the larger of the cell's and the field's score. ``one_minus_max``: 1 minus the largest combined score
        of the others. ``product``: the product of 1 minus each of them, as if they were independent.
    """

    rule: str = "weighted"
    cell_weight: float = 1.0
    negative: str = "own"

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise ValueError(f"fusion.rule is {self.rule!r}: use one of {', '.join(_RULES)}.")
        if not 0 <= self.cell_weight <= 1:
            raise ValueError(f"fusion.cell_weight is {self.cell_weight}: give a number from 0 to 1.")
        if self.negative not in NEGATIVE_RULES:
            raise ValueError(f"fusion.negative is {self.negative!r}: use one of {', '.join(NEGATIVE_RULES)}.")

    @property
    def needs_field(self) -> bool:
        """Whether the field's score has a say."""
        return self.rule == "product" or self.cell_weight < 1 or self.negative == "larger"

    @property
    def provenance(self) -> dict[str, Any]:
        """What a table made with it says of it."""
        return asdict(self)

    def check(self, class_set: ClassSet) -> None:
        """Refuse a class set that has no Negative to treat apart.

        Raises
        ------
        ValueError
            If there is none and `negative` is not ``own``.
        """
        if self.negative != "own" and NEGATIVE_KEY not in class_set.keys:
            raise ValueError(
                f"fusion.negative is {self.negative!r}, but class set {class_set.name} has no class "
                "Negative: use own."
            )

    def combine(
        self, cells: NDArray[np.float32], field: NDArray[np.float32], class_set: ClassSet
    ) -> NDArray[np.float32]:
        """Give the probability of each cell.

        Parameters
        ----------
        cells
            (N, K) float32 in [0, 1].
        field
            (K,) float32 in [0, 1]; not read where `needs_field` is false.
        class_set
            The K classes.

        Returns
        -------
        (N, K) float32 in [0, 1].
        """
        if not len(cells):
            return cells
        if self.rule == "product":
            combined = cells * field
        elif self.cell_weight < 1:
            combined = self.cell_weight * cells + (1 - self.cell_weight) * field
        else:
            combined = cells.copy()
        if self.negative != "own":
            negative = class_set.index(NEGATIVE_KEY)
            combined[:, negative] = negative_apart(
                self.negative, combined, cells=cells, field=field, class_set=class_set
            )
        return combined.astype(np.float32).clip(0, 1)

    def of_field(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K,) float32, the field's own probabilities as they were given."""
        return field


def negative_apart(
    negative: str,
    combined: NDArray[np.float32],
    *,
    cells: NDArray[np.float32],
    field: NDArray[np.float32],
    class_set: ClassSet,
) -> NDArray[np.float32]:
    """The score of Negative by a rule of its own.

    Parameters
    ----------
    negative
        ``larger``, ``one_minus_max`` or ``product``, see `Fusion`.
    combined
        (N, K) float32, the combined scores; those of the other classes are read.
    cells
        (N, K) float32, the cells' own scores.
    field
        (K,) or (N, K) float32, the scores of their fields.
    class_set
        The K classes, Negative among them.

    Returns
    -------
    (N,) float32.
    """
    index = class_set.index(NEGATIVE_KEY)
    if negative == "larger":
        return np.maximum(cells[:, index], field[..., index])
    others = np.delete(combined, index, axis=1)
    if negative == "product":
        none: NDArray[np.float32] = np.prod(1 - others, axis=1)
        return none
    one_minus_max: NDArray[np.float32] = 1 - others.max(axis=1)
    return one_minus_max


@dataclass(frozen=True, kw_only=True, slots=True)
class AreaWeight:
    """Less confidence in a cell of which little is in view, as in the 7th place of 2021.

    All probabilities of a cell are multiplied with ``min(1, area / least area)``, where the least area
    differs for cells that the edge of the field cuts and for whole ones. That entry used 80,000 and 32,000 px
    of 0.08 um, which are 512 and 204.8 um2.

    Attributes
    ----------
    border_um2
        Least area of a cell at the border, in um2; 0 weighs none down.
    inner_um2
        The same for the other cells.
    """

    border_um2: float = 0.0
    inner_um2: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("border_um2", self.border_um2), ("inner_um2", self.inner_um2)):
            if not (np.isfinite(least) and least >= 0):
                raise ValueError(
                    f"area_weight.{name} is {least}: give an area in um2, or 0 to weigh none down."
                )

    def weights(
        self, areas_um2: NDArray[np.float64], touches_border: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """(N,) float32 in (0, 1], the factor of each cell, from its area (N,) and mark of the border (N,)."""
        least = np.where(touches_border, self.border_um2, self.inner_um2)
        return (areas_um2 / np.maximum(areas_um2, least)).astype(np.float32)
