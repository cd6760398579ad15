"""Cells that are hard to find, each kind by itself, with the weights in the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.metrics import instance_overlaps, match_instances
from hpa_cells.segmentation import UNet
from hpa_cells.simulation import Recipe, SimulatedField, simulate_field
from hpa_cells.types import label_ids

RECIPE = Recipe(seed=7, height_px=768, width_px=768, pixel_size_um=0.24, debris_per_field=0)
# Each with the share of cells to be found, and how many more than there are.
KINDS = {
    "elongated": (replace(RECIPE, cell_lines=["U-251 MG"]), 0.9, 1.1),
    "confluent": (replace(RECIPE, cell_lines=["HaCaT"], crowding=2.0), 0.9, 1.1),
    "small and clustered": (replace(RECIPE, cell_lines=["SH-SY5Y"]), 0.9, 1.1),
    "mitotic": (replace(RECIPE, mitotic_share=1.0, binucleated_share=0.0), 0.9, 1.1),
    # Half of them are cut in two: among real cells of two nuclei close together, two cells are more frequent.
    # Found are 0.49, and 1.70 times as many as there are.
    "binucleated": (replace(RECIPE, binucleated_share=1.0, mitotic_share=0.0), 0.45, 1.75),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def is_found(simulated: SimulatedField) -> tuple[NDArray[np.bool_], int]:
    """Of each true cell, whether it is found at IoU 0.6; and the number of cells found."""
    [found] = UNet(device="cpu").segment([simulated.field])
    matches = match_instances(instance_overlaps(found.cells, simulated.segmentation.cells), iou_threshold=0.6)
    return np.isin(simulated.segmentation.cell_ids, matches.truth_ids), len(label_ids(found.cells))


@pytest.mark.parametrize(("recipe", "least_recall", "most_found"), KINDS.values(), ids=KINDS.keys())
def test_it_finds(recipe: Recipe, least_recall: float, most_found: float) -> None:
    found, num_found = [], 0
    for index in range(2):
        is_found_here, num_here = is_found(simulate_field(recipe, index))
        found.append(is_found_here)
        num_found += num_here
    is_each_found = np.concatenate(found)
    assert is_each_found.mean() >= least_recall
    assert num_found <= most_found * len(is_each_found)


def test_it_finds_cells_that_the_edge_cuts() -> None:
    found, num_cut = 0, 0
    for index in range(3):
        simulated = simulate_field(RECIPE, index)
        cells = simulated.segmentation.cells
        at_edge = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
        is_cut = np.isin(simulated.segmentation.cell_ids, at_edge)
        found += int((is_found(simulated)[0] & is_cut).sum())
        num_cut += int(is_cut.sum())
    assert num_cut > 20
    assert found >= 0.85 * num_cut
