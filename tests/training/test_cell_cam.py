from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from hpa_cells.models import CellClassifier, ClassifierSettings, find_places
from hpa_cells.training.bags import Bags
from hpa_cells.training.cell_cam import CellCam, cut_pieces, merge_pieces
from hpa_cells.training.losses import BagLoss, LossSettings

NUM_CLASSES = 19
LOSS = BagLoss(
    LossSettings(
        name="bce",
        class_weights="none",
        beta=0.999,
        positive_power=0.0,
        smoothing=0.0,
        smoothing_prior="half",
        weigh_equally="cells",
    ),
    np.ones((1, NUM_CLASSES), dtype=bool),
    field_weight=1.0,
    cell_weight=0.1,
)


class EachPixelAlone(nn.Module):
    """An encoder whose map has a place for every pixel, which sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Tanh(), nn.Conv2d(6, 16, 1))

    def forward_features(self, images: Tensor) -> Tensor:
        result: Tensor = self.layers(images)
        return result

    def forward_head(self, places: Tensor, pre_logits: bool) -> Tensor:
        assert pre_logits
        return places.flatten(1)

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.forward_features(images).mean(dim=(2, 3))


def classifier(encoder: nn.Module | None = None) -> CellClassifier:
    torch.manual_seed(0)
    options: dict[str, Any] = {"channels": [4, 8, 12, 16], "stem_width": 8}
    model = CellClassifier(
        ClassifierSettings(
            num_classes=NUM_CLASSES, encoder="resnet10t", encoder_options=options, view="field"
        )
    )
    if encoder is not None:
        model.encoder = encoder
    return model


def batch(*, masked: bool = True) -> tuple[Tensor, Bags]:
    """Two fields of 64 x 96 px, of three and five rectangular cells."""
    torch.manual_seed(1)
    masks = torch.zeros(2, 64, 96, dtype=torch.int32)
    for cell in range(3):
        masks[0, 5:50, 30 * cell + 3 : 30 * cell + 28] = cell + 1
    for cell in range(5):
        masks[1, 12 * cell : 12 * cell + 11, 7:80] = cell + 4
    images = torch.rand(2, 4, 64, 96)
    if masked:
        images = images * (masks > 0)[:, None]
    field_labels = (torch.rand(2, NUM_CLASSES) < 0.2).float()
    bag_index = torch.tensor([0] * 3 + [1] * 5)
    return images, Bags(
        images=(255 * images).byte(),
        bag_index=bag_index,
        field_labels=field_labels,
        cell_targets=field_labels[bag_index],
        masks=masks,
    )


def test_pieces_hold_their_cells_and_nothing_else() -> None:
    images, bags = batch(masked=False)
    assert bags.masks is not None
    piece_of_cell = torch.tensor([0, 2, 1, 1, 1, 0, 0, 2])
    pieces = cut_pieces(images, bags.masks, piece_of_cell, 3)
    assert pieces.shape == (6, 4, 64, 96)
    for image in range(2):
        for piece in range(3):
            numbers = (piece_of_cell == piece).nonzero().flatten() + 1
            inside = torch.isin(bags.masks[image], numbers.int())
            assert torch.equal(pieces[3 * image + piece], images[image] * inside)


def test_merged_maps_as_a_loop_over_places() -> None:
    _, bags = batch()
    assert bags.masks is not None
    piece_of_cell = torch.tensor([0, 1, 1, 1, 0, 0, 1, 0])
    parts = torch.randn(2, 2, 5, 4, 6)
    places = find_places(bags.masks, 4, 6)
    merged = merge_pieces(parts, places, piece_of_cell)
    for image in range(2):
        for row in range(4):
            for column in range(6):
                block = bags.masks[image, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                numbers = block[block > 0].long() - 1
                each = [parts[image, piece_of_cell[number], :, row, column] for number in numbers]
                expected = torch.stack(each).mean(dim=0) if each else torch.zeros(5)
                torch.testing.assert_close(merged[image, :, row, column], expected)


def test_one_piece_is_the_whole() -> None:
    images, bags = batch()
    model = classifier().eval()
    with torch.inference_mode():
        total, of_whole, apart = CellCam(consistency=0.5, pieces=1)(model, LOSS, images, bags)
        expected = LOSS(model(images, bags.bag_index, bags.masks), bags)
    assert float(apart) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(of_whole.total, expected.total)
    torch.testing.assert_close(total, 2 * expected.total)


def test_a_network_that_sees_each_pixel_alone_agrees_with_itself() -> None:
    images, bags = batch()
    alone = CellCam(consistency=1.0, pieces=3)(classifier(EachPixelAlone()), LOSS, images, bags)[2]
    assert float(alone) == pytest.approx(0, abs=1e-6)
    together = CellCam(consistency=1.0, pieces=3)(classifier().eval(), LOSS, images, bags)[2]
    assert float(together) > 1e-3


def test_the_difference_counts_with_its_weight() -> None:
    images, bags = batch()
    totals = []
    for consistency in (0.25, 0.5):
        torch.manual_seed(3)
        total, _, apart = CellCam(consistency=consistency, pieces=2)(classifier().eval(), LOSS, images, bags)
        totals.append(total)
    torch.testing.assert_close(totals[1] - totals[0], 0.25 * apart)


def test_the_difference_is_over_the_pixels_of_cells() -> None:
    """The slow twin looks at each pixel; merged maps of pieces that are drawn again."""
    images, bags = batch()
    assert bags.masks is not None
    model = classifier().eval()
    torch.manual_seed(3)
    with torch.inference_mode():
        _, _, apart = CellCam(consistency=1.0, pieces=2)(model, LOSS, images, bags)
        torch.manual_seed(3)
        piece_of_cell = torch.randint(2, (8,))
        parts = model.read_map(cut_pieces(images, bags.masks, piece_of_cell, 2)).view(2, 2, 16, 2, 3)
        places = find_places(bags.masks, 2, 3)
        whole = model.class_map(model.read_map(images))
        merged = model.class_map(merge_pieces(parts, places, piece_of_cell))
    total, number = 0.0, 0
    for image, row, column in bags.masks.nonzero().tolist():
        at = (image, slice(None), row // 32, column // 32)
        total += float((whole[at] - merged[at]).abs().mean())
        number += 1
    assert float(apart) == pytest.approx(total / number, rel=1e-4)


def test_it_is_learned_from() -> None:
    images, bags = batch()
    model = classifier()
    torch.manual_seed(0)
    CellCam(consistency=0.5, pieces=2)(model, LOSS, images, bags)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
    assert any(
        bool(each.grad.abs().sum() > 0) for each in model.encoder.parameters() if each.grad is not None
    )
