from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpa_cells.simulation import Variety
from hpa_cells.simulation.field_choice import Content, FieldChoice, choose_field
from hpa_cells.types import Channel

NUM_FIELDS = 3000


@pytest.fixture(scope="module")
def choices() -> list[FieldChoice]:
    return [choose_field(Variety(), np.random.default_rng(index)) for index in range(NUM_FIELDS)]


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def test_shares_are_those_asked_for(choices: list[FieldChoice]) -> None:
    variety = Variety()
    content = Counter(choice.content for choice in choices)
    both = {Channel.MICROTUBULES, Channel.ER}
    expected = {
        variety.empty_share: content[Content.NOTHING] / NUM_FIELDS,
        variety.debris_only_share: content[Content.DEBRIS] / NUM_FIELDS,
        variety.layout_share: share([choice.uses_layout for choice in choices]),
        variety.missing_share: share([len(choice.missing) == 1 for choice in choices]),
        variety.dead_share: share([len(choice.dead) == 1 for choice in choices]),
        variety.nuclei_only_share: share([both in (choice.missing, choice.dead) for choice in choices]),
        variety.sixteen_bit_share: share([choice.recipe.bit_depth == 16 for choice in choices]),
        variety.gain_share: share([choice.gains[Channel.ER] != 1 for choice in choices]),
    }
    for wanted, found in expected.items():
        assert found == pytest.approx(wanted, abs=0.025)


def test_nuclei_are_never_lost_and_nothing_is_lost_twice(choices: list[FieldChoice]) -> None:
    for choice in choices:
        assert Channel.NUCLEUS not in choice.missing | choice.dead
        assert not choice.missing & choice.dead


def test_recipes_reach_from_end_to_end_and_stay_inside(choices: list[FieldChoice]) -> None:
    variety = Variety()
    for name, lowest, highest in (
        ("photons", variety.fewest_photons, variety.most_photons),
        ("blur", variety.lowest_blur, variety.highest_blur),
        ("crowding", variety.lowest_crowding, variety.highest_crowding),
    ):
        values = [getattr(choice.recipe, name) for choice in choices]
        assert lowest <= min(values) < 1.2 * lowest
        assert 0.8 * highest < max(values) <= highest


def test_the_area_is_the_same_at_any_pixel_size(choices: list[FieldChoice]) -> None:
    sides_px = [choice.recipe.height_px for choice in choices]
    for choice in choices:
        assert choice.recipe.width_px * choice.recipe.pixel_size_um == pytest.approx(512 * 0.32)
    assert max(sides_px) == 1024
    assert min(sides_px) == round(512 * 0.32 / 0.4)


def test_small_areas_are_imaged_with_the_finest_pixels() -> None:
    variety = Variety(side_px=64)
    sizes = [choose_field(variety, np.random.default_rng(index)).recipe.pixel_size_um for index in range(300)]
    assert min(sizes) == pytest.approx(0.05, abs=0.01)


def test_empty_fields_have_no_dirt_and_no_artefacts(choices: list[FieldChoice]) -> None:
    for choice in choices:
        if choice.content == Content.NOTHING:
            assert choice.recipe.debris_per_field == 0
            assert not choice.has_artefacts
