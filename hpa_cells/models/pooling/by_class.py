"""A pooling of its own for some classes. Shapes: N cells, F fields, V classes, D embedding size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from hpa_cells.models.pooling.base import BagPooling

__all__ = ["PoolingByClass"]


class PoolingByClass(BagPooling):
    """Each class by the pooling that fits it, e.g. the mitotic spindle, which one cell shows, by the maximum.

    Parameters
    ----------
    poolings
        By name; each is built for as many values as there are classes of that name.
    names
        V names, the pooling of each class.
    embedding_size
        D.
    """

    order: Tensor

    def __init__(self, poolings: dict[str, BagPooling], names: list[str], embedding_size: int) -> None:
        super().__init__(len(names), embedding_size)
        self.poolings = nn.ModuleDict(poolings)
        for name in poolings:
            classes = [position for position, each in enumerate(names) if each == name]
            self.register_buffer(f"classes_of_{name}", torch.tensor(classes), persistent=False)
        together = torch.cat([self.get_buffer(f"classes_of_{name}") for name in poolings])
        self.register_buffer("order", together.argsort(), persistent=False)

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        pooled = [
            pooling(values[:, self.get_buffer(f"classes_of_{name}")], bag_index, num_bags, embeddings)
            for name, pooling in self.poolings.items()
        ]
        return torch.cat(pooled, dim=1)[:, self.order]
