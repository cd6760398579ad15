"""A network's cells and nuclei beside the true ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hpa_cells.segmentation.network import CellUNet
from hpa_cells.segmentation.network_input import shows_nuclei_only, to_range
from hpa_cells.segmentation.tiles import infer_maps
from hpa_cells.training.segmenter.training_field import TrainingField

__all__ = ["LabelPair", "segment_field"]

LabelPair = tuple[NDArray[np.int32], NDArray[np.int32]]

_LARGEST_PX = 2048


def segment_field(network: CellUNet, field: TrainingField, device: torch.device) -> dict[str, LabelPair]:
    """What is found and what is true, of ``cells`` and ``nuclei``, as far as either is known."""
    planes = to_range(field.planes.astype(np.float32).transpose(2, 0, 1), field.ends)
    [maps] = infer_maps(
        network, [planes], device=device, half=False, tile_px=_LARGEST_PX, margin_px=0, together=False
    )
    cells, nuclei = network.representation.decode(
        maps, um_per_px=network.settings.um_per_px, nuclei_only=shows_nuclei_only(planes)
    )
    pairs: dict[str, LabelPair] = {}
    if field.knows_cells:
        pairs["cells"] = cells, field.cells
    if field.source != "cells":
        pairs["nuclei"] = nuclei, np.where(field.in_nucleus, field.cells, 0).astype(np.int32)
    return pairs
