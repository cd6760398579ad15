"""Fields in, rows out: the one way through the house, a few fields at a time.

    sources -> [read -> segment -> outline -> score -> join] -> table

The stages run at once, each on another field, in threads of the runner; shards of the table are written behind them.
At any moment the fields under way (with `LocalRunner` its `fields_under_way`) and two shards of rows are in memory,
however many fields there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hpa_cells.fields import FieldSource
from hpa_cells.models import Ensemble
from hpa_cells.prediction.failures import Failure
from hpa_cells.prediction.reading_marks import ReadingMarks
from hpa_cells.prediction.runner import Runner
from hpa_cells.prediction.settings import PredictionSettings
from hpa_cells.prediction.stage_times import StageTimes
from hpa_cells.prediction.stages import prediction_stages
from hpa_cells.segmentation import Segmenter
from hpa_cells.table import Column, TableWriter

__all__ = ["Finished", "predict_fields"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A field whose rows are with the writer."""

    field_id: str
    num_cells: int


def predict_fields(
    sources: Sequence[FieldSource],
    *,
    segmenter: Segmenter,
    models: Ensemble,
    writer: TableWriter,
    settings: PredictionSettings,
    runner: Runner,
    times: StageTimes | None = None,
    marks: ReadingMarks | None = None,
) -> Iterator[Finished | Failure]:
    """Predict every field, and say of each what became of it.

    This is a generator: nothing is done before it is asked for, and a field whose outcome has come out is
    with the writer. On a CPU the rows are the same, to the last bit, for any runner and any batch size.

    Parameters
    ----------
    sources
        The fields; none that the writer has finished.
    segmenter
        Finds their cells; it is called from the threads of the runner, several at once, and not at all if no model
        sees cells.
    models
        One or more models.
    writer
        Where the rows go.
    settings
        All else.
    runner
        Runs the stages.
    times
        Where the stages count how long they take.
    marks
        Where is marked what is being read.

    Yields
    ------
    Finished or Failure
        One a field, in the order of `sources`.

    Raises
    ------
    ValueError
        If the fusion does not suit the class set of the model.
    ValueError, OSError
        If the segmenter lacks what it needs for any field.
    """
    settings.fusion.check(models.class_set)
    if not sources:
        return
    way = partial(prediction_stages, segmenter, models, settings, marks=marks)
    for outcome in runner.run(sources, way, times=StageTimes() if times is None else times):
        if isinstance(outcome, Failure):
            yield outcome
            continue
        writer.add(cells=outcome.cells, field_row=outcome.field)
        yield Finished(field_id=outcome.field[Column.FIELD_ID], num_cells=len(outcome.cells))
