"""Sums, largest values and the like over the cells of each bag.

Shapes: N cells, F fields, V values a cell. Everywhere ``bag_index`` is (N,) int64 in [0, num_bags), in any
order, each bag has at least one cell, and ``num_bags`` is F.

While a model is exported, each is computed in a second way, of operations that other runtimes have, too: from the
matrix (F, N) of which cell is in which bag. It takes memory for F x N x V values.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "at_least_float32",
    "bag_log_mean_exp",
    "bag_max",
    "bag_sizes",
    "bag_softmax",
    "bag_sum",
    "bag_top_mean",
]


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, other types as they are: a sum of 300 bfloat16 ones would be 256."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def bag_sum(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(F, V) float: the sum of `values` (N, V) over the cells of each bag."""
    if torch.compiler.is_exporting():
        return _membership(bag_index, num_bags).to(values.dtype) @ values
    return values.new_zeros(num_bags, values.shape[1]).index_add(0, bag_index, values)


def bag_max(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(F, V) float: the largest of `values` (N, V) in each bag; cells that tie share its gradient."""
    if torch.compiler.is_exporting():
        return _apart(values, bag_index, num_bags).amax(dim=1)
    lowest = values.new_full((num_bags, values.shape[1]), -torch.inf)
    return lowest.scatter_reduce(0, bag_index[:, None].expand_as(values), values, "amax")


def bag_sizes(bag_index: Tensor, num_bags: int, like: Tensor) -> Tensor:
    """(F, 1): the number of cells of each bag, in the type of `like`."""
    if torch.compiler.is_exporting():
        return _membership(bag_index, num_bags).sum(dim=1, keepdim=True).to(like.dtype)
    return torch.bincount(bag_index, minlength=num_bags).to(like.dtype)[:, None]


def bag_softmax(logits: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(N, V) float: the softmax of `logits` (N, V) over the cells of each bag."""
    largest = bag_max(logits.detach(), bag_index, num_bags)
    exponents = (logits - largest[bag_index]).exp()
    return exponents / bag_sum(exponents, bag_index, num_bags)[bag_index]


def bag_log_mean_exp(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(F, V) float: ``log(mean(exp(values)))`` over the cells of each bag, for finite values of any size."""
    # The maximum only keeps exp() in range; it cancels, so no gradient needs to flow through it.
    largest = bag_max(values.detach(), bag_index, num_bags)
    sums = bag_sum((values - largest[bag_index]).exp(), bag_index, num_bags)
    return (sums / bag_sizes(bag_index, num_bags, values)).log() + largest


def bag_top_mean(values: Tensor, bag_index: Tensor, num_bags: int, *, share: float) -> Tensor:
    """(F, V) float: the mean of the ``ceil(share * size)`` largest values of each bag, for each value apart."""
    if torch.compiler.is_exporting():
        return _top_mean_of_matrix(values, bag_index, num_bags, share=share)
    # Two stable sorts put the cells in the order of their bags, and within a bag the largest first.
    order = values.argsort(dim=0, descending=True, stable=True)
    order = order.gather(0, bag_index[order].argsort(dim=0, stable=True))
    sizes = torch.bincount(bag_index, minlength=num_bags)
    bag_of_row = torch.repeat_interleave(sizes)
    first_rows = sizes.cumsum(0) - sizes
    ranks = torch.arange(len(values), device=values.device) - first_rows[bag_of_row]
    num_kept = _num_kept(sizes, share)
    is_kept = (ranks < num_kept[bag_of_row])[:, None]
    kept = torch.where(is_kept, values.gather(0, order), 0)
    return bag_sum(kept, bag_of_row, num_bags) / num_kept.to(values.dtype)[:, None]


def _num_kept(sizes: Tensor, share: float) -> Tensor:
    """How many cells count of bags of these sizes, in float64."""
    # A share of 0.07 of 100 cells is 7 of them, not the 8 that rounding errors would make it.
    return (sizes.double() * share - 1e-9).ceil().clamp(min=1)


def _membership(bag_index: Tensor, num_bags: int) -> Tensor:
    """(F, N) bool: which cell is in which bag."""
    return bag_index[None] == torch.arange(num_bags, device=bag_index.device)[:, None]


def _apart(values: Tensor, bag_index: Tensor, num_bags: int) -> Tensor:
    """(F, N, V) float: the values of all cells for each bag, those of other bags -inf."""
    return torch.where(_membership(bag_index, num_bags)[:, :, None], values[None], -torch.inf)


def _top_mean_of_matrix(values: Tensor, bag_index: Tensor, num_bags: int, *, share: float) -> Tensor:
    """`bag_top_mean` without the order of the bags."""
    ranked = _apart(values, bag_index, num_bags).sort(dim=1, descending=True).values
    num_kept = _num_kept(bag_sizes(bag_index, num_bags, bag_index), share)
    is_kept = torch.arange(values.shape[0], device=values.device)[None] < num_kept
    return torch.where(is_kept[:, :, None], ranked, 0).sum(dim=1) / num_kept.to(values.dtype)
