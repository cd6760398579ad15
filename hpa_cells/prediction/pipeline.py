"""Fields in, rows out: the one way through the house, a few fields at a time.

    sources -> [threads: read -> segment -> crop or resize] -> score in batches across fields -> rows -> table

Models that see squares of fields need no cells: then nothing is segmented, and the table has rows of fields only.
At any moment the fields ahead of the network (`LocalRunner.num_ahead` groups), those waiting for a full batch
and one unwritten shard of rows are in memory, however many fields there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd

from hpa_cells.cells import (
    CropSettings,
    FieldViewSettings,
    SquareSettings,
    cell_rows,
    crop_cells,
    cut_squares,
    field_row,
    view_field,
)
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.models import Ensemble
from hpa_cells.prediction.failures import Failure, at_stage, attempt
from hpa_cells.prediction.fusion import AreaWeight, Fusion, ScoreFusion
from hpa_cells.prediction.runner import LocalRunner
from hpa_cells.prediction.scoring import CellPixels, ScoringSettings, score_cells
from hpa_cells.segmentation import Segmenter
from hpa_cells.table import Column, TableWriter
from hpa_cells.types import CellScores, Field, Segmentation

__all__ = ["Finished", "PredictionSettings", "predict_fields"]

# Fields wait for a full network batch with their label images, 32 MiB each at 2048 px.
_MAX_WAITING_FIELDS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionSettings:
    """Everything between a field and its rows, beside the segmenter and the model.

    Attributes
    ----------
    pixel_size_um
        Side of a pixel where a file does not say, in um; None for the rule of `hpa_cells.fields.read_field`.
    scoring
        Views, batch size and precision.
    fusion
        How the scores of cell and field combine.
    area_weight
        How cells of which little is in view lose confidence.
    embeddings
        Whether the table carries the embedding of each cell.
    segment_fields
        Number of fields handed to the segmenter at once; a network on a GPU likes more than 1.
    """

    pixel_size_um: float | None = None
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    fusion: ScoreFusion = field(default_factory=Fusion)
    area_weight: AreaWeight = field(default_factory=AreaWeight)
    embeddings: bool = True
    segment_fields: int = 1

    def __post_init__(self) -> None:
        if self.pixel_size_um is not None and not self.pixel_size_um > 0:
            raise ValueError(f"pixel_size_um is {self.pixel_size_um}: give a positive number of um, or null.")
        if self.segment_fields < 1:
            raise ValueError(f"segment_fields is {self.segment_fields}: give at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A field whose rows are with the writer."""

    field_id: str
    num_cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prepared:
    """A field that waits for the network; its image is gone already."""

    segmentation: Segmentation
    pixels: CellPixels

    @property
    def field_id(self) -> str:
        return self.segmentation.field_id


def predict_fields(
    sources: Sequence[FieldSource],
    *,
    segmenter: Segmenter,
    models: Ensemble,
    writer: TableWriter,
    settings: PredictionSettings,
    runner: LocalRunner,
) -> Iterator[Finished | Failure]:
    """Predict every field that the writer has not finished, and say of each what became of it.

    This is a generator: nothing is done before it is asked for, and a field whose outcome has come out is
    with the writer.

    Parameters
    ----------
    sources
        The fields.
    segmenter
        Finds their cells; it is called from the threads of the runner, several at once, and not at all if no model
        sees cells.
    models
        One or more models, on the device where they shall run.
    writer
        Where the rows go.
    settings
        All else.
    runner
        Runs the stages before the network.

    Yields
    ------
    Finished or Failure
        One a field; a failed one may overtake those that wait for a full batch.

    Raises
    ------
    ValueError
        If the fusion does not suit the class set of the model.
    ValueError, OSError
        If the segmenter lacks what it needs for any field.
    """
    settings.fusion.check(models.class_set)
    prepare = partial(
        _prepare,
        segment=segmenter.segment if models.sees_cells else _without_cells,
        show=partial(
            _show,
            crops=None if models.crop_settings is None else CropSettings(**models.crop_settings),
            view=None if models.field_settings is None else FieldViewSettings(**models.field_settings),
            squares=None if models.square_settings is None else SquareSettings(**models.square_settings),
        ),
        pixel_size_um=settings.pixel_size_um,
    )
    todo = [source for source in sources if source.field_id not in writer.finished]
    if todo and models.sees_cells:
        segmenter.prepare()
    groups = _groups(todo, settings.segment_fields)
    waiting: list[_Prepared] = []
    for outcome in chain.from_iterable(runner.map(partial(attempt, prepare), groups)):
        if isinstance(outcome, Failure):
            yield outcome
            continue
        waiting.append(outcome)
        if _is_full(waiting, settings.scoring.batch_cells):
            yield from _finish(waiting, models, writer, settings)
            waiting = []
    yield from _finish(waiting, models, writer, settings)


def _prepare(
    group: Sequence[FieldSource],
    *,
    segment: Callable[[Sequence[Field]], list[Segmentation]],
    show: Callable[[Field, Segmentation], CellPixels],
    pixel_size_um: float | None,
) -> list[_Prepared]:
    """Read, segment and crop or resize fields that the segmenter takes at once."""
    with at_stage("read"):
        fields = [read_field(source, pixel_size_um=pixel_size_um) for source in group]
    with at_stage("segment"):
        segmentations = segment(fields)
    with at_stage("crop"):
        shown = [show(*pair) for pair in zip(fields, segmentations, strict=True)]
    return [
        _Prepared(segmentation=cells, pixels=pixels)
        for cells, pixels in zip(segmentations, shown, strict=True)
    ]


def _without_cells(fields: Sequence[Field]) -> list[Segmentation]:
    """Segmentations in which there is nothing."""
    nothing = [np.zeros((each.height_px, each.width_px), dtype=np.int32) for each in fields]
    return [
        Segmentation(field_id=each.field_id, cells=labels, nuclei=labels, pixel_size_um=each.pixel_size_um)
        for each, labels in zip(fields, nothing, strict=True)
    ]


def _show(
    field: Field,
    segmentation: Segmentation,
    *,
    crops: CropSettings | None,
    view: FieldViewSettings | None,
    squares: SquareSettings | None,
) -> CellPixels:
    """What the models see of a field."""
    return CellPixels(
        crops=None if crops is None else crop_cells(field, segmentation, crops),
        view=None if view is None else view_field(field, segmentation, view),
        squares=None if squares is None else cut_squares(field, squares, num=squares.num_predicted),
    )


def _groups(sources: Sequence[FieldSource], size: int) -> Iterator[Sequence[FieldSource]]:
    for start in range(0, len(sources), size):
        yield sources[start : start + size]


def _is_full(waiting: Sequence[_Prepared], batch_cells: int) -> bool:
    num_seen = sum(len(each.pixels.cell_ids) + each.pixels.num_squares for each in waiting)
    return num_seen >= batch_cells or len(waiting) >= _MAX_WAITING_FIELDS


def _finish(
    waiting: Sequence[_Prepared], models: Ensemble, writer: TableWriter, settings: PredictionSettings
) -> Iterator[Finished | Failure]:
    """Score the waiting fields together and hand their rows to the writer."""

    def score(group: Sequence[_Prepared]) -> list[tuple[_Prepared, CellScores]]:
        with at_stage("score"):
            scores = score_cells(models, [each.pixels for each in group], settings.scoring)
        return list(zip(group, scores, strict=True))

    for outcome in attempt(score, waiting):
        if isinstance(outcome, Failure):
            yield outcome
            continue
        prepared, scores = outcome
        cells = _rows(prepared.segmentation, scores, settings)
        of_field = replace(scores, field_probabilities=settings.fusion.of_field(scores.field_probabilities))
        writer.add(cells=cells, field_row=field_row(prepared.segmentation, of_field))
        yield Finished(field_id=scores.field_id, num_cells=len(cells))


def _rows(segmentation: Segmentation, scores: CellScores, settings: PredictionSettings) -> pd.DataFrame:
    """Rows of the cells, with the probabilities a user asked for."""
    probabilities = settings.fusion.combine(
        scores.probabilities, scores.field_probabilities, scores.class_set
    )
    embeddings = scores.embeddings if settings.embeddings else scores.embeddings[:, :0]
    cells = cell_rows(segmentation, replace(scores, probabilities=probabilities, embeddings=embeddings))
    weights = settings.area_weight.weights(
        cells[Column.AREA_UM2].to_numpy(), cells[Column.TOUCHES_BORDER].to_numpy()
    )
    columns = Column.probabilities(scores.class_set)
    cells[columns] = cells[columns].mul(weights, axis="index")
    return cells
