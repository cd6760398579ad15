"""What the page of a run shows, put together from its table, its truth and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from platform import python_version

import numpy as np
from numpy.typing import NDArray

import hpa_cells
from hpa_cells.report.colors import short_name
from hpa_cells.report.curves import class_curves
from hpa_cells.report.drawing import FieldPicture
from hpa_cells.report.field_charts import field_charts
from hpa_cells.report.matrices import Matrix, co_occurrence, confusion
from hpa_cells.report.page import Failure, FieldEntry, Page
from hpa_cells.report.payload import picture_payload, run_payload
from hpa_cells.report.selection import Selection
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.summary import summarise_classes, summarise_run
from hpa_cells.report.tiles import TileMaker
from hpa_cells.report.truth import KnownTruth
from hpa_cells.table import CellTable, Column

__all__ = ["Pictures", "page_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """What was drawn: fields, and single cells by their row of ``table.cells``; and what could not be read."""

    fields: list[FieldPicture] = field(default_factory=list)
    tiles: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    unreadable: list[Failure] = field(default_factory=list)


def page_of(
    table: CellTable,
    selection: Selection,
    pictures: Pictures,
    known: KnownTruth | None,
    *,
    settings: ReportSettings,
    failures: Sequence[Failure],
) -> Page:
    """All that the page shows; `known` is None where no truth is known."""
    evidence = None if known is None else known.evidence
    maker = TileMaker.of(table, known, pictures.tiles)
    shown = [picture.field_id for picture in pictures.fields]
    payload = run_payload(table, shown, known, threshold=settings.threshold)
    return Page(
        title=settings.title or "Run",
        run=summarise_run(table, evidence),
        classes=summarise_classes(table, evidence, threshold=settings.threshold),
        threshold=settings.threshold,
        payload=payload,
        fields=_entries(table, pictures, known, settings),
        tiles=maker.of_classes(selection),
        disagreements=maker.of_disagreements(selection),
        curves=[] if evidence is None else class_curves(evidence),
        matrices=_matrices(table, known, settings.threshold),
        charts=field_charts(table, threshold=settings.threshold),
        scored=None if evidence is None else evidence.of,
        failures=[*failures, *pictures.unreadable],
        provenance=table.provenance,
        versions={"Page by hpa_cells": hpa_cells.__version__, "Python": python_version()},
        notes=_notes(table, selection, known),
    )


def _entries(
    table: CellTable, pictures: Pictures, known: KnownTruth | None, settings: ReportSettings
) -> list[FieldEntry]:
    """The fields of the page, with the names of their classes."""
    names = [short_name(key) for key in table.class_set.keys]
    called = table.field_probabilities() >= settings.threshold
    rows = {field_id: row for row, field_id in enumerate(table.fields[Column.FIELD_ID])}
    true = {} if known is None else known.classes_of_field
    return [
        FieldEntry(
            field_id=picture.field_id,
            thumbnail=picture.thumbnail,
            num_cells=len(picture.outlines),
            predicted=[names[index] for index in np.flatnonzero(called[rows[picture.field_id]])],
            true=[names[index] for index in true[picture.field_id]] if picture.field_id in true else None,
            payload=picture_payload(picture),
        )
        for picture in pictures.fields
    ]


def _matrices(table: CellTable, known: KnownTruth | None, threshold: float) -> list[Matrix]:
    # A field that has no cells has no probability, and nothing called.
    of_fields = co_occurrence(
        table.field_probabilities() >= threshold, of="fields", title="Called together in a field"
    )
    if known is None:
        called = co_occurrence(table.probabilities() >= threshold, of="cells", title="Called together")
        return [each for each in (called, of_fields) if each is not None]
    evidence = known.evidence
    called_rows = evidence.probabilities[evidence.is_known] >= threshold
    every = [
        confusion(evidence, threshold=threshold),
        co_occurrence(called_rows, of=evidence.of, title="Called together"),
        co_occurrence(evidence.labels[evidence.is_known], of=evidence.of, title="Truly together"),
        # Where fields are what is scored, theirs is there already.
        of_fields if evidence.of == "cells" else None,
    ]
    return [each for each in every if each is not None]


def _notes(table: CellTable, selection: Selection, known: KnownTruth | None) -> list[str]:
    notes = []
    num_missing = len(table.fields) - len(selection.sources)
    if num_missing:
        notes.append(
            f"{num_missing} of {len(table.fields)} fields count in the numbers, but their pictures "
            "were not given."
        )
    if known is not None and known.num_unpredicted:
        notes.append(
            f"True fields that are not in the run: {known.num_unpredicted}. Their cells count as missed."
        )
    return notes
