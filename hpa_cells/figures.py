"""Figures of matplotlib, which takes a second to load and is loaded on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hpa_cells.atomic import replaced_on_success

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "new_figure", "save_figure"]

INK: Final = "#1c1c1c"
_DOTS_PER_INCH = 120


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """An empty figure of this size, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


def save_figure(figure: Figure, path: Path | str, *, dots_per_inch: int = _DOTS_PER_INCH) -> None:
    """Write a figure in the format of the path's suffix, PNG, SVG or PDF, in one go."""
    with replaced_on_success(Path(path)) as temporary:
        figure.savefig(temporary, dpi=dots_per_inch, facecolor="white", format=Path(path).suffix[1:])
