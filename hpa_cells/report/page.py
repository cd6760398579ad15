"""The page itself: one HTML file with everything inside, that opens without a network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd

from hpa_cells.report.figures import CellTile, FieldFigure
from hpa_cells.report.summary import ClassSummary, RunSummary
from hpa_cells.table import Provenance

__all__ = ["Failure", "Page", "render_page"]

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Failure:
    """A field that failed: its id, the stage it failed in, and why."""

    field_id: str
    stage: str
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What the page shows.

    Attributes
    ----------
    title
        Name of the run.
    run, classes
        The numbers.
    threshold
        Least probability of a class that counts.
    figures
        The fields, some of `run.num_fields`.
    tiles
        For each class, its most confident cells.
    failures
        Fields that failed.
    provenance
        Where the table comes from.
    notes
        Sentences about the whole that a reader must know.
    """

    title: str
    run: RunSummary
    classes: Sequence[ClassSummary]
    threshold: float
    figures: Sequence[FieldFigure]
    tiles: Sequence[Sequence[CellTile]]
    failures: Sequence[Failure]
    provenance: Provenance
    notes: Sequence[str] = field(default_factory=list)


def render_page(page: Page) -> str:
    """The HTML of the page; whatever a field id or an error holds is shown as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.tests["known"] = lambda number: not math.isnan(number)
    return environment.get_template("report.html.j2").render(
        page=page,
        most_cells=max((each.num_cells for each in page.classes), default=0) or 1,
        settings=_flat_settings(page.provenance),
    )


def _flat_settings(provenance: Provenance) -> Mapping[str, str]:
    """Every setting by its dotted name, as text."""
    if not provenance.settings:
        return {}
    flat = pd.json_normalize(provenance.settings).iloc[0].to_dict()
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in flat.items()
    }
