"""Bags of cells: what one training step sees, and which cells are drawn for it.

A bag is some cells of one field. Every draw is a function of the seed and the number of the batch alone, so
that a training that was stopped anywhere goes on with the very batches it would have seen.

Shapes: N cells of F fields, S crop side, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BagPlan", "BagSampler", "BagSettings", "Bags", "field_weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bags:
    """A batch.

    Attributes
    ----------
    crops
        (N, 4, S, S) uint8.
    bag_index
        (N,) int64, the position of each cell's field in `field_labels`.
    field_labels
        (F, K) float32 of 0 and 1.
    cell_targets
        (N, K) float32 in [0, 1]: the labels of each cell, or its field's where no cell is labelled.
    """

    crops: Tensor
    bag_index: Tensor
    field_labels: Tensor
    cell_targets: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Bags:
        """Move to `device`; crops travel as bytes."""
        return Bags(
            **{
                each.name: self._tensor(each.name).to(device, non_blocking=non_blocking)
                for each in fields(self)
            }
        )

    def pin_memory(self) -> Bags:
        """Move to page-locked memory, from which a GPU copies while it computes."""
        return Bags(**{each.name: self._tensor(each.name).pin_memory() for each in fields(self)})

    def _tensor(self, name: str) -> Tensor:
        tensor = getattr(self, name)
        assert isinstance(tensor, Tensor)
        return tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class BagSettings:
    """How batches are made.

    Attributes
    ----------
    fields_per_batch
        Number of bags a training step.
    cells_per_field
        Most cells of a field a step; others are drawn in other epochs.
    balance
        How strongly fields of rare classes are repeated: 0 shows every field once an epoch, 1 shows every
        class about equally often, 0.5 lies between.
    validation_cells_per_field
        Most cells of a field in validation, always the same.
    workers
        Processes that read crops ahead; 0 reads in the training process, which is fastest for small crops.
    seed
        Of every draw.
    """

    fields_per_batch: int
    cells_per_field: int
    balance: float
    validation_cells_per_field: int
    workers: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("fields_per_batch", "cells_per_field", "validation_cells_per_field"):
            if getattr(self, name) < 1:
                raise ValueError(f"bags.{name} is {getattr(self, name)}: give at least 1.")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"bags.balance is {self.balance}: give a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class BagPlan:
    """Which cells a batch consists of, before they are read.

    Attributes
    ----------
    fields
        (F,) int64, positions of the fields in the data set.
    rows
        (N,) int64, rows of the cells in the crop store.
    bag_index
        (N,) int64, the position in `fields` of each cell's field.
    """

    fields: NDArray[np.int64]
    rows: NDArray[np.int64]
    bag_index: NDArray[np.int64]


class BagSampler:
    """Draws the batches of every epoch.

    Parameters
    ----------
    rows_of_field
        For each field the rows of its cells in the crop store; at least one each.
    weights
        (F,) float: how often each field is shown, in relation to the others.
    settings
        Sizes and seed.
    """

    def __init__(
        self, rows_of_field: Sequence[NDArray[np.int64]], weights: NDArray[np.float64], settings: BagSettings
    ) -> None:
        self._rows_of_field = rows_of_field
        self._shares = weights / weights.sum()
        self._settings = settings
        # The last, smaller batch is left out: its few fields come first in another epoch's order.
        self.batches_per_epoch = max(1, len(rows_of_field) // settings.fields_per_batch)

    def plan(self, batch: int) -> BagPlan:
        """Draw batch number `batch`, counted from 0 through all epochs."""
        epoch, position = divmod(batch, self.batches_per_epoch)
        size = self._settings.fields_per_batch
        chosen = self._order(epoch)[position * size : (position + 1) * size]
        draw = np.random.default_rng([self._settings.seed, epoch, position])
        rows = [
            _draw_rows(self._rows_of_field[field], self._settings.cells_per_field, draw) for field in chosen
        ]
        return make_plan(chosen, rows)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """(F,) int64: the fields of an epoch; one of share s comes floor(s F) or ceil(s F) times."""
        draw = np.random.default_rng([self._settings.seed, epoch])
        num_fields = len(self._shares)
        ticks = (np.arange(num_fields) + draw.random()) / num_fields
        # Rounding may leave the sum of all shares a hair below the last tick.
        chosen = np.searchsorted(np.cumsum(self._shares), ticks).clip(max=num_fields - 1)
        return draw.permutation(chosen)


def make_plan(chosen: NDArray[np.int64], rows: list[NDArray[np.int64]]) -> BagPlan:
    """Join the rows drawn of each field into one plan."""
    sizes = [len(each) for each in rows]
    return BagPlan(fields=chosen, rows=np.concatenate(rows), bag_index=np.repeat(np.arange(len(rows)), sizes))


def field_weights(labels: NDArray[np.bool_], balance: float) -> NDArray[np.float64]:
    """How often to show each field so that rare classes are seen more often.

    A field weighs ``(1 / n) ** balance``, where n is the number of fields of its rarest class; a field
    without a label weighs as one of the most frequent class.

    Parameters
    ----------
    labels
        (F, K) bool.
    balance
        From 0 (all equal) to 1.

    Returns
    -------
    (F,) float64, with mean 1.

    Examples
    --------
    >>> field_weights(np.array([[1, 0], [1, 0], [1, 1]], dtype=bool), balance=1.0)
    array([0.6, 0.6, 1.8])
    """
    counts = labels.sum(axis=0)
    rarest = np.where(labels, counts, counts.max(initial=1)).min(axis=1)
    weights: NDArray[np.float64] = (1.0 / rarest) ** balance
    weights /= weights.mean()
    return weights


def _draw_rows(rows: NDArray[np.int64], most: int, draw: np.random.Generator) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return np.sort(draw.choice(rows, size=most, replace=False))
