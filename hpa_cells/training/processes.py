"""Several processes that train one model, each on its part of every batch.

Of a batch each process takes every so manieth bag, so that all together see what one process would. The mean over
the processes of their gradients, which `torch.nn.parallel.DistributedDataParallel` takes, is the gradient of the
whole batch if each process scales its sums by the size of the whole: see `mean_over_processes`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from hpa_cells.training.bag_settings import BagSettings

__all__ = [
    "check_parts",
    "gather_parts",
    "mean_over_processes",
    "num_processes",
    "own_part",
    "process_rank",
    "total_over_processes",
]


def num_processes() -> int:
    """Number of processes that train together at this moment; 1 outside of a training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank() -> int:
    """Number of this process among them, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def own_part(num_items: int) -> NDArray[np.int64]:
    """Positions, ascending, of the items of a batch that this process takes; all where there is one process."""
    return np.arange(process_rank(), num_items, num_processes())


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient; the tensor itself where there is one process.

    Every process must call it as often as the others.
    """
    count = num_processes()
    if count == 1:
        return value
    mean = value.detach().clone()
    distributed.all_reduce(mean)
    return mean / count


def total_over_processes(number: int, device: torch.device) -> int:
    """The sum of a number over all processes."""
    if num_processes() == 1:
        return number
    total = torch.tensor(number, device=device)
    distributed.all_reduce(total)
    return int(total)


def gather_parts(parts: list[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """Whole batches from the parts of all processes, their items in the order they had before `own_part`.

    Parameters
    ----------
    parts
        For each batch an array with one row for each item of this process.
    """
    if num_processes() == 1:
        return parts
    of_process: list[list[NDArray[np.generic]]] = [[]] * num_processes()
    distributed.all_gather_object(of_process, parts)
    return [_interleave(batch) for batch in zip(*of_process, strict=True)]


def _interleave(parts: tuple[NDArray[np.generic], ...]) -> NDArray[np.generic]:
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=parts[0].dtype)
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole


def check_parts(count: int, settings: BagSettings, *, training_fields: int, validation_fields: int) -> None:
    """Check that each of `count` processes has a field of every batch.

    Raises
    ------
    ValueError
        If not.
    """
    for number, name in (
        (settings.fields_per_batch, "bags.fields_per_batch"),
        (training_fields, "The number of training fields"),
        (validation_fields, "The number of validation fields"),
    ):
        if number < count:
            raise ValueError(f"{name} is {number}, for {count} processes: lower trainer.devices.")
