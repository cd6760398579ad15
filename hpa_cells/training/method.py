"""What a method is: what is compared with labels, fields or cells or both, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MethodSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodSettings:
    """How a model learns from fields of which only the whole is labelled.

    Attributes
    ----------
    field_head
        ``own`` or ``shared``, see `hpa_cells.models.ClassifierSettings`.
    field_weight
        Of the loss of pooled fields against their labels.
    cell_weight
        Of the loss of each cell against its own label, or its field's where cells have none. 1.0 and 0.1 are
        the weights of the dual head [1]_.
    needs_cell_labels
        Whether cells must have labels of their own, from a teacher or a table.
    consistency
        Of the difference between the class activation maps of a field and of its pieces, see `training.cell_cam`; 0
        makes no pieces. The first and third place of the challenge [1]_ took 0.25 to 0.5.
    pieces
        Number of pieces that the cells of a field are dealt out to.

    References
    ----------
    .. [1] Teams of the 2021 challenge, in Le et al., Nature Methods 19:1221 (2022); the dual head is of red.ai, the
       second place.
    """

    field_head: str
    field_weight: float
    cell_weight: float
    needs_cell_labels: bool = False
    consistency: float = 0.0
    pieces: int = 1

    def __post_init__(self) -> None:
        if not (np.isfinite(self.consistency) and self.consistency >= 0):
            raise ValueError(f"method.consistency is {self.consistency}: give 0 or more.")
        if self.pieces < 1:
            raise ValueError(f"method.pieces is {self.pieces}: give at least 1.")
        weights = (self.field_weight, self.cell_weight)
        if not np.isfinite(weights).all() or min(weights) < 0:
            raise ValueError(
                f"method.field_weight is {self.field_weight} and method.cell_weight {self.cell_weight}: "
                "give weights of 0 or more."
            )

    @property
    def learns_labels(self) -> bool:
        """Whether any label has a say."""
        return self.field_weight > 0 or self.cell_weight > 0
