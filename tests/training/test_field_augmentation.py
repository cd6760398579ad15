from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.field_augmentation import FieldAugmentation
from hpa_cells.types import Channel

NONE = AugmentationSettings(
    symmetries=False,
    zoom=0.0,
    protein_gain=0.0,
    other_gain=0.0,
    noise=0.0,
    er_dropout=0.0,
    microtubules_dropout=0.0,
)


def fields(num: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Every pixel has a number of its own, in the image and in the mask."""
    masks = torch.arange(1, num * height * width + 1, dtype=torch.int32).view(num, height, width)
    return (masks[:, None] / masks.max()).expand(-1, 4, -1, -1).contiguous(), masks


def symmetry_of(mask: Tensor, turned: Tensor) -> int:
    eight = [each.rot90(turns, dims=(0, 1)) for each in (mask, mask.transpose(0, 1)) for turns in range(4)]
    return next(number for number, each in enumerate(eight) if torch.equal(each, turned))


def test_none_changes_nothing() -> None:
    images, masks = fields(3, 8, 8)
    changed, same = FieldAugmentation(NONE)(images, masks)
    assert torch.equal(changed, images)
    assert torch.equal(same, masks)


def test_masks_turn_with_their_fields_in_all_eight_ways() -> None:
    images, masks = fields(4, 6, 6)
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        turned, turned_masks = FieldAugmentation(replace(NONE, symmetries=True))(images, masks)
        torch.testing.assert_close(turned, (turned_masks[:, None] / masks.max()).expand_as(turned))
        each = [symmetry_of(*pair) for pair in zip(masks, turned_masks, strict=True)]
        seen |= set(each)
    assert seen == set(range(8))
    steps_along_rows = (turned_masks[:, 0, 1] - turned_masks[:, 0, 0]).abs().tolist()
    assert set(steps_along_rows) == {1, 6}, "of one batch some lie down and some stand up"


def test_oblong_fields_lie_down_or_stand_up_together() -> None:
    images, masks = fields(3, 4, 6)
    torch.manual_seed(0)
    shapes, seen = set(), set()
    for _ in range(60):
        turned, turned_masks = FieldAugmentation(replace(NONE, symmetries=True))(images, masks)
        torch.testing.assert_close(turned, (turned_masks[:, None] / masks.max()).expand_as(turned))
        shapes.add(tuple(turned_masks.shape[1:]))
        seen |= {symmetry_of(*pair) for pair in zip(masks, turned_masks, strict=True)}
    assert shapes == {(4, 6), (6, 4)}
    assert seen == set(range(8))


def test_light_changes_a_field_and_not_its_masks() -> None:
    images, masks = fields(2, 8, 8)
    images[:, :, 0] = 0
    torch.manual_seed(0)
    settings = replace(NONE, protein_gain=0.3, other_gain=0.3)
    changed, same = FieldAugmentation(settings)(0.2 * images, masks)
    assert torch.equal(same, masks)
    gains = (changed / (0.2 * images))[:, :, 1:]
    assert not changed[:, :, 0].any()
    torch.testing.assert_close(gains, gains[:, :, :1, :1].expand_as(gains))
    assert len(gains[:, :, 0, 0].unique()) == 8


def test_zoom_is_left_out() -> None:
    images, masks = fields(2, 8, 8)
    changed, _ = FieldAugmentation(replace(NONE, zoom=0.5))(images, masks)
    assert torch.equal(changed, images)


def test_a_field_loses_a_channel_as_a_whole() -> None:
    images, masks = fields(40, 4, 4)
    torch.manual_seed(0)
    changed, _ = FieldAugmentation(replace(NONE, er_dropout=0.5))(images, masks)
    kept = changed[:, Channel.ER].flatten(1).any(dim=1)
    assert 8 < int(kept.sum()) < 32
    others = [0, 1, 2]
    assert torch.equal(changed[:, others], images[:, others])


def test_it_is_a_function_of_the_seed() -> None:
    images, masks = fields(4, 8, 8)
    augmentation = FieldAugmentation(replace(NONE, symmetries=True, noise=0.1))
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augmentation(images, masks))
    assert all(torch.equal(*pair) for pair in zip(results[0], results[1], strict=True))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(results[0][0], results[2][0])
