"""What `hpa-cells calibrate` learns from, and how it tells what that is worth.

Shapes: N cells, T true cells, F fields, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.commands.evaluation import Truth, read_truth
from hpa_cells.commands.out_of_fold import is_out_of_fold
from hpa_cells.fields import LabelTable
from hpa_cells.metrics import (
    CHALLENGE_IOU,
    ReliabilityColumn,
    ScoreColumn,
    calibration_scores,
    halving_shares,
    macro_mean,
    overlapping_cells,
    reliability_bins,
)
from hpa_cells.prediction import AreaWeight, Fusion
from hpa_cells.prediction.fusion_choice import ChoiceSettings, ValidationCells
from hpa_cells.prediction.learned_fusion import LearnedFusion
from hpa_cells.prediction.learning import HeldOut, Validation, matched_cells
from hpa_cells.table import CellTable, Column, Provenance, read_table

__all__ = [
    "AFTER",
    "BEFORE",
    "RULE",
    "STAGE",
    "Material",
    "ReliabilityTables",
    "own_scores",
    "read_material",
    "reliability_tables",
]

BEFORE, AFTER = "before", "after"
RULE, STAGE = "rule", "stage"
_TRUE_FROM = 0.5
_SHOWN = 5
# Of a bin of the picture: with fewer, what is true of it could be nearly anything.
_LEAST_ROWS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """A run beside its truth.

    Attributes
    ----------
    validation
        Scores and truth.
    labels
        The same field labels by field id, to deal the fields into folds.
    provenance
        Of the run.
    """

    validation: Validation
    labels: LabelTable
    provenance: Provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityTables:
    """How far probabilities mean what they say, before and after, for cells or for fields.

    Attributes
    ----------
    per_class
        One row a class: calibration error and Brier score before and after, their support, and of cells the rule and
        the average precision of the cell's own score, of one rule for all and of the learned ones. NaN where a class
        has no positives, or no negatives.
    bins
        Of `reliability_bins`, by class and ``stage``.
    """

    per_class: pd.DataFrame
    bins: pd.DataFrame

    @property
    def means(self) -> dict[str, float]:
        """Mean over the classes that have one, of every score."""
        columns = [str(name) for name, values in self.per_class.items() if values.dtype.kind == "f"]
        return {f"mean_{column}": macro_mean(self.per_class, column) for column in columns}


def read_material(
    table_place: str, truth_place: str, *, missing_fields: str, settings: ChoiceSettings
) -> Material:
    """Read a run and its truth.

    Parameters
    ----------
    table_place, truth_place
        The folder of a cell table; that of a true one, or a CSV of field labels.
    missing_fields
        Fields that only one of them has: ``error`` or ``leave_out``.
    settings
        What shall be tried, for a word where the run lacks what it needs.

    Raises
    ------
    FileNotFoundError
        If there is no table or no truth.
    ValueError
        If the run's scores are not the cells' own, or run and truth do not go together.
    """
    table = read_table(table_place)
    if not own_scores(table.provenance):
        raise ValueError(
            f"{table_place} was not predicted with the cells' own scores alone, or does not say so: predict again with "
            "fusion=cell and without area_weight; fusion and calibration are learned from those."
        )
    truth = read_truth(truth_place, table.class_set)
    table, truth = _of_common_fields(table, truth, missing_fields)
    labels = truth.fields.take(np.argsort(np.array(truth.fields.field_ids)))
    field_scores = table.field_probabilities()
    known = _has_no_nan(field_scores)
    if truth.cells is not None:
        known &= _has_no_nan(truth.cells.field_probabilities())
    validation = Validation(
        class_set=table.class_set,
        field_scores=field_scores,
        field_labels=labels.labels,
        field_known=known,
        cells=None if truth.cells is None else _validation_cells(table, truth.cells),
    )
    if validation.cells is None and not known.any():
        raise ValueError(
            f"{table_place} has no field with scores: there is nothing to calibrate with labels of fields."
        )
    if validation.cells is not None:
        _refuse_useless_cells(Path(table_place), validation.cells, settings)
    return Material(validation=validation, labels=labels, provenance=table.provenance)


def own_scores(provenance: Provenance) -> bool:
    """Whether a table holds what a model says of each cell by itself, neither fused nor weighted by area."""
    settings = provenance.settings
    if provenance.source != "model" or "fusion" not in settings:
        # A cross-fit knows no fusion: its cells have their own scores.
        return is_out_of_fold(provenance)
    if settings["fusion"]["rule"] not in ("weighted", "product"):
        return False
    fusion, area_weight = Fusion(**settings["fusion"]), AreaWeight(**settings["area_weight"])
    is_weighted = area_weight.border_um2 > 0 or area_weight.inner_um2 > 0
    return not (fusion.needs_field or fusion.negative != "own" or is_weighted)


def reliability_tables(
    validation: Validation, held_out: HeldOut, learned: LearnedFusion, *, num_bins: int
) -> dict[str, ReliabilityTables]:
    """The tables of ``cells`` and of ``fields``, where these are known.

    Parameters
    ----------
    validation
        Scores and truth.
    held_out
        What was learned from other fields says of each.
    learned
        What was learned from all; its rules are named.
    num_bins
        Number of bins.
    """
    class_set, known = validation.class_set, validation.field_known
    tables = {}
    if known.any():
        tables["fields"] = _tables(
            validation.field_scores[known],
            held_out.fields[known],
            validation.field_labels[known],
            class_set=class_set,
            num_bins=num_bins,
        )
    if validation.cells is None or held_out.cells is None or learned.rules is None:
        return tables
    rows, labels = matched_cells(validation.cells)
    of_cells = _tables(
        validation.cells.scores[rows], held_out.cells[rows], labels, class_set=class_set, num_bins=num_bins
    )
    of_cells.per_class.insert(2, RULE, learned.rules.words(class_set))
    for position, (name, values) in enumerate(held_out.average_precision.items()):
        of_cells.per_class.insert(3 + position, f"{ScoreColumn.AP}_{name}", values)
    return {"cells": of_cells} | tables


def _tables(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    class_set: ClassSet,
    num_bins: int,
) -> ReliabilityTables:
    scores = {
        stage: calibration_scores(probabilities, labels, class_set, num_bins=num_bins)
        for stage, probabilities in ((BEFORE, before), (AFTER, after))
    }
    names = [ScoreColumn.CLASS_KEY, ScoreColumn.NAME]
    support = [ScoreColumn.NUM_TRUTHS, ReliabilityColumn.NUM_ROWS]
    per_class = scores[BEFORE][names + support].copy()
    for column in (ReliabilityColumn.CALIBRATION_ERROR, ReliabilityColumn.BRIER):
        for stage, of_stage in scores.items():
            per_class[f"{column}_{stage}"] = of_stage[column]
    shares = halving_shares(len(labels), least=_LEAST_ROWS)
    bins = [
        reliability_bins(probabilities[:, index], labels[:, index], shares=shares).assign(
            **{ScoreColumn.CLASS_KEY: key, STAGE: stage}
        )
        for index, key in enumerate(class_set.keys)
        for stage, probabilities in ((BEFORE, before), (AFTER, after))
    ]
    return ReliabilityTables(per_class=per_class, bins=pd.concat(bins, ignore_index=True))


def _of_common_fields(table: CellTable, truth: Truth, missing_fields: str) -> tuple[CellTable, Truth]:
    """The same fields of both."""
    if missing_fields not in ("error", "leave_out"):
        raise ValueError(f"missing_fields is {missing_fields!r}: use one of error, leave_out.")
    of_table, of_truth = set(table.fields[Column.FIELD_ID]), set(truth.fields.field_ids)
    if not of_table & of_truth:
        raise ValueError("Table and truth have no field in common: check that both are of one data set.")
    if missing_fields == "error" and of_table != of_truth:
        raise ValueError(
            f"{len(of_table - of_truth)} fields of the table have no truth ({_listed(of_table - of_truth)}) and "
            f"{len(of_truth - of_table)} of the truth were not predicted ({_listed(of_truth - of_table)}): check that "
            "both are of one data set, or set missing_fields=leave_out."
        )
    common = of_table & of_truth
    rows = [row for row, field_id in enumerate(truth.fields.field_ids) if field_id in common]
    cells = None if truth.cells is None else _restricted(truth.cells, common)
    return _restricted(table, common), Truth(cells=cells, fields=truth.fields.take(rows))


def _restricted(table: CellTable, field_ids: set[str]) -> CellTable:
    cells, fields = (
        rows[rows[Column.FIELD_ID].isin(field_ids)].reset_index(drop=True)
        for rows in (table.cells, table.fields)
    )
    return replace(table, cells=cells, fields=fields)


def _validation_cells(table: CellTable, truth: CellTable) -> ValidationCells:
    """Cells beside true cells; fields are numbered in the order of the table, which is sorted by id."""
    numbers = pd.Series(range(len(table.fields)), index=table.fields[Column.FIELD_ID])
    field_of_cell, field_of_truth = (
        np.asarray(numbers.loc[rows[Column.FIELD_ID]], dtype=np.int64) for rows in (table.cells, truth.cells)
    )
    return ValidationCells(
        scores=table.probabilities(),
        field_scores=table.field_probabilities()[field_of_cell],
        field_of_cell=field_of_cell,
        overlaps=overlapping_cells(table, truth, iou_threshold=CHALLENGE_IOU),
        is_truth=truth.probabilities() >= _TRUE_FROM,
        field_of_truth=field_of_truth,
    )


def _has_no_nan(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(F,) bool, whether a row (F, K) is known."""
    return np.asarray(~np.isnan(values).any(axis=1), dtype=np.bool_)


def _refuse_useless_cells(place: Path, cells: ValidationCells, settings: ChoiceSettings) -> None:
    if not len(cells.overlaps.predicted_rows):
        raise ValueError(
            f"{place} has {len(cells.scores)} cells, none of which lies on a true one (IoU {CHALLENGE_IOU}): check "
            "that both are of one data set, or give a CSV of field labels as truth to calibrate fields alone."
        )
    if np.isnan(cells.field_scores).any() and (settings.rules or settings.negative):
        raise ValueError(
            f"{place} has cells whose field has no scores: set fusion.rules=[] and fusion.negative=[] to calibrate the "
            "cells' own scores, or predict with a model that scores fields."
        )


def _listed(field_ids: set[str]) -> str:
    shown = ", ".join(sorted(field_ids)[:_SHOWN])
    return f"{shown}, ..." if len(field_ids) > _SHOWN else shown or "none"
