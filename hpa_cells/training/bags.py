"""Bags of cells: what one training step sees, and which cells are drawn for it.

A bag is some cells of one field, or of several (see `training.mixing`). Every draw is a function of the seed and
the number of the batch alone, so that a training that was stopped anywhere goes on with the very batches it would
have seen.

Shapes: N cells of F fields, S crop side, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpa_cells.training.bag_settings import BagSettings

__all__ = [
    "BagPlan",
    "BagSampler",
    "BagSettings",
    "Bags",
    "Mix",
    "draw_rows",
    "field_weights",
    "make_plan",
    "take_bags",
]

# Tells the draws of mixing from the others of a batch.
_MIXING = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Bags:
    """A batch.

    Attributes
    ----------
    images
        (N, 4, S, S) uint8: a crop a cell; or, where there are masks, the B fields as a whole, (B, 4, H, W); or (N, D)
        float32, embeddings by an encoder that stays as it is.
    bag_index
        (N,) int64, the position of each cell's field in `field_labels`.
    field_labels
        (F, K) float32 of 0 and 1; of mixed bags anything between.
    cell_targets
        (N, K) float32 in [0, 1]: the labels of each cell, or its field's where no cell is labelled.
    cell_weights
        (N,) float32, 0 or more: how much each cell counts in the loss; None is 1 for all.
    masks
        (B, H, W) int32: of which cell a pixel is, counted from 1 to N; 0 for none. None where images are crops.
    """

    images: Tensor
    bag_index: Tensor
    field_labels: Tensor
    cell_targets: Tensor
    cell_weights: Tensor | None = None
    masks: Tensor | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether cells come as embeddings."""
        return self.images.ndim == 2

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Bags:
        """Move to `device`; images travel as bytes."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Bags:
        """Move to page-locked memory, from which a GPU copies while it computes."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Bags:
        changed: dict[str, Any] = {}
        for each in fields(self):
            tensor = getattr(self, each.name)
            changed[each.name] = None if tensor is None else change(tensor)
        return Bags(**changed)


@dataclass(frozen=True, kw_only=True, slots=True)
class BagPlan:
    """Which cells a batch consists of, before they are read.

    Attributes
    ----------
    fields
        (F,) int64, the position in the data set of each bag's field; of a mixed bag one of its fields.
    rows
        (N,) int64, rows of the cells in the crop store.
    bag_index
        (N,) int64, the position in `fields` of each cell's bag.
    field_of_row
        (N,) int64, the position in the data set of each cell's own field.
    label_shares
        (N,) float32 above 0: how much each cell adds of its field's labels to those of its bag.
    """

    fields: NDArray[np.int64]
    rows: NDArray[np.int64]
    bag_index: NDArray[np.int64]
    field_of_row: NDArray[np.int64]
    label_shares: NDArray[np.float32]

    def field_labels(self, labels: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(F, K) float32 in [0, 1]: the labels of the bags, from those of the fields of the data set, (.., K).

        A bag has what its cells' fields have, times their shares and at most 1: of one field its labels, of
        shares of 1 the union, of shares that add up to 1 the mixture.
        """
        summed = np.zeros((len(self.fields), labels.shape[1]), dtype=np.float32)
        np.add.at(summed, self.bag_index, self.label_shares[:, None] * labels[self.field_of_row])
        return np.minimum(summed, 1)


Mix = Callable[[BagPlan, np.random.Generator], BagPlan]


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
    repeats
        (F,) int64: an epoch is as long as if each field were there so many times; None is 1 for all.
    mix
        Changes a plan into one with mixed bags; None leaves all as they are.
    """

    def __init__(
        self,
        rows_of_field: Sequence[NDArray[np.int64]],
        weights: NDArray[np.float64],
        settings: BagSettings,
        *,
        repeats: NDArray[np.int64] | None = None,
        mix: Mix | None = None,
    ) -> None:
        self._rows_of_field = rows_of_field
        if repeats is not None:
            weights = weights * repeats
        self._shares = weights / weights.sum()
        self._settings = settings
        self._mix = mix
        self._fields_per_epoch = len(rows_of_field) if repeats is None else int(repeats.sum())
        # The last, smaller batch is left out: its few fields come first in another epoch's order.
        self.batches_per_epoch = max(1, self._fields_per_epoch // settings.fields_per_batch)

    def plan(self, batch: int) -> BagPlan:
        """Draw batch number `batch`, counted from 0 through all epochs."""
        epoch, position = divmod(batch, self.batches_per_epoch)
        size = self._settings.fields_per_batch
        chosen = self._order(epoch)[position * size : (position + 1) * size]
        draw = np.random.default_rng([self._settings.seed, epoch, position])
        rows = [
            draw_rows(self._rows_of_field[field], self._settings.cells_per_field, draw) for field in chosen
        ]
        plan = make_plan(chosen, rows)
        if self._mix is None:
            return plan
        # Draws of its own: which cells the other bags have does not depend on whether some are mixed.
        return self._mix(plan, np.random.default_rng([self._settings.seed, epoch, position, _MIXING]))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """(M,) int64: the M fields of an epoch; one of share s comes floor(s M) or ceil(s M) times."""
        draw = np.random.default_rng([self._settings.seed, epoch])
        ticks = (np.arange(self._fields_per_epoch) + draw.random()) / self._fields_per_epoch
        # Rounding may leave the sum of all shares a hair below the last tick.
        chosen = np.searchsorted(np.cumsum(self._shares), ticks).clip(max=len(self._shares) - 1)
        return draw.permutation(chosen)


def make_plan(chosen: NDArray[np.int64], rows: list[NDArray[np.int64]]) -> BagPlan:
    """Join the rows drawn of each field into one plan."""
    bag_index = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    return BagPlan(
        fields=chosen,
        rows=np.concatenate(rows),
        bag_index=bag_index,
        field_of_row=chosen[bag_index],
        label_shares=np.ones(len(bag_index), dtype=np.float32),
    )


def take_bags(plan: BagPlan, bags: NDArray[np.int64]) -> BagPlan:
    """Keep some of the bags of a plan, given by ascending position, and their cells."""
    chosen = np.isin(plan.bag_index, bags)
    return BagPlan(
        fields=plan.fields[bags],
        rows=plan.rows[chosen],
        bag_index=np.searchsorted(bags, plan.bag_index[chosen]),
        field_of_row=plan.field_of_row[chosen],
        label_shares=plan.label_shares[chosen],
    )


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


def draw_rows(rows: NDArray[np.int64], most: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """At most `most` of the rows, each as likely as any other, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(draw.choice(rows, size=most, replace=False))
