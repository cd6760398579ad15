"""From the cells of a field to the field: pooling over bags of any size, without padding.

Every pooling is a function of a set: it does not depend on the order of the cells, a bag of one cell is that
cell, and no bag changes another. These properties are tested, since attention models are known to break such
rules unnoticed [1]_.

References
----------
.. [1] Raff and Holt, "Reproducibility in multiple instance learning: a case for algorithmic unit tests",
   NeurIPS 2023, arXiv 2310.17867.

Shapes: N cells, F fields, V values a cell.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "POOLINGS",
    "BagPooling",
    "GatedAttention",
    "LogSumExpPooling",
    "MaxPooling",
    "MeanPooling",
    "bag_softmax",
    "build_pooling",
]


class BagPooling(nn.Module):
    """What all poolings share: ``pooling(values, bag_index, num_bags)``.

    Parameters
    ----------
    num_values
        V, the number of values a cell; only poolings with weights of their own need it.
    """

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.num_values = num_values

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """Pool each bag.

        Parameters
        ----------
        values
            (N, V) float.
        bag_index
            (N,) int64 in [0, num_bags): the bag of each cell, in any order. Each bag has at least one cell.
        num_bags
            F.

        Returns
        -------
        (F, V) float.
        """
        raise NotImplementedError


class MeanPooling(BagPooling):
    """The mean of the cells: a field's label names what most of its cells show."""

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """Pool each bag; see `BagPooling.forward`."""
        return _bag_sum(values, bag_index, num_bags) / _bag_sizes(bag_index, num_bags, values)


class MaxPooling(BagPooling):
    """The largest value of any cell: for what one cell in a field shows, such as a mitotic spindle."""

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """Pool each bag; see `BagPooling.forward`."""
        return _bag_max(values, bag_index, num_bags)


class LogSumExpPooling(BagPooling):
    """A smooth step between mean and maximum: ``log(mean(exp(r v))) / r``.

    Parameters
    ----------
    num_values
        V.
    sharpness
        r > 0: towards 0 it is the mean, towards infinity the maximum [1]_.

    References
    ----------
    .. [1] Pinheiro and Collobert, "From image-level to pixel-level labeling with convolutional networks",
       CVPR 2015.
    """

    def __init__(self, num_values: int, sharpness: float = 1.0) -> None:
        super().__init__(num_values)
        self.sharpness = sharpness

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """Pool each bag; see `BagPooling.forward`."""
        scaled = values * self.sharpness
        # The maximum only keeps exp() in range; it cancels, so no gradient needs to flow through it.
        largest = _bag_max(scaled.detach(), bag_index, num_bags)
        mean = _bag_sum((scaled - largest[bag_index]).exp(), bag_index, num_bags) / _bag_sizes(
            bag_index, num_bags, values
        )
        return (mean.log() + largest) / self.sharpness


class GatedAttention(BagPooling):
    """A weighted mean of the cells, the weights learned from the values themselves.

    The weight of a cell is the softmax over its bag of ``w . (tanh(V v) * sigmoid(U v))`` [1]_.

    Parameters
    ----------
    num_values
        V.
    num_hidden
        Size of the hidden layer.

    References
    ----------
    .. [1] Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018, eq. 9.
    """

    def __init__(self, num_values: int, num_hidden: int = 64) -> None:
        super().__init__(num_values)
        self.content = nn.Linear(num_values, num_hidden)
        self.gate = nn.Linear(num_values, num_hidden)
        self.weight = nn.Linear(num_hidden, 1)

    def attention(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """(N, 1) float in [0, 1]: the weight of each cell; those of a bag sum to 1."""
        hidden = self.content(values).tanh() * self.gate(values).sigmoid()
        return bag_softmax(self.weight(hidden), bag_index, num_bags)

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """Pool each bag; see `BagPooling.forward`."""
        return _bag_sum(values * self.attention(values, bag_index, num_bags), bag_index, num_bags)


POOLINGS: dict[str, type[BagPooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "log_sum_exp": LogSumExpPooling,
    "gated_attention": GatedAttention,
}


def build_pooling(name: str, num_values: int) -> BagPooling:
    """Build the pooling of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in POOLINGS:
        raise ValueError(f"Pooling {name!r} is unknown: use one of {', '.join(POOLINGS)}.")
    return POOLINGS[name](num_values)


def bag_softmax(logits: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(N, V) float: the softmax of `logits` (N, V) over the cells of each bag."""
    largest = _bag_max(logits.detach(), bag_index, num_bags)
    exponents = (logits - largest[bag_index]).exp()
    return exponents / _bag_sum(exponents, bag_index, num_bags)[bag_index]


def _bag_sum(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    return values.new_zeros(num_bags, values.shape[1]).index_add(0, bag_index, values)


def _bag_max(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    lowest = values.new_full((num_bags, values.shape[1]), -torch.inf)
    return lowest.scatter_reduce(0, bag_index[:, None].expand_as(values), values, "amax")


def _bag_sizes(bag_index: Tensor, num_bags: int, like: Tensor) -> Tensor:
    return torch.bincount(bag_index, minlength=num_bags).to(like.dtype)[:, None]
