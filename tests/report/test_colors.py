from __future__ import annotations

import colorsys

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from hpa_cells.classes import CLASS_SETS, rgb_of
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


def test_the_classes_of_2021_are_told_apart_on_dark_and_on_white() -> None:
    """By CIEDE2000, where 2 is hardly seen side by side."""
    classes = CLASS_SETS["hpa2021"]
    for shown in (color_on_dark, rgb_of):
        lab = rgb2lab(np.array([[shown(color) for color in classes.colors]]) / 255)[0]
        distances = deltaE_ciede2000(lab[:, None], lab[None])
        distances[np.diag_indices(len(classes))] = np.inf
        closest = np.unravel_index(distances.argmin(), distances.shape)
        assert distances.min() > 8, [classes.keys[index] for index in closest]


def test_short_names_are_short() -> None:
    for classes in CLASS_SETS.values():
        for key, name in zip(classes.keys, classes.names, strict=True):
            assert 0 < len(short_name(key)) <= min(len(name), 30)
