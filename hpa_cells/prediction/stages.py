"""The stages between a field's files and its rows, for a runner to join.

    FieldSource -> read -> segment -> outline -> score -> join -> FieldRows

What a stage hands on is small where many wait: pixels go as soon as they have been seen, label images as soon as their
masks are encoded. On a CPU every field goes through the networks alone, so that its numbers are the same, to the last
bit, whatever other fields there are; on a GPU as many together as wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

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
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.models import Ensemble
from hpa_cells.prediction.conveyor import Ended, Stage
from hpa_cells.prediction.failures import Attempt, Failure, OfField, at_stage
from hpa_cells.prediction.reading_marks import ReadingMarks
from hpa_cells.prediction.scoring import CellPixels, score_cells
from hpa_cells.prediction.settings import PredictionSettings
from hpa_cells.prediction.stage_times import StageTimes
from hpa_cells.segmentation import NetworkSegmenter, Segmenter
from hpa_cells.table import Column
from hpa_cells.types import CellScores, Field, Segmentation

__all__ = ["FieldRows", "prediction_stages", "segmentation_stages"]


T = TypeVar("T", bound=OfField)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldRows:
    """The rows of a finished field, for a `TableWriter`."""

    cells: pd.DataFrame
    field: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Image:
    """A field, with what a segmenter's network sees of it, or has found in it."""

    field: Field
    of_network: Any = None

    @property
    def field_id(self) -> str:
        return self.field.field_id


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


def segmentation_stages(
    segmenter: Segmenter,
    finish: Callable[[Field, Segmentation], R],
    *,
    pixel_size_um: float | None,
    num_fields: int,
    num_threads: int,
    times: StageTimes,
    marks: ReadingMarks | None = None,
) -> list[Stage]:
    """From `FieldSource` to what `finish` makes of a field and its cells.

    Parameters
    ----------
    segmenter
        Prepared.
    finish
        Called from several threads; its errors are faults of the program, but for those `at_stage`.
    pixel_size_um
        Side of a pixel where a file does not say, in um; None for the rule of `hpa_cells.fields.read_field`.
    num_fields
        Number of fields a network on a GPU sees at once.
    num_threads
        Threads of a stage that works on a CPU.
    times
        Where the stages count.
    marks
        Where is marked what is being read.
    """
    add = partial(_stage, times=times, num_threads=num_threads)
    read = partial(_read, pixel_size_um=pixel_size_um, marks=marks)
    if not isinstance(segmenter, NetworkSegmenter):
        return [
            add("read", partial(read, see=_nothing)),
            add("outline", partial(_outline, find=partial(_segment, segmenter), finish=finish)),
        ]
    return [
        add("read", partial(read, see=segmenter.see)),
        add(
            "segment", partial(_infer, segmenter.infer), gpu_batch=num_fields if segmenter.is_on_gpu else None
        ),
        add("outline", partial(_outline, find=segmenter.find, finish=finish)),
    ]


def prediction_stages(
    segmenter: Segmenter,
    models: Ensemble,
    settings: PredictionSettings,
    *,
    num_threads: int,
    times: StageTimes,
    marks: ReadingMarks | None = None,
) -> list[Stage]:
    """From `FieldSource` to `FieldRows`; see `segmentation_stages`.

    Where no model sees cells, none are looked for.
    """
    show = partial(
        _show,
        crops=None if models.crop_settings is None else CropSettings(**models.crop_settings),
        view=None if models.field_settings is None else FieldViewSettings(**models.field_settings),
        squares=None if models.square_settings is None else SquareSettings(**models.square_settings),
    )
    is_on_gpu = next(models.members[0].model.parameters()).device.type != "cpu"
    add = partial(_stage, times=times, num_threads=num_threads)
    return [
        *segmentation_stages(
            segmenter if models.sees_cells else _NoCells(),
            show,
            pixel_size_um=settings.pixel_size_um,
            num_fields=settings.segment_fields,
            num_threads=num_threads,
            times=times,
            marks=marks,
        ),
        add(
            "score",
            partial(_score, models=models, settings=settings),
            gpu_batch=settings.scoring.batch_cells if is_on_gpu else None,
            size_of=lambda cells: max(1, cells.num_seen),
        ),
        add("join", partial(_join, settings=settings)),
    ]


def _stage(
    name: str,
    function: Callable[[Sequence[T]], Sequence[R]],
    *,
    times: StageTimes,
    num_threads: int,
    gpu_batch: int | None = None,
    size_of: Callable[[T], int] = lambda _: 1,
) -> Stage:
    """Stage in which guilty fields end as a `Failure`; on a GPU one batch at a time, on a CPU single fields."""
    return Stage(
        name=name,
        work=partial(_attempted, Attempt(function)),
        num_threads=num_threads if gpu_batch is None else 1,
        batch_size=gpu_batch or 1,
        size_of=size_of,
        time=times.of(name, num_threads if gpu_batch is None else 1),
    )


def _attempted(attempt: Attempt[T, R], items: Sequence[T]) -> list[R | Ended]:
    return [Ended(each) if isinstance(each, Failure) else each for each in attempt(items)]


def _read(
    sources: Sequence[FieldSource],
    *,
    pixel_size_um: float | None,
    marks: ReadingMarks | None,
    see: Callable[[Field], Any],
) -> list[_Image]:
    images = []
    for source in sources:
        with at_stage("read"), marks.reading(source.field_id) if marks is not None else nullcontext():
            field = read_field(source, pixel_size_um=pixel_size_um)
        with at_stage("segment"):
            images.append(_Image(field, see(field)))
    return images


def _nothing(_: Field) -> None:
    """What is seen by no network."""


def _infer(infer: Callable[[Sequence[Any]], list[Any]], images: Sequence[_Image]) -> list[_Image]:
    with at_stage("segment"):
        found = infer([image.of_network for image in images])
    return [_Image(image.field, each) for image, each in zip(images, found, strict=True)]


def _outline(
    images: Sequence[_Image],
    *,
    find: Callable[[Field, Any], Segmentation],
    finish: Callable[[Field, Segmentation], R],
) -> list[R]:
    outlined = []
    for image in images:
        with at_stage("segment"):
            segmentation = find(image.field, image.of_network)
        outlined.append(finish(image.field, segmentation))
    return outlined


def _segment(segmenter: Segmenter, field: Field, _: None) -> Segmentation:
    [segmentation] = segmenter.segment([field])
    return segmentation


class _NoCells:
    """A segmenter that finds nothing, for models that see no cells."""

    @property
    def optional_channels(self) -> frozenset[Any]:
        return frozenset()

    def prepare(self) -> None:
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


def _score(cells: Sequence[_Cells], *, models: Ensemble, settings: PredictionSettings) -> list[_Scored]:
    with at_stage("score"):
        scores = score_cells(models, [each.pixels for each in cells], settings.scoring)
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
