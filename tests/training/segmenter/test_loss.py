from __future__ import annotations

import pytest
import torch

from hpa_cells.segmentation.representations import REPRESENTATIONS
from hpa_cells.training.segmenter.data import CropBatch
from hpa_cells.training.segmenter.loss import MapLoss


def batch_of(name: str, *, knows_cells: bool) -> CropBatch:
    generator = torch.Generator().manual_seed(0)
    nuclei = torch.zeros(2, 1, 16, 16)
    nuclei[:, :, 5:9, 5:9] = 1
    cells = torch.zeros(2, 1, 16, 16)
    cells[:, :, 2:13, 2:13] = 1
    others = (torch.rand(2, len(REPRESENTATIONS[name].maps) - 2, 16, 16, generator=generator) > 0.5).float()
    return CropBatch(
        planes=torch.zeros(2, 3, 16, 16),
        targets=torch.cat([nuclei, cells, others * cells], dim=1),
        knows_cells=torch.full((2,), knows_cells),
    )


def as_maps(name: str, targets: torch.Tensor) -> torch.Tensor:
    """What a network that is right, and sure of it, gives."""
    maps = targets.clone()
    for index, each in enumerate(REPRESENTATIONS[name].maps):
        if each.is_probability:
            maps[:, index] = 40 * (targets[:, index] - 0.5)
    return maps


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("knows_cells", [True, False])
def test_the_truth_costs_nothing(name: str, knows_cells: bool) -> None:
    batch = batch_of(name, knows_cells=knows_cells)
    assert MapLoss(REPRESENTATIONS[name])(as_maps(name, batch.targets), batch).item() < 1e-3


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_map_counts(name: str) -> None:
    batch = batch_of(name, knows_cells=True)
    loss = MapLoss(REPRESENTATIONS[name])
    for index in range(batch.targets.shape[1]):
        maps = as_maps(name, batch.targets)
        maps[:, index] = -maps[:, index] + 1
        assert loss(maps, batch).item() > 0.1, REPRESENTATIONS[name].maps[index].name


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_cells_that_are_not_known_count_for_nothing(name: str) -> None:
    batch = batch_of(name, knows_cells=False)
    maps = as_maps(name, batch.targets).requires_grad_()
    MapLoss(REPRESENTATIONS[name])(maps + 0.3, batch).backward()
    assert maps.grad is not None
    for index, each in enumerate(REPRESENTATIONS[name].maps):
        learns = bool(maps.grad[:, index].any())
        assert learns == (each.part != "cells"), each.name
        if not each.is_probability and learns:
            assert not maps.grad[:, index][batch.targets[:, 0] == 0].any()


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_a_crop_without_cells_is_no_division_by_nothing(name: str) -> None:
    batch = batch_of(name, knows_cells=True)
    empty = CropBatch(
        planes=batch.planes, targets=torch.zeros_like(batch.targets), knows_cells=batch.knows_cells
    )
    assert MapLoss(REPRESENTATIONS[name])(torch.zeros_like(batch.targets), empty).isfinite()
