"""From the user's folders and label tables to labelled cells, split into training and validation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import get_class_set
from hpa_cells.fields import (
    FieldSource,
    LabelTable,
    as_label_file,
    assign_folds,
    find_fields,
    match_labels,
    merge_label_tables,
    read_label_table,
)
from hpa_cells.table import Column, read_table
from hpa_cells.training.cell_labels import match_cell_labels
from hpa_cells.training.data import LabelledCells
from hpa_cells.training.field_store import CellStore
from hpa_cells.training.field_weights import leave_out, read_field_weights
from hpa_cells.training.soft_labels import SoftLabelSettings, soft_labels
from hpa_cells.types import Channel

__all__ = [
    "CellLabels",
    "DataSettings",
    "LabelledFields",
    "find_labelled_fields",
    "label_cells",
    "split_folds",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is learned from.

    Attributes
    ----------
    root
        Folder that `fields` and `labels` usually lie in.
    fields
        Folders, zips or CSVs of fields.
    labels
        Label tables, merged: paths of such as the challenges have, or mappings that describe others, see
        `hpa_cells.fields.LabelFile`.
    class_set
        The classes to learn; tables of other classes are mapped to them.
    groups
        Column of the label tables (``antibody``, ``gene`` ...) whose equal values stay in one fold.
    groups_file
        CSV with that column, where the label tables have none.
    num_folds, fold
        The fields are split into `num_folds`; fold number `fold` is for validation.
    fold_seed
        Of the split, so that it stays when other seeds change.
    unmatched
        Labels without field and fields without label: ``refuse`` or ``drop``.
    conflicts
        Label tables that disagree about a field: ``refuse`` or ``keep_first``.
    broken
        Fields that cannot be read: ``refuse`` or ``drop``.
    pixel_size_um
        Side of a pixel where the files do not say, in um.
    review
        CSV of ``field_id`` and ``weight``: how often doubtful fields are drawn in training; None for all alike.
    """

    root: str
    fields: list[str]
    labels: list[Any]
    class_set: str
    groups: str | None
    groups_file: str | None
    num_folds: int
    fold: int
    fold_seed: int
    unmatched: str
    conflicts: str
    broken: str
    pixel_size_um: float | None
    review: str | None

    def __post_init__(self) -> None:
        _check_choice("unmatched", self.unmatched, ("refuse", "drop"))
        _check_choice("conflicts", self.conflicts, ("refuse", "keep_first"))
        _check_choice("broken", self.broken, ("refuse", "drop"))
        if not 0 <= self.fold < self.num_folds:
            raise ValueError(f"data.fold is {self.fold}: give a number from 0 to {self.num_folds - 1}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFields:
    """Fields and their labels, in one order.

    Attributes
    ----------
    sources
        F fields.
    table
        Their labels.
    folds
        (F,) int64.
    weights
        (F,) float64 in [0, 1], see `LabelledCells.weights`; None for all alike.
    """

    sources: list[FieldSource]
    table: LabelTable
    folds: NDArray[np.int64]
    weights: NDArray[np.float64] | None


def find_labelled_fields(settings: DataSettings, *, optional: frozenset[Channel]) -> LabelledFields:
    """Find the fields, read their labels, bring both together and assign folds.

    Parameters
    ----------
    settings
        Where to look.
    optional
        Channels whose file may be missing.
    """
    class_set = get_class_set(settings.class_set)
    tables = [
        read_label_table(as_label_file(each), groups_path=settings.groups_file) for each in settings.labels
    ]
    conflicts = cast(Literal["refuse", "keep_first"], settings.conflicts)
    table = merge_label_tables(tables, class_set, conflicts=conflicts)
    sources = [source for place in settings.fields for source in find_fields(place, optional=optional)]
    _check_unique(sources, settings.fields)
    unmatched = cast(Literal["refuse", "drop"], settings.unmatched)
    sources, table = match_labels(table, sources, unmatched=unmatched)
    folds = assign_folds(table, num_folds=settings.num_folds, seed=settings.fold_seed, groups=settings.groups)
    weights = None if settings.review is None else read_field_weights(settings.review, table.field_ids)
    return LabelledFields(sources=sources, table=table, folds=folds, weights=weights)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellLabels:
    """Labels of single cells.

    Attributes
    ----------
    table
        A cell table: a truth, or what an earlier model said.
    settings
        What is made of its probabilities.
    """

    table: Path
    settings: SoftLabelSettings


def label_cells(fields: LabelledFields, store: CellStore, *, cell_labels: CellLabels | None) -> LabelledCells:
    """Give the cells of the store the labels of their fields and, from a cell table, their own.

    Fields without cells are left out.

    Raises
    ------
    ValueError
        If a cell is not in the table.
    """
    class_set = fields.table.class_set
    rows_of_field = store.rows_of_field()
    positions = [row for row, field_id in enumerate(fields.table.field_ids) if field_id in rows_of_field]
    table = fields.table.take(positions)
    return LabelledCells(
        class_set=class_set,
        field_ids=table.field_ids,
        labels=table.labels,
        rows_of_field=tuple(rows_of_field[field_id] for field_id in table.field_ids),
        store=store,
        cell_targets=None if cell_labels is None else _cell_targets(table, store, cell_labels),
        weights=None if fields.weights is None else fields.weights[positions],
    )


def _cell_targets(table: LabelTable, store: CellStore, cell_labels: CellLabels) -> NDArray[np.float32]:
    """(rows of the store, K) float32 in [0, 1]."""
    probabilities = match_cell_labels(store.cells, read_table(cell_labels.table), table.class_set)
    row_of_field = pd.Index(table.field_ids).get_indexer(pd.Index(store.cells[Column.FIELD_ID]))
    return soft_labels(
        probabilities, table.labels[row_of_field], row_of_field, table.class_set, cell_labels.settings
    )


def split_folds(
    cells: LabelledCells, fields: LabelledFields, fold: int, *, called: str = "cells"
) -> tuple[LabelledCells, LabelledCells]:
    """Split into the cells to learn from, without fields of weight 0, and those of the fold for validation.

    Parameters
    ----------
    cells
        All of them, or squares in their place.
    fields
        Their fields.
    fold
        That for validation.
    called
        What the log calls the cells.

    Raises
    ------
    ValueError
        If one of the two has no field with a cell.
    """
    fold_of = dict(zip(fields.table.field_ids, fields.folds, strict=True))
    in_fold = np.array([fold_of[field_id] == fold for field_id in cells.field_ids])
    training, validation = cells.take(np.flatnonzero(~in_fold)), cells.take(np.flatnonzero(in_fold))
    for part, name in ((training, "training"), (validation, "validation")):
        if not part.field_ids:
            raise ValueError(
                f"Fold {fold} leaves no {name} field with a cell, of {len(cells.field_ids)} fields: "
                "use fewer folds, or more fields."
            )
    training = leave_out(training)
    for part, name in ((training, "training"), (validation, "validation")):
        absent = [cells.class_set.keys[each] for each in np.flatnonzero(~part.labels.any(axis=0))]
        if absent:
            log.warning(
                "No %s field shows %s: they are not learned or not measured.", name, ", ".join(absent)
            )
        log.info("%d %s fields with %d %s.", len(part.field_ids), name, part.num_cells, called)
    return training, validation


def _check_unique(sources: list[FieldSource], places: list[str]) -> None:
    seen: set[str] = set()
    for source in sources:
        if source.field_id in seen:
            raise ValueError(
                f"Field {source.field_id} is in several of {', '.join(places)}: remove all but one."
            )
        seen.add(source.field_id)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"data.{name} is {value!r}: use {' or '.join(choices)}.")
