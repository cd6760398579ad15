"""Colours and short names of classes, as they are shown on dark images."""

from __future__ import annotations

import colorsys
from functools import cache
from typing import TypeAlias

from hpa_cells.classes import CLASS_SETS, rgb_of

__all__ = ["Rgb", "color_on_dark", "hex_color", "lightened", "short_name"]

Rgb: TypeAlias = tuple[int, int, int]

# Below this lightness a thin line in some of the class colours cannot be told from the black around a cell.
_LEAST_LIGHTNESS = 0.62


@cache
def color_on_dark(color: str) -> Rgb:
    """Red, green and blue, 0 to 255 each, of a colour made light enough for a thin line on black.

    Examples
    --------
    >>> color_on_dark("#f58518"), color_on_dark("#000000")
    ((247, 157, 69), (158, 158, 158))
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in rgb_of(color)))
    red, green, blue = colorsys.hls_to_rgb(hue, max(lightness, _LEAST_LIGHTNESS), saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


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
