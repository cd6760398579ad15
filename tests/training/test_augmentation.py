from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from hpa_cells.training.augmentation import Augmentation, AugmentationSettings, dihedral
from hpa_cells.types import Channel

NOTHING = {
    "symmetries": False,
    "zoom": 0.0,
    "protein_gain": 0.0,
    "other_gain": 0.0,
    "noise": 0.0,
    "er_dropout": 0.0,
    "microtubules_dropout": 0.0,
}
EVERYTHING = {
    "symmetries": True,
    "zoom": 0.2,
    "protein_gain": 0.1,
    "other_gain": 0.2,
    "noise": 0.05,
    "er_dropout": 0.5,
    "microtubules_dropout": 0.5,
}


def augment(crops: Tensor, bag_index: Tensor | None = None, **changes: float) -> Tensor:
    settings = AugmentationSettings(**(NOTHING | changes))
    return Augmentation(settings)(crops, torch.arange(len(crops)) if bag_index is None else bag_index)


@pytest.fixture
def crops() -> Tensor:
    torch.manual_seed(0)
    crops = torch.rand(64, 4, 16, 16)
    crops[:, :, :3] = 0
    return crops


def test_nothing_changes_nothing(crops: Tensor) -> None:
    assert torch.equal(augment(crops), crops)


def test_the_eight_symmetries_are_numpys() -> None:
    crop = torch.arange(3 * 5 * 5).reshape(1, 3, 5, 5)
    found = dihedral(crop.expand(8, -1, -1, -1), torch.arange(8))
    for symmetry in range(8):
        expected = crop[0].numpy()
        if symmetry >= 4:
            expected = expected.transpose(0, 2, 1)
        np.testing.assert_array_equal(found[symmetry], np.rot90(expected, symmetry % 4, axes=(1, 2)))
    assert len({each.numpy().tobytes() for each in found}) == 8


def test_symmetries_move_values_only(crops: Tensor) -> None:
    found = augment(crops, symmetries=True)
    assert not torch.equal(found, crops)
    torch.testing.assert_close(found.flatten(2).sort().values, crops.flatten(2).sort().values)


def test_zoom_keeps_the_middle_and_the_mean_size() -> None:
    crops = torch.zeros(400, 4, 33, 33)
    crops[:, :, 11:22, 11:22] = 1
    torch.manual_seed(0)
    sides = augment(crops, zoom=0.3)[:, 0, 16].sum(dim=1)
    assert sides.min() >= 11 / 1.3 - 1
    assert sides.max() <= 11 * 1.3 + 1
    assert abs(sides.log().mean() - torch.tensor(11.0).log()) < 0.05


def test_gains_are_modest_for_the_protein(crops: Tensor) -> None:
    torch.manual_seed(0)
    small = crops * 0.3
    factors = (augment(small, protein_gain=0.1, other_gain=0.3) / small.clamp(min=1e-9))[:, :, 8, 8].log()
    spreads = factors.std(dim=0)
    assert 0.05 < spreads[Channel.PROTEIN] < 0.15
    assert (spreads[[Channel.MICROTUBULES, Channel.NUCLEUS, Channel.ER]] > 0.2).all()


def test_gains_cannot_light_an_empty_protein(crops: Tensor) -> None:
    crops[:, Channel.PROTEIN] = 0
    assert augment(crops, protein_gain=2.0, symmetries=True, zoom=0.2)[:, Channel.PROTEIN].max() == 0


def test_noise_stays_inside_the_cell(crops: Tensor) -> None:
    found = augment(crops, noise=0.1)
    assert (found[:, :, :3] == 0).all()
    assert (found != crops)[:, :, 3:].any()


def test_whole_fields_lose_a_channel(crops: Tensor) -> None:
    torch.manual_seed(0)
    index = torch.repeat_interleave(torch.arange(16), 4)
    found = augment(crops, index, er_dropout=0.5)
    lost = (found[:, Channel.ER] == 0).all(dim=(1, 2)).reshape(16, 4)
    assert (lost.all(dim=1) | ~lost.any(dim=1)).all()
    assert 0 < lost[:, 0].sum() < 16
    assert torch.equal(found[:, : Channel.ER], crops[:, : Channel.ER])


def test_dropouts_name_the_channels_that_may_be_missing() -> None:
    assert AugmentationSettings(**(NOTHING | {"er_dropout": 0.2})).dropouts == {Channel.ER: 0.2}
    assert AugmentationSettings(**NOTHING).dropouts == {}


@pytest.mark.parametrize("change", [name for name, value in EVERYTHING.items() if value])
def test_crops_keep_the_layout_that_is_fast(crops: Tensor, change: str) -> None:
    fast = crops.contiguous(memory_format=torch.channels_last)
    changed = augment(fast, **{change: EVERYTHING[change]})
    assert changed.is_contiguous(memory_format=torch.channels_last)


def test_all_together_stay_in_range_and_repeat_with_the_seed(crops: Tensor) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(augment(crops, **EVERYTHING))
    assert torch.equal(*results)
    assert results[0].min() >= 0
    assert results[0].max() <= 1
    assert results[0].shape == crops.shape


@pytest.mark.parametrize(("name", "value"), [("zoom", -0.1), ("noise", -1.0), ("er_dropout", 1.0)])
def test_settings_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"augmentation\.{name} is {value}"):
        AugmentationSettings(**(NOTHING | {name: value}))


def test_every_setting_is_tested_here() -> None:
    assert asdict(AugmentationSettings(**NOTHING)).keys() == NOTHING.keys() == EVERYTHING.keys()
