"""Labelled cells and the batches that are made of them.

Shapes: F fields, N cells, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hpa_cells.classes import ClassSet
from hpa_cells.training.bags import (
    BagPlan,
    Bags,
    BagSampler,
    BagSettings,
    field_weights,
    make_plan,
    take_bags,
)
from hpa_cells.training.embedding_store import EmbeddingStore
from hpa_cells.training.field_store import CellStore, FieldStore
from hpa_cells.training.mixing import BagMixer
from hpa_cells.training.processes import num_processes, own_part
from hpa_cells.training.repeats import field_repeats

__all__ = ["BagData", "BagLoader", "LabelledCells"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledCells:
    """Fields with labels and at least one cell each.

    Attributes
    ----------
    class_set
        The K classes.
    field_ids
        (F,) names.
    labels
        (F, K) bool.
    rows_of_field
        For each field the rows of its cells in `store`.
    store
        The crops, the fields as a whole, or the embeddings of the cells.
    cell_targets
        (rows of the store, K) float32 in [0, 1], labels of single cells; None where only fields are labelled.
    cell_weights
        (rows of the store,) float32, 0 or more: how much each cell counts in the loss; None is 1 for all.
    weights
        (F,) float64 in [0, 1], how often each field is drawn in relation to what is usual; None for all alike.
    """

    class_set: ClassSet
    field_ids: tuple[str, ...]
    labels: NDArray[np.bool_]
    rows_of_field: tuple[NDArray[np.int64], ...]
    store: CellStore | EmbeddingStore
    cell_targets: NDArray[np.float32] | None = None
    cell_weights: NDArray[np.float32] | None = None
    weights: NDArray[np.float64] | None = None

    def take(self, fields: NDArray[np.int64]) -> LabelledCells:
        """Keep some of the fields, in this order."""
        return replace(
            self,
            field_ids=tuple(self.field_ids[field] for field in fields),
            labels=self.labels[fields],
            rows_of_field=tuple(self.rows_of_field[field] for field in fields),
            weights=None if self.weights is None else self.weights[fields],
        )

    @property
    def num_cells(self) -> int:
        """Number of cells of all fields."""
        return sum(map(len, self.rows_of_field))


class _BagReader(Dataset[Bags]):
    """Reads the batch of a plan."""

    def __init__(self, cells: LabelledCells) -> None:
        self._cells = cells

    def __getitem__(self, plan: BagPlan) -> Bags:
        labels = self._cells.labels
        targets, weights = self._cells.cell_targets, self._cells.cell_weights
        images, masks = _read(self._cells.store, plan)
        return Bags(
            images=images,
            masks=masks,
            bag_index=torch.from_numpy(plan.bag_index),
            field_labels=torch.from_numpy(plan.field_labels(labels)),
            cell_targets=torch.from_numpy(
                labels[plan.field_of_row].astype(np.float32) if targets is None else targets[plan.rows]
            ),
            cell_weights=None if weights is None else torch.from_numpy(weights[plan.rows]),
        )


class BagLoader:
    """Training batches, an epoch an iteration; it knows where it is, so that a training can go on anywhere.

    Parameters
    ----------
    cells
        The training fields.
    sampler
        Draws the batches.
    workers
        Processes that read ahead.
    pin_memory
        Whether batches go to page-locked memory, for a GPU.
    """

    def __init__(self, cells: LabelledCells, sampler: BagSampler, *, workers: int, pin_memory: bool) -> None:
        self._reader = _BagReader(cells)
        self._sampler = sampler
        self._options = _loader_options(workers, pin_memory)
        self._next_batch = 0

    def __len__(self) -> int:
        return self._sampler.batches_per_epoch

    def __iter__(self) -> Iterator[Bags]:
        remaining = len(self) - self._next_batch % len(self)
        plans = [_own_bags(self._sampler.plan(self._next_batch + ahead)) for ahead in range(remaining)]
        for bags in DataLoader(self._reader, sampler=plans, **self._options):
            self._next_batch += 1
            yield bags

    def state_dict(self) -> dict[str, int]:
        """Where it is; Lightning saves it with the training."""
        return {"next_batch": self._next_batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._next_batch = state["next_batch"]


class BagData(LightningDataModule):
    """Training and validation batches.

    Parameters
    ----------
    training
        Fields to learn from.
    validation
        Fields to choose the best weights and thresholds by.
    settings
        How batches are made.
    """

    def __init__(self, training: LabelledCells, validation: LabelledCells, settings: BagSettings) -> None:
        super().__init__()
        settings = _with_all_cells(settings, training.store)
        self.training = training
        self.validation = validation
        self.settings = settings
        weights = field_weights(training.labels, settings.balance)
        if training.weights is not None:
            weights = weights * training.weights
        repeats = field_repeats(training.labels, training.class_set, settings.repeats)
        mix = None
        if settings.mixes:
            mix = BagMixer(training.rows_of_field, training.labels, weights * repeats, settings)
        self._loader = BagLoader(
            training,
            BagSampler(training.rows_of_field, weights, settings, repeats=repeats, mix=mix),
            workers=settings.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def state_dict(self) -> dict[str, int]:
        """Where the training batches are; Lightning restores it before anything asks for a batch."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self._loader.load_state_dict(state_dict)

    def train_dataloader(self) -> BagLoader:
        """Random bags of the training fields."""
        return self._loader

    def val_dataloader(self) -> DataLoader[Bags]:
        """Every validation field once, always with the same cells."""
        most, size = self.settings.validation_cells_per_field, self.settings.fields_per_batch
        rows = [_spread(each, most) for each in self.validation.rows_of_field]
        plans = [
            _own_bags(make_plan(np.arange(start, end), rows[start:end]))
            for start, end in _batches(len(rows), size, at_least=num_processes())
        ]
        options = _loader_options(self.settings.workers, torch.cuda.is_available())
        return DataLoader(_BagReader(self.validation), sampler=plans, **options)


def _batches(num_fields: int, size: int, *, at_least: int) -> Iterator[tuple[int, int]]:
    """Start and end of each batch; too small a rest goes to the batch before it."""
    ends = [*range(size, num_fields, size), num_fields]
    if len(ends) > 1 and ends[-1] - ends[-2] < at_least:
        del ends[-2]
    return pairwise([0, *ends])


def _own_bags(plan: BagPlan) -> BagPlan:
    """The part of a batch that this process takes, see `training.processes`."""
    return take_bags(plan, own_part(len(plan.fields))) if num_processes() > 1 else plan


def _with_all_cells(settings: BagSettings, store: CellStore | EmbeddingStore) -> BagSettings:
    """The same; but of a field that is read as a whole every cell is used, since none costs anything."""
    if not isinstance(store, FieldStore):
        return settings
    return replace(settings, cells_per_field=len(store.cells), validation_cells_per_field=len(store.cells))


def _read(store: CellStore | EmbeddingStore, plan: BagPlan) -> tuple[Tensor, Tensor | None]:
    """Images and masks of a batch, see `Bags`."""
    if isinstance(store, FieldStore):
        images, masks = store.read(plan.rows, plan.bag_index)
        return torch.from_numpy(images), torch.from_numpy(masks)
    return torch.from_numpy(store.read(plan.rows)), None


def _loader_options(workers: int, pin_memory: bool) -> dict[str, Any]:
    # A plan is a whole batch: torch's own batching is off. Forked readers could hang on torch's threads.
    context = "spawn" if workers else None
    return {
        "batch_size": None,
        "num_workers": workers,
        "pin_memory": pin_memory,
        "multiprocessing_context": context,
    }


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spread over them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
