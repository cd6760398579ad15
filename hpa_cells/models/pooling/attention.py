"""Gated attention. Shapes: N cells, F fields, V values a cell, D embedding size."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from hpa_cells.models.pooling.bags import at_least_float32, bag_softmax, bag_sum
from hpa_cells.models.pooling.base import BagPooling

__all__ = ["GatedAttention"]


class GatedAttention(BagPooling):
    """A weighted mean of the cells, the weights learned from their embeddings.

    The weight of a cell with embedding h is the softmax over its bag of
    ``w . (tanh(V h) * sigmoid(U h))`` [1]_. It is one weight for all values of the cell.

    Parameters
    ----------
    num_values, embedding_size
        V and D.
    num_hidden
        Size of the hidden layer.

    References
    ----------
    .. [1] Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018, eq. 9.
    """

    def __init__(self, num_values: int, embedding_size: int, *, num_hidden: int = 64) -> None:
        super().__init__(num_values, embedding_size)
        if num_hidden < 1:
            raise ValueError(f"Option num_hidden of pooling gated_attention is {num_hidden}: give 1 or more.")
        self.content = nn.Linear(embedding_size, num_hidden)
        self.gate = nn.Linear(embedding_size, num_hidden)
        self.weight = nn.Linear(num_hidden, 1)

    def attention(self, embeddings: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
        """(N, 1) float in [0, 1]: the weight of each cell; those of a bag sum to 1."""
        hidden = self.content(embeddings).tanh() * self.gate(embeddings).sigmoid()
        return bag_softmax(at_least_float32(self.weight(hidden)), bag_index, num_bags)

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        return bag_sum(values * self.attention(embeddings, bag_index, num_bags), bag_index, num_bags)
