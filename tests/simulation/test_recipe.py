from __future__ import annotations

import re
from dataclasses import asdict, fields

import pytest
from omegaconf.errors import OmegaConfBaseException

from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.simulation import Recipe


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("pixel_size_um", 0.0, "from 0.02 to 2.0"),
        ("pixel_size_um", float("nan"), "from 0.02 to 2.0"),
        ("height_px", 8, "from 32 to 16384"),
        ("weakness", 1.6, "from 0.0 to 1.5"),
        ("seed", -1, "from 0 to 4294967295"),
        ("photons", 0.0, "from 0.5"),
        ("class_floor", 0.5, "from 0.0 to 0.04"),
        ("bit_depth", 12, "expected 8 or 16"),
        ("cell_lines", ["HeLa S3"], "HeLa S3 is unknown: use some of U-2 OS, A-431"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wanted)) as error:
        Recipe(**{name: value})
    assert name.removesuffix("s").replace("_", " ") in str(error.value).replace("_", " ")


def test_cells_cannot_be_in_more_states_than_there_are_cells() -> None:
    with pytest.raises(ValueError, match=r"mitotic_share and binucleated_share add up to 1\.2"):
        Recipe(mitotic_share=0.7, binucleated_share=0.5)


def test_the_default_recipe_of_the_command_is_the_default_of_the_class() -> None:
    node = compose("simulate", ["out=x"]).recipe
    assert set(node) == {field.name for field in fields(Recipe)}
    assert asdict(to_settings(Recipe, node)) == asdict(Recipe())


@pytest.mark.parametrize("name", ["default", "easy", "demo", "varied"])
def test_every_recipe_is_valid(name: str) -> None:
    to_settings(Recipe, compose("simulate", ["out=x", f"recipe={name}"]).recipe)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(OmegaConfBaseException):
        to_settings(Recipe, compose("simulate", ["out=x", "+recipe.photon=3"]).recipe)
