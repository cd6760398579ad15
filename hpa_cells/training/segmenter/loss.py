"""What the segmenter minimises: its maps against the true ones, where these are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from hpa_cells.segmentation.representations import Representation
from hpa_cells.training.segmenter.data import CropBatch

__all__ = ["MapLoss"]

_VALUE_WEIGHT = 2.0


class MapLoss(nn.Module):
    """Sum over the maps: cross entropy and Dice of a probability, absolute error of a value inside its part.

    A crop of which only nuclei are known does not count for the maps of cells.
    """

    is_probability: Tensor
    needs_cells: Tensor
    is_of_nuclei: Tensor

    def __init__(self, representation: Representation) -> None:
        super().__init__()
        maps = representation.maps
        self.register_buffer("is_probability", torch.tensor([each.is_probability for each in maps]))
        self.register_buffer("needs_cells", torch.tensor([each.part == "cells" for each in maps]))
        self.register_buffer("is_of_nuclei", torch.tensor([each.part == "nuclei" for each in maps]))

    @override
    def forward(self, maps: Tensor, batch: CropBatch) -> Tensor:
        """Mean over the crops, a single number.

        Parameters
        ----------
        maps
            (N, T, S, S), probabilities as logits.
        """
        maps, targets = maps.float(), batch.targets
        known = batch.knows_cells[:, None] | ~self.needs_cells
        chosen = self.is_probability
        terms = _cross_entropy_and_dice(maps[:, chosen], targets[:, chosen])
        loss = (terms * known[:, chosen]).sum()
        chosen = ~self.is_probability
        if chosen.any():
            nuclei, cells = targets[:, :1], targets[:, 1:2]
            whole = torch.where(batch.knows_cells[:, None, None, None], cells, nuclei)
            inside = torch.where(self.is_of_nuclei[chosen][:, None, None], nuclei, whole)
            terms = _absolute_error(maps[:, chosen], targets[:, chosen], inside)
            loss = loss + _VALUE_WEIGHT * (terms * known[:, chosen]).sum()
        return loss / len(maps)


def _absolute_error(values: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    """(N, T), mean over the pixels of `inside`; quadratic below a tenth."""
    error = F.smooth_l1_loss(values, targets, reduction="none", beta=0.1)
    return (error * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)


def _cross_entropy_and_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """(N, T)."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(2, 3))
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * targets).sum(dim=(2, 3)) + 1
    dice = overlap / (probabilities.sum(dim=(2, 3)) + targets.sum(dim=(2, 3)) + 1)
    return cross_entropy + 0.5 * (1 - dice)
