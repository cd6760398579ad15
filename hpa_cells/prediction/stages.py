"""The stages between a field's files and its rows, for a runner to join.

    FieldSource -> read -> segment -> outline -> score -> join -> FieldRows

What a stage hands on is small where many wait: pixels go as soon as they have been seen, label images as soon as their
masks are encoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hpa_cells.cells import (
    CropSettings,
    FieldViewSettings,
    MaskRows,
    SquareSettings,
    cell_rows,
    crop_cells,
    cut_squares,
    field_row,
    mask_rows,
    measure_cells,
    view_field,
)
from hpa_cells.models import Ensemble
from hpa_cells.prediction.conveyor import Stage
from hpa_cells.prediction.failures import at_stage
from hpa_cells.prediction.memory import BatchLimit, BatchLimits
from hpa_cells.prediction.reading_marks import ReadingMarks
from hpa_cells.prediction.scoring import CellPixels, pick_device, score_cells
from hpa_cells.prediction.segmenting import make_stage, segmentation_stages
from hpa_cells.prediction.settings import PredictionSettings
from hpa_cells.prediction.stage_times import StageTimes
from hpa_cells.segmentation import Segmenter, device_kind
from hpa_cells.table import Column
from hpa_cells.types import CellScores, Field, Segmentation

__all__ = ["FieldRows", "prediction_stages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldRows:
    """The rows of a finished field, for a `TableWriter`."""

    cells: pd.DataFrame
    field: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Cells:
    """What models see of a field, and what its masks put into the table."""

    masks: MaskRows
    pixels: CellPixels

    @property
    def field_id(self) -> str:
        return self.masks.field_id

    @property
    def num_seen(self) -> int:
        return len(self.masks.cell_ids) + self.pixels.num_squares


@dataclass(frozen=True, slots=True)
class _Scored:
    masks: MaskRows
    scores: CellScores

    @property
    def field_id(self) -> str:
        return self.masks.field_id


def prediction_stages(
    segmenter: Segmenter,
    models: Ensemble,
    settings: PredictionSettings,
    *,
    marks: ReadingMarks | None = None,
    num_threads: int,
    times: StageTimes,
) -> list[Stage]:
    """From `FieldSource` to `FieldRows`; see `segmentation_stages`.

    Where no model sees cells, none are looked for.
    """
    # Where the stages are made, there may be no such device: those that need it are at work elsewhere.
    kind = models.device.type if settings.device is None else device_kind(settings.device)
    show = partial(
        _show,
        crops=None if models.crop_settings is None else CropSettings(**models.crop_settings),
        view=None if models.field_settings is None else FieldViewSettings(**models.field_settings),
        squares=None if models.square_settings is None else SquareSettings(**models.square_settings),
    )
    add = partial(make_stage, times=times, num_threads=num_threads)
    return [
        *segmentation_stages(
            segmenter if models.sees_cells else _NoCells(),
            show,
            pixel_size_um=settings.pixel_size_um,
            num_fields=settings.segment_fields,
            marks=marks,
            num_threads=num_threads,
            times=times,
        ),
        add(
            "score",
            partial(_score, models=models, settings=settings, limits=defaultdict(BatchLimit)),
            prepare=partial(_to_device, models, settings.device),
            is_network=True,
            gpu_batch=settings.scoring.batch_cells if kind != "cpu" else None,
            size_of=lambda cells: max(1, cells.num_seen),
        ),
        add("join", partial(_join, settings=settings)),
    ]


class _NoCells:
    """A segmenter that finds nothing, for models that see no cells."""

    @property
    def optional_channels(self) -> frozenset[Any]:
        return frozenset()

    def prepare(self) -> None:
        pass

    def fingerprint(self) -> None:
        pass

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        nothing = [np.zeros((each.height_px, each.width_px), dtype=np.int32) for each in fields]
        return [
            Segmentation(
                field_id=each.field_id, cells=labels, nuclei=labels, pixel_size_um=each.pixel_size_um
            )
            for each, labels in zip(fields, nothing, strict=True)
        ]


def _show(
    field: Field,
    segmentation: Segmentation,
    *,
    crops: CropSettings | None,
    view: FieldViewSettings | None,
    squares: SquareSettings | None,
) -> _Cells:
    """What the models see of a field, and its masks."""
    with at_stage("crop"):
        measured = measure_cells(segmentation)
        pixels = CellPixels(
            crops=None if crops is None else crop_cells(field, segmentation, crops, measured=measured),
            view=None if view is None else view_field(field, segmentation, view, measured=measured),
            squares=None if squares is None else cut_squares(field, squares, num=squares.num_predicted),
        )
        return _Cells(mask_rows(segmentation, measured), pixels)


def _to_device(models: Ensemble, name: str | None) -> None:
    if name is not None:
        models.to(pick_device(name))


def _score(
    cells: Sequence[_Cells], *, models: Ensemble, settings: PredictionSettings, limits: BatchLimits
) -> list[_Scored]:
    with at_stage("score"):
        scores = score_cells(models, [each.pixels for each in cells], settings.scoring, limits=limits)
    return [_Scored(each.masks, own) for each, own in zip(cells, scores, strict=True)]


def _join(fields: Sequence[_Scored], *, settings: PredictionSettings) -> list[FieldRows]:
    return [_rows(each.masks, each.scores, settings) for each in fields]


def _rows(masks: MaskRows, scores: CellScores, settings: PredictionSettings) -> FieldRows:
    """Rows with the probabilities a user asked for."""
    probabilities = settings.fusion.combine(
        scores.probabilities, scores.field_probabilities, scores.class_set
    )
    weights = settings.area_weight.weights(masks.cells[Column.AREA_UM2], masks.cells[Column.TOUCHES_BORDER])
    probabilities = probabilities * weights[np.searchsorted(masks.cell_ids, scores.cell_ids), None]
    embeddings = scores.embeddings if settings.embeddings else scores.embeddings[:, :0]
    cells = cell_rows(masks, replace(scores, probabilities=probabilities, embeddings=embeddings))
    of_field = replace(scores, field_probabilities=settings.fusion.of_field(scores.field_probabilities))
    return FieldRows(cells=cells, field=field_row(masks, of_field))
