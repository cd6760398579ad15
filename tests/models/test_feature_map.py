from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpa_cells.models import (
    CellClassifier,
    ClassifierSettings,
    EncoderSettings,
    PoolingSettings,
    build_encoder,
    check_feature_map,
    find_places,
)
from hpa_cells.models.feature_map import read_map

TINY: dict[str, Any] = {"channels": [4, 8, 12, 16], "stem_width": 8}
SETTINGS = ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=TINY, view="field")


def slow_means(feature_map: Tensor, masks: Tensor, num_cells: int) -> Tensor:
    """Each pixel of a cell adds the vector of the place that it lies in."""
    height, width = feature_map.shape[2:]
    means = torch.zeros(num_cells, feature_map.shape[1])
    for cell in range(num_cells):
        pixels = (masks == cell + 1).nonzero().tolist()
        for image, row, column in pixels:
            place = (row * height // masks.shape[1], column * width // masks.shape[2])
            means[cell] += feature_map[image, :, place[0], place[1]] / len(pixels)
    return means


def draw_masks(cells_of_field: list[int], height: int, width: int, seed: int = 0) -> Tensor:
    """Cells of 1 to 40 px, numbered through all fields in random order; the first of each field has one pixel."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((len(cells_of_field), height, width), dtype=np.int32)
    numbers = 1 + rng.permutation(sum(cells_of_field))
    for image, own in enumerate(np.split(numbers, np.cumsum(cells_of_field)[:-1])):
        places = rng.permutation(height * width)
        for position, number in enumerate(own):
            size = 1 if position == 0 else rng.integers(1, 40)
            masks[image].flat[places[40 * position : 40 * position + size]] = number
    return torch.from_numpy(masks)


@pytest.mark.parametrize(
    ("cells_of_field", "size", "places"),
    [
        ([3, 5], (32, 48), (2, 3)),
        ([0, 4, 0, 1], (32, 32), (1, 1)),
        ([7, 2], (20, 33), (3, 4)),
        ([300], (128, 96), (4, 3)),
        ([1], (8, 8), (8, 8)),
    ],
)
def test_as_a_loop_over_pixels(
    cells_of_field: list[int], size: tuple[int, int], places: tuple[int, int]
) -> None:
    masks = draw_masks(cells_of_field, *size)
    feature_map = torch.randn(len(masks), 5, *places, generator=torch.Generator().manual_seed(1))
    means = find_places(masks, *places).mean(feature_map)
    torch.testing.assert_close(means, slow_means(feature_map, masks, sum(cells_of_field)))


def test_areas_are_pixels_and_a_single_pixel_counts() -> None:
    masks = torch.zeros(1, 64, 64, dtype=torch.int32)
    masks[0, 3, 40] = 1
    masks[0, 20:40, :] = 2
    places = find_places(masks, 2, 2)
    assert places.areas.tolist() == [[[0, 1, 0, 0], [12 * 32, 12 * 32, 8 * 32, 8 * 32]]]
    assert places.covered.tolist() == [[384, 385, 256, 256]]


def test_numbers_may_be_dealt_out_in_any_order() -> None:
    masks = draw_masks([4, 6], 32, 32)
    feature_map = torch.randn(2, 3, 4, 4)
    order = torch.randperm(10)
    renumbered = torch.cat([torch.zeros(1, dtype=torch.int64), order + 1])[masks.long()].int()
    expected = find_places(masks, 4, 4).mean(feature_map)
    torch.testing.assert_close(find_places(renumbered, 4, 4).mean(feature_map)[order], expected)


def test_black_borders_change_nothing() -> None:
    masks = draw_masks([4, 6], 32, 64)
    feature_map = torch.randn(2, 3, 2, 4)
    padded = nn.functional.pad(masks, (0, 32, 0, 64))
    of_padded = nn.functional.pad(feature_map, (0, 2, 0, 4), value=torch.nan).nan_to_num(99.0)
    torch.testing.assert_close(
        find_places(padded, 6, 6).mean(of_padded), find_places(masks, 2, 4).mean(feature_map)
    )


def test_no_cell_at_all() -> None:
    places = find_places(torch.zeros(2, 32, 32, dtype=torch.int32), 2, 2)
    assert places.mean(torch.randn(2, 3, 2, 2)).shape == (0, 3)


def test_a_number_without_pixels() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.int32)
    masks[0, 0] = 3
    masks[0, 1] = 1
    with pytest.raises(ValueError, match="Cell number 2 of 3 has no pixel"):
        find_places(masks, 2, 2)


def test_half_precision_does_not_lose_the_pixels_of_a_large_cell() -> None:
    masks = torch.ones(1, 512, 512, dtype=torch.int32)
    feature_map = torch.randn(1, 4, 16, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean = find_places(masks, 16, 16).mean(feature_map)
    torch.testing.assert_close(mean[0], feature_map.float().mean(dim=(0, 2, 3)))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "efficientnet_b0"])
def test_the_map_is_what_the_network_pools(name: str) -> None:
    """Up to what follows its pooling: linear in none but the first and last."""
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSettings(name=name, options=TINY if name == "resnet10t" else {})).eval()
    images = torch.rand(2, 4, 64, 96)
    with torch.inference_mode():
        maps = read_map(encoder, images)
        assert maps.shape == (2, encoder.head_hidden_size, 2, 3)
        if name in ("resnet10t", "efficientnet_b0"):
            torch.testing.assert_close(maps.mean(dim=(2, 3)), encoder(images))


@pytest.mark.parametrize(
    ("name", "stride"),
    [("resnet18", None), ("resnet18", 8), ("convnext_tiny", 16), ("densenet121", None), ("resnet18", 32)],
)
def test_networks_that_can_see_fields(name: str, stride: int | None) -> None:
    check_feature_map(EncoderSettings(name=name, pretrained=True), stride)


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("vit_tiny_patch16_224", None, r"makes no map of a field .* choose a convolutional network"),
        ("densenet121", 16, r"no stride but its own: set view\.stride=null"),
        ("inception_resnet_v2", 8, r"no stride but its own"),
        ("vit_tiny_patch16_224", 16, "makes no map of a field"),
        ("resnet81", None, "timm has no network 'resnet81'"),
    ],
)
def test_networks_that_cannot(name: str, stride: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_feature_map(EncoderSettings(name=name), stride)


@pytest.mark.parametrize("stride", [None, 8, 16])
def test_a_finer_map_has_the_same_weights(stride: int | None) -> None:
    model = CellClassifier(replace(SETTINGS, map_stride=stride)).eval()
    coarse = CellClassifier(SETTINGS).state_dict()
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in coarse.items()
    }
    places = 128 // (stride or 32)
    assert model.read_map(torch.rand(1, 4, 128, 64)).shape == (1, 16, places, places // 2)


def test_the_mean_of_the_class_map_is_the_logit_of_the_cell() -> None:
    torch.manual_seed(0)
    model = CellClassifier(SETTINGS).eval()
    masks = draw_masks([3, 5], 64, 96)
    images = torch.rand(2, 4, 64, 96)
    with torch.inference_mode():
        outputs = model(images, torch.zeros(8, dtype=torch.int64), masks)
        class_map = model.class_map(model.read_map(images))
        assert class_map.shape == (2, 19, 2, 3)
        torch.testing.assert_close(
            find_places(masks, 2, 3).mean(class_map), outputs.cell_logits, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("pooling", ["mean", "gated_attention", "max"])
def test_cells_of_a_field_do_not_depend_on_the_company(pooling: str) -> None:
    torch.manual_seed(0)
    model = CellClassifier(replace(SETTINGS, pooling=PoolingSettings(name=pooling))).eval()
    masks = draw_masks([3, 5], 64, 64, seed=4)
    images = torch.rand(2, 4, 64, 64)
    bag_index = torch.tensor([0 if (masks[0] == number).any() else 1 for number in range(1, 9)])
    with torch.inference_mode():
        cells, fields = model.probabilities(images, bag_index, masks)
        for image in range(2):
            numbers = masks[image].unique()
            alone = torch.searchsorted(numbers, masks[image : image + 1]).int()
            own = numbers[1:].long() - 1
            own_cells, own_field = model.probabilities(
                images[image : image + 1], torch.zeros(len(own), dtype=torch.int64), alone
            )
            torch.testing.assert_close(own_cells, cells[own])
            torch.testing.assert_close(own_field[0], fields[image])


def test_the_view_and_the_pixels_must_agree() -> None:
    of_fields, of_crops = CellClassifier(SETTINGS), CellClassifier(replace(SETTINGS, view="crops"))
    images, masks = torch.rand(1, 4, 32, 32), torch.ones(1, 32, 32, dtype=torch.int32)
    with pytest.raises(ValueError, match="has view field, but was given crops"):
        of_fields.embed(images)
    with pytest.raises(ValueError, match="has view crops, but was given whole fields with masks"):
        of_crops.embed(images, masks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view": "fields"}, "View 'fields' is unknown: use crops or field"),
        ({"map_stride": 12}, r"view\.stride is 12: use 8, 16, 32, or null"),
        ({"view": "crops", "map_stride": 16}, "stride of 16, but view=crops makes no map"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)
