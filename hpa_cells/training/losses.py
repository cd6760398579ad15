"""What is minimised: the loss of pooled fields and of single cells.

Shapes: N cells, F fields, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.models import CellOutputs
from hpa_cells.training.bags import Bags
from hpa_cells.training.class_weights import CLASS_WEIGHTS, class_weights, positive_weights
from hpa_cells.training.element_losses import ELEMENT_LOSSES, OWN_SETTINGS
from hpa_cells.training.processes import mean_over_processes, num_processes

__all__ = ["BagLoss", "LossSettings", "LossTerms"]

_SMOOTHING_PRIORS = ("half", "frequency")
_EQUALS = ("cells", "fields")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSettings:
    """How a label and a probability are compared, and what counts how much.

    Attributes
    ----------
    name
        A key of `training.element_losses.ELEMENT_LOSSES`.
    class_weights
        Factor on the whole loss of each class, one of `training.class_weights.CLASS_WEIGHTS`.
    beta
        Of the class weights ``effective_number``, in [0, 1).
    positive_power
        Positives of a class count ``(negatives / positives) ** positive_power``; 0 leaves them alone.
    smoothing
        s in [0, 1): labels t of fields and cells become ``(1 - s) t + s prior``; 0 leaves them alone.
    smoothing_prior
        ``half``: 0.5. ``frequency``: the share of the training fields that show the class.
    weigh_equally
        ``cells``: every cell counts the same, so that fields of many cells count more. ``fields``: the cells
        of a field count as much as those of any other, together.
    gamma, alpha
        Of the focal loss only, see `training.element_losses.focal`.
    gamma_positive, gamma_negative, shift
        Of the asymmetric loss only, see `training.element_losses.asymmetric`.
    """

    name: str
    class_weights: str
    beta: float
    positive_power: float
    smoothing: float
    smoothing_prior: str
    weigh_equally: str
    gamma: float = 0.0
    alpha: float | None = None
    gamma_positive: float = 0.0
    gamma_negative: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        self._check_choice("name", tuple(ELEMENT_LOSSES))
        self._check_choice("class_weights", CLASS_WEIGHTS)
        self._check_choice("smoothing_prior", _SMOOTHING_PRIORS)
        self._check_choice("weigh_equally", _EQUALS)
        for name in ("positive_power", "gamma", "gamma_positive", "gamma_negative"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"loss.{name} is {getattr(self, name)}: give 0 or more.")
        for name in ("beta", "smoothing", "shift"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"loss.{name} is {getattr(self, name)}: give a number from 0 to below 1.")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError(f"loss.alpha is {self.alpha}: give a number between 0 and 1, or null.")
        for owner, names in OWN_SETTINGS.items():
            for name in names:
                if owner != self.name and getattr(self, name):
                    raise ValueError(
                        f"loss.{name} is {getattr(self, name)}, which loss {self.name} does not have: "
                        f"leave it out, or use loss={owner}."
                    )

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"loss.{name} is {getattr(self, name)!r}: use one of {', '.join(choices)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerms:
    """The loss and its parts, scalars."""

    total: Tensor
    field: Tensor
    cell: Tensor


class BagLoss(nn.Module):
    """Weighted sum of the field's and the cells' loss, in training and in validation alike.

    Parameters
    ----------
    settings
        What is summed.
    labels
        (F, K) bool, of the training fields: the weights of the classes come from it.
    field_weight, cell_weight
        Of the two terms.
    """

    class_weight: Tensor
    positive_weight: Tensor
    prior: Tensor

    def __init__(
        self, settings: LossSettings, labels: NDArray[np.bool_], *, field_weight: float, cell_weight: float
    ) -> None:
        super().__init__()
        self.settings = settings
        self.field_weight = field_weight
        self.cell_weight = cell_weight
        own = {name: getattr(settings, name) for name in OWN_SETTINGS[settings.name]}
        self._element_loss = partial(ELEMENT_LOSSES[settings.name], **own)
        of_classes = {
            "class_weight": class_weights(labels, settings.class_weights, beta=settings.beta),
            "positive_weight": positive_weights(labels, settings.positive_power),
            "prior": _prior(labels, settings.smoothing_prior),
        }
        for name, values in of_classes.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    @property
    def learns_labels(self) -> bool:
        """Whether any label has a say."""
        return self.field_weight > 0 or self.cell_weight > 0

    def forward(self, outputs: CellOutputs, bags: Bags) -> LossTerms:
        """Compare outputs with labels.

        Parameters
        ----------
        outputs
            Of N cells and F fields.
        bags
            Their labels, anything from 0 to 1, and how much each cell counts among the others. Where fields
            weigh equally it counts among the cells of its field, and a field whose cells all have 0 is left
            out. If all cells have 0 their term is 0.

        Raises
        ------
        ValueError
            If there is not one weight a cell.
        """
        shares = self._cell_shares(bags)
        field = _batch_mean(self._class_mean(outputs.field_logits, bags.field_labels))
        cell = (shares * self._class_mean(outputs.cell_logits, bags.cell_targets)).sum()
        total = self.field_weight * field + self.cell_weight * cell
        return LossTerms(total=total, field=field.detach(), cell=cell.detach())

    def of_cells(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of (M, K) logits against targets in [0, 1]; 0 where M is."""
        return _batch_mean(self._class_mean(logits, targets))

    def _class_mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) float32: the loss of each cell or field, the weighted mean over the classes."""
        smoothing = self.settings.smoothing
        targets = (1 - smoothing) * labels + smoothing * self.prior
        return (self.class_weight * self._element_loss(logits, targets, self.positive_weight)).mean(dim=1)

    def _cell_shares(self, bags: Bags) -> Tensor:
        """(N,) float32 with sum 1, or 0 where no cell counts; of several processes the mean of their sums."""
        cell_weights = bags.cell_weights
        if cell_weights is None:
            cell_weights = torch.ones_like(bags.bag_index, dtype=torch.float32)
        elif cell_weights.shape != bags.bag_index.shape:
            raise ValueError(
                f"The weights of cells have shape {tuple(cell_weights.shape)}: "
                f"give one a cell, {tuple(bags.bag_index.shape)}."
            )
        if self.settings.weigh_equally == "fields":
            of_field = cell_weights.new_zeros(len(bags.field_labels))
            of_field = of_field.index_add(0, bags.bag_index, cell_weights)
            cell_weights = _shares(cell_weights, of_field[bags.bag_index])
        return _shares(cell_weights, mean_over_processes(cell_weights.sum()))


def _batch_mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing; where several processes have parts of a batch, the mean of theirs is the batch's."""
    if num_processes() == 1:
        return values.sum() / max(len(values), 1)
    return _shares(values.sum(), mean_over_processes(values.new_tensor(len(values))))


def _shares(weights: Tensor, totals: Tensor) -> Tensor:
    return weights / torch.where(totals > 0, totals, 1.0)


def _prior(labels: NDArray[np.bool_], name: str) -> NDArray[np.float32]:
    """(K,) float32 in [0, 1]."""
    prior = labels.mean(axis=0) if name == "frequency" else np.full(labels.shape[1], 0.5)
    return prior.astype(np.float32)
