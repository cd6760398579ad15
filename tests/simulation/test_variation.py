from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from hpa_cells.simulation import Recipe, simulate_field, simulate_labels
from hpa_cells.simulation.cell_lines import CELL_LINES
from hpa_cells.simulation.variation import line_of_field, recipe_of_field

SMALL = {"height_px": 96, "width_px": 96, "pixel_size_um": 0.8}


def test_without_variation_nothing_changes() -> None:
    recipe = Recipe(seed=3)
    assert recipe_of_field(recipe, 5) is recipe
    line = CELL_LINES["BJ"]
    assert line_of_field(line, 0.0, np.random.default_rng(0)) is line


def test_fields_differ_around_the_recipe_and_by_more_the_more_is_asked_for() -> None:
    spreads = []
    for variation in (0.3, 1.0):
        recipe = Recipe(seed=3, variation=variation)
        photons = np.log([recipe_of_field(recipe, index).photons / recipe.photons for index in range(300)])
        # Evenly between the logarithms of 0.15 and 5, times the variation.
        low, high = variation * np.log(0.15), variation * np.log(5.0)
        assert low <= photons.min() < low + 0.1
        assert high - 0.1 < photons.max() <= high
        assert photons.mean() == pytest.approx((low + high) / 2, abs=0.15)
        spreads.append(photons.std())
    assert spreads[1] == pytest.approx(spreads[0] / 0.3, rel=0.1)


def test_what_is_not_optics_light_or_crowding_stays() -> None:
    recipe = Recipe(seed=3, variation=1.0, weakness=0.4, label_noise=0.2, cell_lines=["BJ"])
    changed = asdict(recipe_of_field(recipe, 1))
    kept = {"seed", "height_px", "pixel_size_um", "weakness", "label_noise", "class_floor", "cell_lines"}
    assert {name: changed[name] for name in kept} == {name: asdict(recipe)[name] for name in kept}


def test_extreme_recipes_stay_valid() -> None:
    dirty = Recipe(
        variation=1.0, photons=0.5, background=0.5, debris_per_field=1000.0, haze=0.9, contrast=20.0
    )
    for index in range(50):
        recipe_of_field(dirty, index)
        recipe_of_field(Recipe(variation=1.0, mitotic_share=0.6, binucleated_share=0.4), index)


def test_cell_lines_vary_in_size_and_shape() -> None:
    lines = [line_of_field(CELL_LINES["U-2 OS"], 1.0, np.random.default_rng(index)) for index in range(400)]
    sizes = np.log([line.radius_um / 25 for line in lines])
    assert sizes.std() == pytest.approx(0.15, rel=0.15)
    np.testing.assert_allclose([line.spacing_um / line.radius_um for line in lines], 39 / 25)
    assert min(line.elongation for line in lines) > 1
    assert max(line.roughness for line in lines) <= 0.5


def test_labels_without_pixels_are_those_of_the_fields() -> None:
    recipe = Recipe(seed=11, variation=1.0, **SMALL)
    labels = simulate_labels(recipe, 3, first_index=4)
    for row, index in enumerate(range(4, 7)):
        simulated = simulate_field(recipe, index)
        own = labels.cell_labels[labels.field_index == row]
        np.testing.assert_array_equal(simulated.field_labels, labels.field_labels[row])
        np.testing.assert_array_equal(simulated.cell_labels, own[simulated.segmentation.cell_ids - 1])


def test_field_labels_do_not_depend_on_the_variation() -> None:
    recipe = Recipe(seed=11, label_noise=0.0, **SMALL)
    one, other = (simulate_labels(each, 40) for each in (recipe, replace(recipe, variation=1.0)))
    np.testing.assert_array_equal(one.field_labels, other.field_labels)
