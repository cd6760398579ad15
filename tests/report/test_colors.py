from __future__ import annotations

import colorsys

from hpa_cells.classes import CLASS_SETS
from hpa_cells.report.colors import color_on_dark, hex_color, short_name


def test_every_class_is_light_enough_on_black_and_keeps_its_hue() -> None:
    for location in {each for classes in CLASS_SETS.values() for each in classes.locations}:
        shown = color_on_dark(location.color)
        hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in shown))
        assert lightness >= 0.61, location
        original = colorsys.rgb_to_hls(*(int(location.color[i : i + 2], 16) / 255 for i in (1, 3, 5)))
        if saturation > 0.1:
            assert min(abs(hue - original[0]), 1 - abs(hue - original[0])) < 0.02, location
        assert len(hex_color(shown)) == 7


def test_short_names_are_short() -> None:
    for classes in CLASS_SETS.values():
        for key, name in zip(classes.keys, classes.names, strict=True):
            assert 0 < len(short_name(key)) <= min(len(name), 30)
