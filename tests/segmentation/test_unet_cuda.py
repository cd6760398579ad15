"""The segmenter on a GPU beside itself on the CPU, with the weights in the package."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import UNet
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.types import Field, Segmentation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

# F1 of cells and nuclei at IoU 0.9 against those that the CPU finds. Not 1: rounding, on a GPU to TF32 even in
# float32, moves borders by a pixel, and joins or parts a cell where a frontier is at the threshold.
LEAST_F1 = {"float32": 0.98, "half": 0.96}


@pytest.fixture(scope="module")
def fields() -> list[Field]:
    """Two that go through the network together, and a third of another size and crowding."""
    recipe = Recipe(height_px=1024, width_px=1280, pixel_size_um=0.16)
    dense = Recipe(height_px=768, width_px=768, pixel_size_um=0.24, crowding=2.0)
    return [*(simulate_field(recipe, index).field for index in range(2)), simulate_field(dense, 2).field]


@pytest.fixture(scope="module")
def on_cpu(fields: list[Field]) -> list[Segmentation]:
    return UNet(device="cpu").segment(fields)


def f1(found: Sequence[Segmentation], wanted: Sequence[Segmentation], part: str) -> float:
    pairs = [(getattr(a, part), getattr(b, part)) for a, b in zip(found, wanted, strict=True)]
    return float(score_instances(pairs, iou_thresholds=[0.9])["f1"].item())


@pytest.mark.parametrize("precision", LEAST_F1)
@pytest.mark.parametrize("tile_px", [256, 1024])
def test_a_gpu_finds_the_same_cells(
    fields: list[Field], on_cpu: list[Segmentation], precision: str, tile_px: int
) -> None:
    segmenter = UNet(device="cuda", half=precision == "half", tile_px=tile_px)
    found = segmenter.segment(fields)
    assert [each.field_id for each in found] == [each.field_id for each in on_cpu]
    for part in ("cells", "nuclei"):
        assert f1(found, on_cpu, part) >= LEAST_F1[precision], part


def test_where_there_is_a_gpu_auto_takes_it(fields: list[Field]) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    UNet(device="auto").segment(fields[2:])
    assert torch.cuda.max_memory_allocated() > before
