"""The page itself: one HTML file with everything inside, that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from hpa_cells.report.curves import ClassCurves
from hpa_cells.report.field_charts import BarChart
from hpa_cells.report.matrices import Matrix
from hpa_cells.report.payload import as_script_data
from hpa_cells.report.summary import ClassSummary, RunSummary
from hpa_cells.report.tiles import CellTile, ClassTiles
from hpa_cells.table import Provenance

__all__ = ["Failure", "FieldEntry", "Page", "render_page"]

_TEMPLATES = Path(__file__).parent / "templates"
# In the order in which they need each other: they become one script, and one sheet of styles.
_SCRIPTS = (
    "dom",
    "data",
    "compose",
    "filter",
    "outlines",
    "stage",
    "channels",
    "panel",
    "viewer",
    "theme",
    "main",
)
_STYLES = ("base", "layout", "viewer", "cells", "scores")


@dataclass(frozen=True, slots=True)
class Failure:
    """A field that failed: its id, the stage it failed in, and why."""

    field_id: str
    stage: str
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldEntry:
    """A field in the list of fields: its thumbnail, classes by name, and `hpa_cells.report.payload` of its pictures."""

    field_id: str
    thumbnail: str
    num_cells: int
    predicted: list[str]
    true: list[str] | None
    payload: dict[str, Any]


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
    payload
        What the page's program reads of the run; see `hpa_cells.report.payload.run_payload`.
    fields
        The fields, some of `run.num_fields`.
    tiles
        The classes that have cells to show.
    disagreements
        Cells that are far from their field.
    curves, matrices
        With truth, how good the probabilities are.
    charts
        What the fields are like.
    scored
        What was scored: ``cells`` or ``fields``; None where no truth is known.
    failures
        Fields that failed.
    provenance
        Where the table comes from.
    versions
        Of the programs that made the page, by name.
    notes
        Sentences about the whole that a reader must know.
    """

    title: str
    run: RunSummary
    classes: Sequence[ClassSummary]
    threshold: float
    payload: dict[str, Any]
    fields: Sequence[FieldEntry]
    tiles: Sequence[ClassTiles]
    disagreements: Sequence[CellTile]
    curves: Sequence[ClassCurves]
    matrices: Sequence[Matrix]
    charts: Sequence[BarChart]
    scored: str | None
    failures: Sequence[Failure]
    provenance: Provenance
    versions: Mapping[str, str]
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
    environment.filters["script_data"] = as_script_data
    environment.tests["known"] = lambda number: not math.isnan(number)
    script = _joined("js", _SCRIPTS)
    return environment.get_template("report.html.j2").render(
        page=page,
        most_cells=max((each.num_cells for each in page.classes), default=0) or 1,
        settings=_flat_settings(page.provenance),
        # Of the package, hence safe; the browser runs nothing but the script of this digest.
        style=Markup(_joined("css", _STYLES)),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _joined(suffix: str, names: Sequence[str]) -> str:
    """Files of the package as one text."""
    return "\n".join((_TEMPLATES / f"{name}.{suffix}").read_text(encoding="utf-8") for name in names)


def _flat_settings(provenance: Provenance) -> Mapping[str, str]:
    """Every setting by its dotted name, as text."""
    if not provenance.settings:
        return {}
    flat = pd.json_normalize(provenance.settings).iloc[0].to_dict()
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in flat.items()
    }
