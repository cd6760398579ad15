"""Figures of matplotlib, which takes a second to load and is loaded on first use."""

from __future__ import annotations

import logging
import re
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hpa_cells.atomic import replaced_on_success

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["INK", "new_figure", "save_figure"]

log = logging.getLogger(__name__)

INK: Final = "#1c1c1c"
_DOTS_PER_INCH = 120
_LACKING: Final = re.compile(r"Glyph (\d+) .*missing from")


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """An empty figure of this size, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


def save_figure(figure: Figure, path: Path | str, *, dots_per_inch: int = _DOTS_PER_INCH) -> None:
    """Write a figure in the format of the path's suffix, PNG, SVG or PDF, in one go.

    Letters that no font here has become boxes, which the log tells once.
    """
    with replaced_on_success(Path(path)) as temporary, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.savefig(temporary, dpi=dots_per_inch, facecolor="white", format=Path(path).suffix[1:])
    for each in said:
        found = _LACKING.match(str(each.message))
        if found:
            _tell_lacking(chr(int(found[1])))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


@cache
def _tell_lacking(letter: str) -> None:
    log.warning("No font for figures has %s: a box stands for it. The files are named right.", letter)
