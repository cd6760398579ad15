"""The scores of one run: of its cells, its masks and its fields.

Shapes: N cells, F fields, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.fields import LabelTable, merge_label_tables, read_label_table
from hpa_cells.metrics import (
    CHALLENGE_IOU,
    ScoreColumn,
    average_precision_of_matches,
    average_precision_per_class,
    challenge_average_precision,
    label_images,
    macro_mean,
    match_detections,
    multilabel_scores,
    overlapping_cells,
    score_instances,
)
from hpa_cells.table import CellTable, Column, read_table

__all__ = ["EvaluationColumn", "MissingFieldRule", "RunScores", "Truth", "read_truth", "score_run"]

MissingFields: TypeAlias = Literal["error", "no_cells"]
MissingFieldRule: TypeAlias = Literal["error", "no_cells", "leave_out"]

_NAMES = [ScoreColumn.CLASS_KEY, ScoreColumn.NAME]
_TRUE_FROM = 0.5
_MASK_IOUS = (0.5, CHALLENGE_IOU, 0.75, 0.9)


class EvaluationColumn:
    """Columns of ``per_class.csv`` beside those of `ScoreColumn`, which are of the challenge's metric."""

    RANDOM_AP: Final = "random_ap"
    MATCHED_AP: Final = "matched_ap"
    NUM_MATCHED_TRUTHS: Final = "num_matched_truths"
    FIELD_AP: Final = "field_ap"
    FIELD_PRECISION: Final = "field_precision"
    FIELD_RECALL: Final = "field_recall"
    FIELD_F1: Final = "field_f1"
    FIELD_THRESHOLD: Final = "field_threshold"
    NUM_TRUE_FIELDS: Final = "num_true_fields"


_AVERAGED = (
    ScoreColumn.AP,
    ScoreColumn.AP_WORST,
    ScoreColumn.AP_BEST,
    EvaluationColumn.RANDOM_AP,
    EvaluationColumn.MATCHED_AP,
    EvaluationColumn.FIELD_AP,
    EvaluationColumn.FIELD_PRECISION,
    EvaluationColumn.FIELD_RECALL,
    EvaluationColumn.FIELD_F1,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is known of the fields.

    Attributes
    ----------
    cells
        The true cells; None where only fields are labelled.
    fields
        The locations of each field.
    """

    cells: CellTable | None
    fields: LabelTable


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """How good a run is.

    Attributes
    ----------
    per_class
        One row a class: `ScoreColumn` and `EvaluationColumn`; a class without truth is NaN beside a 0.
    summary
        Means over the classes that have truth, and numbers of fields and cells.
    masks
        One row an IoU threshold, see `score_instances`; empty where no masks are known.
    field_f1_by_rule
        Macro F1 of the fields for each rule of thresholds that could be applied.
    """

    per_class: pd.DataFrame
    summary: Mapping[str, float | int]
    masks: pd.DataFrame
    field_f1_by_rule: Mapping[str, float]


def read_truth(path: Path | str, class_set: ClassSet) -> Truth:
    """Read a cell table of the truth, or a CSV of field labels, whose classes are mapped to `class_set`.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If it cannot be read, or the cell table has another class set.
    """
    path = Path(path)
    if path.is_file():
        return Truth(cells=None, fields=merge_label_tables([read_label_table(path)], class_set))
    cells = read_table(path)
    if cells.class_set.name != class_set.name:
        raise ValueError(
            f"{path} has the classes of {cells.class_set.name}, the run those of {class_set.name}: "
            "give a truth of the same class set, or a CSV of field labels, which is mapped."
        )
    fields = LabelTable(
        class_set=class_set,
        field_ids=tuple(cells.fields[Column.FIELD_ID]),
        labels=cells.field_probabilities() >= _TRUE_FROM,
    )
    return Truth(cells=cells, fields=fields)


def score_run(
    table: CellTable,
    truth: Truth,
    *,
    thresholds: NDArray[np.float64],
    rules: Mapping[str, NDArray[np.float64]],
    missing_fields: MissingFieldRule,
    ties: Literal["order", "average"],
    seed: int,
) -> RunScores:
    """Score everything of a run for which there is a truth.

    Parameters
    ----------
    table
        The run.
    truth
        What is known of its fields.
    thresholds
        (K,) from which probability on a field has a class.
    rules
        Further ones by name, of which only macro F1 is told.
    missing_fields
        True fields that the run lacks: ``error``, ``no_cells`` (nothing was found in them) or ``leave_out``.
    ties
        See `challenge_average_precision`.
    seed
        Of the random confidences that the masks of the run are scored with for comparison.

    Raises
    ------
    ValueError
        If run and truth are of different fields.
    """
    if missing_fields == "leave_out":
        truth, missing_fields = _of_fields(truth, set(table.fields[Column.FIELD_ID])), "error"
    per_class = _score_fields(table, truth.fields, thresholds, missing_fields)
    by_rule = {name: _macro_f1(table, truth.fields, each, missing_fields) for name, each in rules.items()}
    counts = {"num_fields": len(table.fields), "num_cells": len(table.cells)}
    masks = pd.DataFrame()
    if truth.cells is not None:
        of_cells = _score_cells(table, truth.cells, missing_fields=missing_fields, ties=ties, seed=seed)
        per_class = pd.concat([of_cells, per_class.drop(columns=_NAMES)], axis=1)
        counts["num_true_cells"] = len(truth.cells.cells)
        images = label_images(table, truth.cells, missing_fields=missing_fields)
        masks = score_instances(images, iou_thresholds=_MASK_IOUS)
    summary = counts | _means(per_class)
    return RunScores(per_class=per_class, summary=summary, masks=masks, field_f1_by_rule=by_rule)


def _means(per_class: pd.DataFrame) -> dict[str, float]:
    return {f"mean_{column}": macro_mean(per_class, column) for column in _AVERAGED if column in per_class}


def _of_fields(truth: Truth, field_ids: set[str]) -> Truth:
    rows = [row for row, field_id in enumerate(truth.fields.field_ids) if field_id in field_ids]
    cells = truth.cells
    if cells is not None:
        own_cells, own_fields = (
            rows_of[rows_of[Column.FIELD_ID].isin(field_ids)].reset_index(drop=True)
            for rows_of in (cells.cells, cells.fields)
        )
        cells = replace(cells, cells=own_cells, fields=own_fields)
    return Truth(cells=cells, fields=truth.fields.take(rows))


def _score_cells(
    table: CellTable,
    truth: CellTable,
    *,
    missing_fields: MissingFields,
    ties: Literal["order", "average"],
    seed: int,
) -> pd.DataFrame:
    """Score cells: by the challenge's metric, with random confidences, and those with right masks alone."""
    scores = challenge_average_precision(table, truth, ties=ties, missing_fields=missing_fields)
    overlaps = overlapping_cells(table, truth, iou_threshold=CHALLENGE_IOU, missing_fields=missing_fields)
    is_truth = truth.probabilities() >= _TRUE_FROM
    random = np.random.default_rng(seed).random((len(table.cells), len(table.class_set)))
    scores[EvaluationColumn.RANDOM_AP] = [
        average_precision_of_matches(
            confidences, match_detections(overlaps, confidences, is_class), int(is_class.sum())
        )
        for confidences, is_class in zip(random.T, is_truth.T, strict=True)
    ]
    matched_truths = is_truth[overlaps.truth_rows]
    scores[EvaluationColumn.MATCHED_AP] = average_precision_per_class(
        table.probabilities()[overlaps.predicted_rows], matched_truths
    )
    scores[EvaluationColumn.NUM_MATCHED_TRUTHS] = matched_truths.sum(axis=0)
    return scores


def _score_fields(
    table: CellTable, truth: LabelTable, thresholds: NDArray[np.float64], missing_fields: MissingFields
) -> pd.DataFrame:
    """Score the field probabilities; a field without cells shows nothing: probability 0 of every class."""
    by_id = table.fields.set_index(Column.FIELD_ID)[Column.probabilities(table.class_set)]
    _check_fields(by_id.index, pd.Index(truth.field_ids), missing_fields)
    probabilities = by_id.reindex(truth.field_ids).fillna(0).to_numpy(dtype=np.float64)
    scores = multilabel_scores(probabilities >= thresholds, truth.labels, table.class_set)
    scores[EvaluationColumn.FIELD_AP] = average_precision_per_class(probabilities, truth.labels)
    scores[EvaluationColumn.FIELD_THRESHOLD] = thresholds
    return scores.drop(columns=ScoreColumn.NUM_DETECTIONS).rename(
        columns={
            ScoreColumn.PRECISION: EvaluationColumn.FIELD_PRECISION,
            ScoreColumn.RECALL: EvaluationColumn.FIELD_RECALL,
            ScoreColumn.F1: EvaluationColumn.FIELD_F1,
            ScoreColumn.NUM_TRUTHS: EvaluationColumn.NUM_TRUE_FIELDS,
        }
    )


def _macro_f1(
    table: CellTable, truth: LabelTable, thresholds: NDArray[np.float64], missing_fields: MissingFields
) -> float:
    return macro_mean(_score_fields(table, truth, thresholds, missing_fields), EvaluationColumn.FIELD_F1)


def _check_fields(predicted: pd.Index, truth: pd.Index, missing_fields: MissingFields) -> None:
    unknown, missing = predicted.difference(truth), truth.difference(predicted)
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} predicted fields have no truth ({', '.join(unknown[:5])} …): "
            "give the truth of the fields that were predicted."
        )
    if len(missing) and missing_fields == "error":
        raise ValueError(
            f"{len(missing)} true fields were not predicted ({', '.join(missing[:5])} …): predict them, "
            "or set missing_fields=no_cells to count them as missed, or =leave_out to forget them."
        )
