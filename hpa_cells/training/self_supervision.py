"""Learning from cells without labels: two changed versions of a cell must be embedded alike.

A crop has no label of its own, only its field has; but a cell that is turned, brighter or a little noisy is the same
cell. VICReg [1]_ asks for that (*invariance*), and keeps the embeddings from becoming all alike by asking that each
coordinate vary over the cells of a batch (*variance*) and that no two say the same (*covariance*). It needs neither
pairs of different cells nor a second network. The statistics are those of the cells of a batch, in several processes
those of each process's own.

Shapes: N cells, D embedding size, P size of the projection.

References
----------
.. [1] Bardes, Ponce, LeCun, "VICReg", ICLR 2022, arXiv:2105.04906, eq. 1 to 6 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.method import MethodSettings

__all__ = ["SelfSupervision", "SelfSupervisionSettings", "vicreg_terms"]

# Keeps the slope of the spread finite where all are equal; the value of the paper.
_EPSILON = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfSupervisionSettings:
    """What two views of a cell are compared by.

    Attributes
    ----------
    weight
        Of the whole term, beside the losses of fields and cells; 0 leaves it out.
    invariance, variance, covariance
        Of its three parts; the paper's are 25, 25 and 1.
    projection_size
        P, at least 2: the views are compared behind a small network of so many outputs, which is thrown away after
        the training. The paper's has 8192.
    """

    weight: float
    invariance: float
    variance: float
    covariance: float
    projection_size: int

    def __post_init__(self) -> None:
        for name in ("weight", "invariance", "variance", "covariance"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"self_supervision.{name} is {getattr(self, name)}: give 0 or more.")
        if self.weight > 0 and (self.invariance == 0 or self.variance == 0):
            raise ValueError(
                f"self_supervision.invariance is {self.invariance} and self_supervision.variance {self.variance}: "
                "without the one views are not compared, without the other all embeddings become equal; give both "
                "more than 0."
            )
        if self.projection_size < 2:
            raise ValueError(f"self_supervision.projection_size is {self.projection_size}: give at least 2.")

    def check(self, method: MethodSettings, augmentation: AugmentationSettings) -> None:
        """Refuse a training that learns nothing.

        Raises
        ------
        ValueError
            If neither labels nor views have a weight, or both views of a cell would be the same.
        """
        if not method.learns_labels and self.weight == 0:
            raise ValueError(
                "method.field_weight, method.cell_weight and self_supervision.weight are 0, so that nothing is "
                "learned: give one of them more than 0, or choose self_supervision=vicreg."
            )
        if self.weight > 0 and not augmentation.changes_anything:
            raise ValueError(
                f"self_supervision.weight is {self.weight}, but the augmentation changes nothing, so that both views "
                "of a cell are the same: use augmentation=default."
            )


class SelfSupervision(nn.Module):
    """The loss of two views of the same cells, and the projection it is measured behind.

    Parameters
    ----------
    settings
        Weights and size.
    embedding_size
        D.
    """

    def __init__(self, settings: SelfSupervisionSettings, embedding_size: int) -> None:
        super().__init__()
        self.settings = settings
        size = settings.projection_size
        # Without biases where normalisation follows; three layers, as in the paper.
        self.projector = nn.Sequential(
            nn.Linear(embedding_size, size, bias=False),
            nn.BatchNorm1d(size),
            nn.ReLU(),
            nn.Linear(size, size, bias=False),
            nn.BatchNorm1d(size),
            nn.ReLU(),
            nn.Linear(size, size, bias=False),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Weighted loss, a scalar, of two embeddings (N, D) of the same cells; 0 for less than two cells."""
        if len(one) < 2:
            return (one * 0).sum() + (other * 0).sum()
        settings = self.settings
        invariance, variance, covariance = vicreg_terms(self.projector(one), self.projector(other))
        return settings.weight * (
            settings.invariance * invariance + settings.variance * variance + settings.covariance * covariance
        )


def vicreg_terms(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance of two views, scalars of 0 or more.

    *Invariance* is the mean squared difference, over cells and coordinates. *Variance* is by how much the standard
    deviation of a coordinate over the cells stays below 1, the mean over the coordinates and the sum over the views.
    *Covariance* is the sum of the squares of the covariances of different coordinates, divided by their number P, and
    the sum over the views. The first is divided by P too, as in the paper's algorithm 1 and unlike its eq. 5.

    Parameters
    ----------
    one, other
        (N, P) float, N at least 2; computed in float32.

    Returns
    -------
    tuple of three scalars, float32.

    Examples
    --------
    >>> same = torch.zeros(4, 3)
    >>> [round(term.item(), 2) for term in vicreg_terms(same, same)]
    [0.0, 1.98, 0.0]
    """
    one, other = one.float(), other.float()
    invariance = F.mse_loss(one, other)
    variance = _lacking_spread(one) + _lacking_spread(other)
    covariance = _shared(one) + _shared(other)
    return invariance, variance, covariance


def _lacking_spread(view: Tensor) -> Tensor:
    return F.relu(1 - (view.var(dim=0) + _EPSILON).sqrt()).mean()


def _shared(view: Tensor) -> Tensor:
    """Of different coordinates, how much they say the same."""
    with torch.autocast(view.device.type, enabled=False):
        centred = view - view.mean(dim=0)
        covariance = centred.T @ centred / (len(view) - 1)
    squares = covariance.square()
    return (squares.sum() - squares.diagonal().sum()) / view.shape[1]
