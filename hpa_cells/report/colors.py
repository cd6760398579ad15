"""Colours and short names of classes, as they are shown on dark images."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

from hpa_cells.classes import CLASS_SETS, color_on_dark

__all__ = ["Rgb", "color_on_dark", "hex_color", "lightened", "short_name"]

Rgb: TypeAlias = tuple[int, int, int]


def lightened(rgb: Rgb) -> Rgb:
    """The colour half way to white: for words, which are thinner than lines.

    Examples
    --------
    >>> lightened((255, 0, 16))
    (255, 128, 136)
    """
    red, green, blue = ((value + 256) // 2 for value in rgb)
    return red, green, blue


def hex_color(rgb: Rgb) -> str:
    """The colour as ``#rrggbb``.

    Examples
    --------
    >>> hex_color((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)


@cache
def short_name(key: str) -> str:
    """The shortest of the names that the class sets print for a location.

    Examples
    --------
    >>> short_name("vesicles")
    'Vesicles'
    """
    names = [each.names[each.index(key)] for each in CLASS_SETS.values() if key in each.keys]
    return min(names, key=len)
