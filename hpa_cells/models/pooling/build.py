"""From settings to a pooling."""

from __future__ import annotations

from hpa_cells.models.pooling.base import BagPooling
from hpa_cells.models.pooling.by_class import PoolingByClass
from hpa_cells.models.pooling.settings import POOLINGS, PoolingSettings

__all__ = ["build_pooling"]


def build_pooling(settings: PoolingSettings, num_values: int, embedding_size: int) -> BagPooling:
    """Build a pooling.

    Parameters
    ----------
    settings
        Which; its exceptions name classes by position.
    num_values
        How many values of a cell are pooled: the classes, or the embedding size.
    embedding_size
        Size of the embeddings that it may look at.

    Raises
    ------
    ValueError
        If an option is out of its range, or an exception is for a class that there is not.
    """
    names = [settings.name] * num_values
    for position, name in settings.exceptions.items():
        if position not in map(str, range(num_values)):
            raise ValueError(
                f"Pooling has an exception for class {position!r}, expected a position from 0 to "
                f"{num_values - 1}: PoolingSettings.with_positions finds it for the key of a class."
            )
        names[int(position)] = name
    poolings = {
        name: POOLINGS[name](
            names.count(name), embedding_size, **(settings.options if name == settings.name else {})
        )
        for name in dict.fromkeys(names)
    }
    return PoolingByClass(poolings, names, embedding_size) if settings.exceptions else poolings[settings.name]
