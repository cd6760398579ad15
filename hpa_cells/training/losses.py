"""What is minimised: binary cross-entropy of pooled fields and of single cells.

Shapes: N cells, F fields, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.models import CellOutputs
from hpa_cells.training.bags import Bags

__all__ = ["BagLoss", "LossSettings", "LossTerms", "positive_weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSettings:
    """How the two terms are weighed.

    Attributes
    ----------
    field_weight
        Of the loss of pooled fields against their labels.
    cell_weight
        Of the loss of each cell against its own label, or its field's where cells have none. 1.0 and 0.1 are
        the weights of the dual head [1]_.
    positive_power
        Positives of a class count ``(negatives / positives) ** positive_power``; 0 leaves them alone.

    References
    ----------
    .. [1] Team red.ai, second place of the 2021 challenge, in Le et al., Nature Methods 19:1221 (2022).
    """

    field_weight: float
    cell_weight: float
    positive_power: float

    def __post_init__(self) -> None:
        if min(self.field_weight, self.cell_weight) < 0 or self.field_weight + self.cell_weight == 0:
            raise ValueError(
                f"method.loss has field_weight {self.field_weight} and cell_weight {self.cell_weight}: "
                "give weights of 0 or more, at least one above 0."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerms:
    """The loss and its parts, scalars."""

    total: Tensor
    field: Tensor
    cell: Tensor


class BagLoss(nn.Module):
    """Weighted sum of the field's and the cells' cross-entropy.

    Parameters
    ----------
    settings
        The weights.
    positive_weight
        (K,) float32, how much a positive of each class counts, see `positive_weights`.
    """

    positive_weight: Tensor

    def __init__(self, settings: LossSettings, positive_weight: NDArray[np.float32]) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("positive_weight", torch.from_numpy(positive_weight), persistent=False)

    def forward(self, outputs: CellOutputs, bags: Bags) -> LossTerms:
        """Compare outputs with labels; cells count equally, whatever the size of their bag."""
        field = self._cross_entropy(outputs.field_logits, bags.field_labels)
        cell = self._cross_entropy(outputs.cell_logits, bags.cell_targets)
        total = self.settings.field_weight * field + self.settings.cell_weight * cell
        return LossTerms(total=total, field=field.detach(), cell=cell.detach())

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            logits.float(), labels, pos_weight=self.positive_weight
        )


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
