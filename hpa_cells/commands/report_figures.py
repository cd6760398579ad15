"""``hpa-cells report kind=…``: figures of a run, a file each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.progress import field_progress
from hpa_cells.fields import FieldSource
from hpa_cells.figures import save_figure
from hpa_cells.report import CellTiles, plot_class_montage, plot_gallery, plot_overlay, plot_side_by_side
from hpa_cells.table import CellTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureKind", "FigureSettings", "figures_of_classes", "figures_of_fields", "write_figures"]

Drawing: TypeAlias = "Callable[[], Figure]"

log = logging.getLogger(__name__)


class FigureKind(Enum):
    """What `kind` of a report may be."""

    PAGE = "page"
    OVERLAY = "overlay"
    GALLERY = "gallery"
    MONTAGE = "montage"
    SIDE_BY_SIDE = "side_by_side"

    @classmethod
    def parse(cls, text: str) -> FigureKind:
        """The kind of that name.

        Raises
        ------
        ValueError
            If there is none.
        """
        names = [kind.value for kind in cls]
        if text not in names:
            raise ValueError(f"kind is {text!r}: choose {', '.join(names)}.")
        return cls(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureSettings:
    """Of figures.

    Attributes
    ----------
    fields
        Ids of the fields that are drawn; empty: all.
    classes
        Keys of the classes of ``kind=montage``; empty: all.
    cells
        Most cells of a montage.
    columns
        Cells a row, of montages and galleries.
    format
        ``png``, ``svg`` or ``pdf``.
    dots_per_inch
        Of a PNG, and of pictures inside the others.
    """

    fields: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    cells: int = 24
    columns: int = 8
    format: str = "png"
    dots_per_inch: int = 150

    def __post_init__(self) -> None:
        if self.format not in ("png", "svg", "pdf"):
            raise ValueError(f"figure.format is {self.format!r}: choose png, svg or pdf.")
        for name in ("cells", "columns", "dots_per_inch"):
            if getattr(self, name) < 1:
                raise ValueError(f"figure.{name} is {getattr(self, name)}: give at least 1.")


def write_figures(figures: Mapping[str, Drawing], out: Path, settings: FigureSettings) -> None:
    """Draw and write each figure as ``<name>.<format>``.

    Raises
    ------
    FieldsFailedError
        If some could not be drawn; the others are there.
    """
    failed = 0
    with field_progress("Drawing", len(figures)) as progress:
        for name, draw in figures.items():
            try:
                figure = draw()
            except (OSError, ValueError) as error:
                failed += 1
                log.error("%s", error)
            else:
                path = out / f"{name}.{settings.format}"
                save_figure(figure, path, dots_per_inch=settings.dots_per_inch)
            progress.advance()
    log.info("%s: %d figures", out, len(figures) - failed)
    if failed:
        raise FieldsFailedError(
            f"{failed} of {len(figures)} figures could not be drawn; the messages above say why."
        )


def figures_of_fields(
    table: CellTable,
    sources: list[FieldSource],
    settings: FigureSettings,
    *,
    kind: FigureKind,
    threshold: float,
    beside: CellTable | None,
    names: tuple[str, str],
) -> dict[str, Drawing]:
    """For each field how to draw it: ``overlay``, ``gallery``, or ``side_by_side`` with another run.

    Raises
    ------
    ValueError
        If a field that was asked for is not there, or nothing is beside.
    """
    plot: Callable[[FieldSource], Figure]
    if kind is FigureKind.GALLERY:
        plot = partial(plot_gallery, table, num_columns=settings.columns)
    elif kind is FigureKind.OVERLAY:
        plot = partial(plot_overlay, table, threshold=threshold)
    elif beside is not None:
        plot = partial(plot_side_by_side, table, beside, names=names, threshold=threshold)
    else:
        raise ValueError(
            "kind=side_by_side needs another run or a truth of these fields: give beside=FOLDER."
        )
    return {source.field_id: partial(plot, source) for source in _chosen(sources, settings.fields)}


def figures_of_classes(
    table: CellTable, sources: list[FieldSource], settings: FigureSettings
) -> dict[str, Drawing]:
    """For each class how to draw its montage.

    Raises
    ------
    ValueError
        If a field that was asked for is not there.
    """
    chosen = _chosen(sources, settings.fields)
    keys = settings.classes or table.class_set.keys
    known = [key for key in keys if key in table.class_set.keys]
    tiles = CellTiles(table, chosen, class_keys=known, num_cells=settings.cells)
    plot = partial(plot_class_montage, num_cells=settings.cells, num_columns=settings.columns, tiles=tiles)
    return {key: partial(plot, table, chosen, key) for key in keys}


def _chosen(sources: list[FieldSource], field_ids: list[str]) -> list[FieldSource]:
    by_id = {source.field_id: source for source in sources}
    missing = [field_id for field_id in field_ids if field_id not in by_id]
    if missing:
        raise ValueError(
            f"figure.fields names {', '.join(missing[:5])}, which the table or `fields` lacks: "
            f"choose of {', '.join(list(by_id)[:5])}{', …' if len(by_id) > 5 else ''}."
        )
    return [by_id[field_id] for field_id in field_ids] if field_ids else sources
