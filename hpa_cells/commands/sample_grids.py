"""The part of ``hpa-cells explore`` that draws samples: a picture a class of its fields, and one of their cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.workers import worker_processes
from hpa_cells.explore import (
    Samples,
    SampleSettings,
    draw_cells,
    draw_fields,
    read_cells_of_fields,
    read_field_scores,
)
from hpa_cells.fields import FieldSource, LabelTable, read_field
from hpa_cells.figures import save_figure
from hpa_cells.prediction import Failure
from hpa_cells.report import cell_tile, field_tile, read_pixels, tile_grid
from hpa_cells.report.colors import short_name
from hpa_cells.table import CellTable, Column

__all__ = ["write_samples"]

log = logging.getLogger(__name__)

_TILE_PX = 240
_CALLED_FROM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """A field to draw; where there is a table, with its part of it, and the rows of the whole that are drawn."""

    source: FieldSource
    table: CellTable | None
    cells: pd.DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tiles:
    """A field that is drawn, and its cells by row number."""

    field_id: str
    of_field: NDArray[np.uint8]
    of_cells: dict[int, NDArray[np.uint8]] = field(default_factory=dict)


def write_samples(
    sources: Sequence[FieldSource],
    labels: LabelTable | None,
    folder: Path | None,
    line_of: Mapping[str, str],
    *,
    settings: SampleSettings,
    pixel_size_um: float | None,
    workers: int,
    out: Path,
) -> list[Failure]:
    """Write ``samples/<class>.png`` and, with a cell table, ``samples/<class>_cells.png``.

    Parameters
    ----------
    sources
        The fields that can be read.
    labels
        Of the fields; None: a field has the classes for which the table gives it 0.5 or more.
    folder
        A cell table; None draws no cells.
    line_of
        The cell line of a field, which is told where it is known.
    settings
        How much of what.
    pixel_size_um, workers
        As in the settings of the command.
    out
        Where to write.

    Returns
    -------
    Fields that could not be drawn.
    """
    by_id = {source.field_id: source for source in sources}
    samples = _drawn_fields(by_id, labels, folder, settings)
    table: CellTable | None = None
    rows: Sequence[NDArray[np.int64]] = ()
    if folder is not None and settings.cells:
        table = read_cells_of_fields(folder, samples.labels_of.keys())
        rows = draw_cells(samples, table.cells, settings)
    tiles, failures = _draw(_jobs(by_id, samples, table, rows), pixel_size_um, workers)
    what = "labelled so" if labels is not None else f"with a score of {_CALLED_FROM:g} or more"
    for column, key in enumerate(samples.class_set.keys):
        name, shown = (
            samples.class_set.names[column],
            [field_id for field_id in samples.field_ids[column] if field_id in tiles],
        )
        if shown:
            pictures = [tiles[field_id].of_field for field_id in shown]
            words = [_words(samples, column, field_id, line_of) for field_id in shown]
            figure = tile_grid(pictures, words, settings.columns, f"{name}: fields {what}, at random")
            save_figure(figure, out / "samples" / f"{key}.png")
        if table is not None:
            _write_cells(
                table, tiles, rows[column], key, f"{name}: cells of fields {what}, at random", settings, out
            )
    absent = [
        key for key, of_class in zip(samples.class_set.keys, samples.field_ids, strict=True) if not of_class
    ]
    if absent:
        log.info("No field to draw of %s.", ", ".join(absent))
    return failures


def _drawn_fields(
    by_id: Mapping[str, FieldSource], labels: LabelTable | None, folder: Path | None, settings: SampleSettings
) -> Samples:
    """Those of the fields that can be read which are labelled, or score, as a class."""
    if labels is not None:
        class_set, field_ids, has = labels.class_set, labels.field_ids, labels.labels
    else:
        assert folder is not None
        scores = read_field_scores(folder)
        class_set, field_ids = scores.class_set, scores.field_ids
        # Where a field has no cells, and no scores, it has no class.
        has = scores.probabilities >= _CALLED_FROM
    kept = [row for row, field_id in enumerate(field_ids) if field_id in by_id]
    return draw_fields(has[kept], [field_ids[row] for row in kept], class_set, settings)


def _jobs(
    by_id: Mapping[str, FieldSource],
    samples: Samples,
    table: CellTable | None,
    rows: Sequence[NDArray[np.int64]],
) -> list[_Job]:
    """What is to be drawn of each field, however many classes it is drawn for."""
    if table is None:
        none = pd.DataFrame()
        return [
            _Job(source=by_id[field_id], table=None, cells=none) for field_id in sorted(samples.labels_of)
        ]
    wanted = table.cells.loc[np.unique(np.concatenate(rows))]
    in_table = set(table.fields[Column.FIELD_ID])
    return [
        _Job(
            source=by_id[field_id],
            table=table.of_field(field_id) if field_id in in_table else None,
            cells=wanted[wanted[Column.FIELD_ID] == field_id],
        )
        for field_id in sorted(samples.labels_of)
    ]


def _draw(
    jobs: Sequence[_Job], pixel_size_um: float | None, workers: int
) -> tuple[dict[str, _Tiles], list[Failure]]:
    tiles: dict[str, _Tiles] = {}
    failures: list[Failure] = []
    work = partial(_tiles_of, pixel_size_um=pixel_size_um)
    with worker_processes(workers) as run_all, field_progress("draw samples", len(jobs)) as progress:
        for outcome in run_all(work, jobs):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                progress.note(f"{outcome.field_id} failed to {outcome.stage}: {outcome.error}")
            else:
                tiles[outcome.field_id] = outcome
            progress.advance()
    return tiles, failures


def _tiles_of(job: _Job, *, pixel_size_um: float | None) -> _Tiles | Failure:
    field_id, table = job.source.field_id, job.table
    try:
        if table is None:
            channels = normalise_field(read_field(job.source, pixel_size_um=pixel_size_um))
            return _Tiles(field_id=field_id, of_field=field_tile(channels, side_px=_TILE_PX))
        channels, _, labels = read_pixels(table, job.source)
    except (OSError, ValueError) as error:
        return Failure(field_id=field_id, stage="draw", error=str(error))
    return _Tiles(
        field_id=field_id,
        of_field=field_tile(channels, side_px=_TILE_PX),
        of_cells={
            index: cell_tile(channels, labels, row, side_px=_TILE_PX)
            for index, (_, row) in zip(job.cells.index.tolist(), job.cells.iterrows(), strict=True)
        },
    )


def _words(samples: Samples, column: int, field_id: str, line_of: Mapping[str, str]) -> str:
    """The id of a field, its other classes and its cell line."""
    others = [
        short_name(samples.class_set.keys[each])
        for each in np.flatnonzero(samples.labels_of[field_id])
        if each != column
    ]
    lines = [field_id, *([f"also {', '.join(others)}"] if others else []), line_of.get(field_id, "")]
    return "\n".join(line for line in lines if line)


def _write_cells(
    table: CellTable,
    tiles: Mapping[str, _Tiles],
    rows: NDArray[np.int64],
    key: str,
    title: str,
    settings: SampleSettings,
    out: Path,
) -> None:
    """Write the cells of a class that could be drawn, each with its score of it where the table has the class."""
    ids = table.cells[Column.FIELD_ID].to_numpy()
    shown = [row for row in rows.tolist() if ids[row] in tiles and row in tiles[ids[row]].of_cells]
    if not shown:
        return
    cells = table.cells.loc[shown]
    scores = [""] * len(shown)
    if key in table.class_set.keys:
        column = Column.probabilities(table.class_set)[table.class_set.index(key)]
        scores = [f"score {score:.2f}\n" if np.isfinite(score) else "" for score in cells[column]]
    words = [
        f"{score}{field_id}\ncell {cell_id}"
        for score, field_id, cell_id in zip(
            scores, cells[Column.FIELD_ID], cells[Column.CELL_ID], strict=True
        )
    ]
    pictures = [tiles[ids[row]].of_cells[row] for row in shown]
    save_figure(tile_grid(pictures, words, settings.columns, title), out / "samples" / f"{key}_cells.png")
