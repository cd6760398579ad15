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

    References
    ----------
    .. [1] Team red.ai, second place of the 2021 challenge, in Le et al., Nature Methods 19:1221 (2022).
    """

    field_head: str
    field_weight: float
    cell_weight: float

    def __post_init__(self) -> None:
        weights = (self.field_weight, self.cell_weight)
        if not np.isfinite(weights).all() or min(weights) < 0 or sum(weights) == 0:
            raise ValueError(
                f"method.field_weight is {self.field_weight} and method.cell_weight {self.cell_weight}: "
                "give weights of 0 or more, at least one above 0."
            )
