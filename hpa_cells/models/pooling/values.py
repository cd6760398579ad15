"""Poolings of any values, embeddings or logits, each value apart. Shapes: V values a cell, D embedding size."""

from __future__ import annotations

import math

from torch import Tensor
from typing_extensions import override

from hpa_cells.models.pooling.bags import bag_log_mean_exp, bag_max, bag_sizes, bag_sum, bag_top_mean
from hpa_cells.models.pooling.base import BagPooling

__all__ = ["LogSumExpPooling", "MaxPooling", "MeanPooling", "TopKPooling"]


class MeanPooling(BagPooling):
    """The mean of the cells: a field's label names what most of its cells show."""

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        return bag_sum(values, bag_index, num_bags) / bag_sizes(bag_index, num_bags, values)


class MaxPooling(BagPooling):
    """The largest value of any cell: for what one cell in a field shows, such as a mitotic spindle."""

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        return bag_max(values, bag_index, num_bags)


class LogSumExpPooling(BagPooling):
    """A smooth step between mean and maximum: ``log(mean(exp(r v))) / r``.

    Parameters
    ----------
    num_values, embedding_size
        V and D.
    sharpness
        r > 0: towards 0 it is the mean, towards infinity the maximum [1]_.

    References
    ----------
    .. [1] Pinheiro and Collobert, "From image-level to pixel-level labeling with convolutional networks",
       CVPR 2015.
    """

    def __init__(self, num_values: int, embedding_size: int, *, sharpness: float = 1.0) -> None:
        super().__init__(num_values, embedding_size)
        if not 0 < sharpness < math.inf:
            raise ValueError(
                f"Option sharpness of pooling log_sum_exp is {sharpness}: give a number above 0."
            )
        self.sharpness = sharpness

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        return bag_log_mean_exp(values * self.sharpness, bag_index, num_bags) / self.sharpness


class TopKPooling(BagPooling):
    """The mean of the largest values: for what only some cells of a field show.

    Parameters
    ----------
    num_values, embedding_size
        V and D.
    share
        In (0, 1]: of the n cells of a bag, the ``ceil(share * n)`` with the largest value count, for each
        value apart; where cells tie, it does not matter which. 1 is the mean.
    """

    def __init__(self, num_values: int, embedding_size: int, *, share: float = 0.3) -> None:
        super().__init__(num_values, embedding_size)
        if not 0 < share <= 1:
            raise ValueError(f"Option share of pooling top_k is {share}: give a share above 0, 1 at most.")
        self.share = share

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        return bag_top_mean(values, bag_index, num_bags, share=self.share)
