"""What all poolings share. Shapes: N cells, F fields, V values a cell, D embedding size."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from hpa_cells.models.pooling.bags import at_least_float32

__all__ = ["BagPooling"]


class BagPooling(nn.Module):
    """A pooling is called as ``pooling(values, bag_index, num_bags, embeddings)``.

    Parameters
    ----------
    num_values
        V; only poolings with weights of their own for each value need it.
    embedding_size
        D; only poolings that look at embeddings need it.

    Attributes
    ----------
    needs_class_logits
        Whether values must be logits of classes, since it computes with their probabilities.
    """

    needs_class_logits: ClassVar[bool] = False

    def __init__(self, num_values: int, embedding_size: int) -> None:
        super().__init__()
        self.num_values = num_values
        self.embedding_size = embedding_size

    def forward(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        """Pool each bag.

        Parameters
        ----------
        values
            (N, V) float: what is pooled, embeddings or logits.
        bag_index
            (N,) int64 in [0, num_bags): the bag of each cell, in any order. Each bag has at least one cell.
        num_bags
            F.
        embeddings
            (N, D) float, of the same cells.

        Returns
        -------
        (F, V) float; float32 for values in half precision.
        """
        return self.pool(at_least_float32(values), bag_index, num_bags, embeddings)

    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        """Pool values of float32 or float64; see `forward`."""
        raise NotImplementedError
