import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.prediction import Symmetries

NONE, FLIPS, D4 = Symmetries(), Symmetries(num_turns=2, mirrored=True), Symmetries(num_turns=4, mirrored=True)
ALL = [Symmetries(num_turns=turns, mirrored=mirrored) for turns in (1, 2, 4) for mirrored in (False, True)]


def random_crops(side: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 4, side, side, generator=torch.Generator().manual_seed(seed))


def lopsided_score(crops: torch.Tensor) -> torch.Tensor:
    """A score that depends on how a crop is turned: weights that no symmetry leaves as they are."""
    side = crops.shape[-1]
    return (crops * torch.arange(4 * side * side).reshape(4, side, side) ** 2).sum(dim=(1, 2, 3))


def average(symmetries: Symmetries, crops: torch.Tensor) -> torch.Tensor:
    return torch.stack([lopsided_score(view) for view in symmetries.views(crops)]).mean(dim=0)


@pytest.mark.parametrize("symmetries", ALL)
def test_the_crops_themselves_come_first_and_views_are_distinct(symmetries: Symmetries) -> None:
    crops = random_crops()
    views = list(symmetries.views(crops))
    assert len(views) == len(symmetries) == symmetries.num_turns * (1 + symmetries.mirrored)
    assert torch.equal(views[0], crops)
    assert all(view.shape == crops.shape for view in views)
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(views, 2))


def test_the_eight_symmetries_written_out() -> None:
    crop = random_crops()
    transposed = crop.transpose(-2, -1)
    expected = [
        crop, crop.flip(-1), crop.flip(-2), crop.flip(-1, -2),
        transposed, transposed.flip(-1), transposed.flip(-2), transposed.flip(-1, -2),
    ]  # fmt: skip
    views = list(D4.views(crop))
    assert all(any(torch.equal(view, each) for view in views) for each in expected)


def test_flips_are_the_four_flips() -> None:
    crop = random_crops()
    views = list(FLIPS.views(crop))
    assert all(
        any(torch.equal(view, each) for view in views)
        for each in (crop, crop.flip(-1), crop.flip(-2), crop.flip(-1, -2))
    )


@pytest.mark.parametrize("symmetries", ALL)
@settings(max_examples=20)
@given(which=st.integers(0, 7), side=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_average_is_the_same_for_a_crop_turned_by_one_of_them(
    symmetries: Symmetries, which: int, side: int, seed: int
) -> None:
    crops = random_crops(side, seed)
    turned = list(symmetries.views(crops))[which % len(symmetries)]
    torch.testing.assert_close(average(symmetries, turned), average(symmetries, crops))


def test_without_symmetries_the_score_does_depend_on_the_turn() -> None:
    crops = random_crops()
    assert not torch.allclose(average(NONE, crops.rot90(1, (-2, -1))), average(NONE, crops))


def test_no_crops() -> None:
    assert [view.shape for view in D4.views(torch.zeros(0, 4, 6, 6))] == [(0, 4, 6, 6)] * 8


@pytest.mark.parametrize("num_turns", [0, 3, 8, -1])
def test_other_numbers_of_turns_are_refused(num_turns: int) -> None:
    with pytest.raises(ValueError, match=rf"tta.num_turns is {num_turns}: use 1, 2 or 4"):
        Symmetries(num_turns=num_turns)
