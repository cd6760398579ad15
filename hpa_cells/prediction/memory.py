"""When the memory is too small for what a network sees at once."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

__all__ = ["BatchLimit", "BatchLimits", "in_batches", "is_out_of_memory"]

log = logging.getLogger(__name__)

R = TypeVar("R")

# How torch says it of the CPU, by no error of its own.
_OF_CPU = "can't allocate memory"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, of a GPU or of the machine, is too small."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _OF_CPU in str(error)
    )


@dataclass(slots=True)
class BatchLimit:
    """The most at once that the memory has turned out to be large enough for; None while it was always."""

    most: int | None = None


# Of each network, by its `id`, and each side of its images in px.
BatchLimits: TypeAlias = defaultdict[tuple[int, int], BatchLimit]


def in_batches(
    function: Callable[[slice], R], num_items: int, batch_size: int, limit: BatchLimit | None = None
) -> list[R]:
    """Call a function with the slices of some items, smaller ones from where the memory ran out.

    Parameters
    ----------
    function
        Takes a slice of the items; may be called again with the first half of a slice that was too much.
    num_items
        Number of items.
    batch_size
        Number of items in a slice at first.
    limit
        Kept from one call to the next: no slice is larger, and it is lowered where the memory runs out.

    Returns
    -------
    list
        What the function said of each slice, in order.

    Raises
    ------
    RuntimeError, MemoryError
        If the memory is too small for a single item.

    Examples
    --------
    >>> in_batches(lambda part: list(range(5))[part], 5, 2)
    [[0, 1], [2, 3], [4]]
    """
    results, start = [], 0
    limit = BatchLimit() if limit is None else limit
    batch_size = min(batch_size, limit.most or batch_size)
    while start < num_items:
        try:
            results.append(function(slice(start, start + batch_size)))
        except (RuntimeError, MemoryError) as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
            batch_size = limit.most = batch_size // 2
            log.warning(
                "The memory is too small for %d at once: going on with %d.", 2 * batch_size, batch_size
            )
        else:
            start += batch_size
    return results
