"""A classifier as ONNX: pixels in 8 bits go in; logits, probabilities and embeddings come out.

Shapes: N cells of F fields, S crop side, B fields of H x W px, K classes, D embedding size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from hpa_cells import __version__
from hpa_cells.cells.normalisation import FLOOR_LEVELS, NORMALISATION_QUANTILES
from hpa_cells.models import CellClassifier, CellOutputs, Checkpoint
from hpa_cells.models.feature_map import of_place
from hpa_cells.sharing.onnx_file import Graph, write_onnx
from hpa_cells.types import NUM_CHANNELS, Channel

__all__ = ["export_classifier"]

_SEED: Final = 0
# Of trials: no size is 1 in the first, and none like another.
_FIELDS_OF_CELLS: Final = ([0, 1, 0, 1, 1], [0], [2, 0, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2])


def export_classifier(checkpoint: Checkpoint, path: Path, *, opset: int) -> None:
    """Write a model as a file of ONNX, with all that is needed to use it in its metadata.

    Raises
    ------
    ValueError
        If a package is missing, the model cannot be exported, or does not say the same as ONNX.
    """
    settings = checkpoint.model.settings
    of_view = {"crops": _crops_graph, "squares": _crops_graph, "field": _field_graph}
    write_onnx(
        of_view[settings.view](checkpoint),
        path,
        metadata=_metadata(checkpoint),
        opset=opset,
        name=f"A classifier with encoder {settings.encoder}",
    )


class _Crops(nn.Module):
    """(N, 4, S, S) uint8 crops or squares, and (N,) int64 the field of each -> all that a classifier says."""

    def __init__(self, model: CellClassifier) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, images: Tensor, field_index: Tensor) -> tuple[Tensor, ...]:
        embeddings = self.model.embed(_floats(images))
        return _said(self.model.classify(embeddings, field_index), self.model)


class _Fields(nn.Module):
    """(B, 4, H, W) uint8 fields, (B, H, W) int32 the cell of each pixel, and (N,) int64 the field of each cell."""

    def __init__(self, model: CellClassifier) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, images: Tensor, masks: Tensor, field_index: Tensor) -> tuple[Tensor, ...]:
        feature_map = self.model.read_map(_floats(images))
        embeddings = _means_under_cells(feature_map, masks, field_index.shape[0])
        return _said(self.model.classify(embeddings, field_index), self.model)


def _means_under_cells(feature_map: Tensor, masks: Tensor, num_cells: int) -> Tensor:
    """(N, D): `find_places` and its mean in operations that other runtimes have, with memory for N x B x h x w values.

    Parameters
    ----------
    feature_map
        (B, D, h, w).
    masks
        (B, H, W) int32, the number of a cell from 1 to N, or 0.
    num_cells
        N.
    """
    num_fields, size, height, width = feature_map.shape
    num_places = num_fields * height * width
    place = of_place(masks.shape[1], height, masks.device)[:, None] * width
    place = place + of_place(masks.shape[2], width, masks.device)
    image = torch.arange(num_fields, device=masks.device)[:, None, None]
    bins = masks.long() * num_places + image * (height * width) + place
    ones = torch.ones_like(bins, dtype=torch.float32)
    areas = torch.zeros((num_cells + 1) * num_places).scatter_add(0, bins.flatten(), ones.flatten())
    # What is no cell is counted in a row of its own, before those of the cells.
    areas = areas.view(num_cells + 1, num_places)[1:]
    totals = areas.sum(dim=1, keepdim=True)
    shares = areas / torch.where(totals > 0, totals, 1)
    return shares @ feature_map.permute(0, 2, 3, 1).reshape(num_places, size)


def _floats(images: Tensor) -> Tensor:
    """As `models.model_input` makes them of bytes."""
    return images.float() / 255


def _said(outputs: CellOutputs, model: CellClassifier) -> tuple[Tensor, ...]:
    cells, fields = outputs.cell_logits, outputs.field_logits.float()
    of_fields = (fields, fields.sigmoid())
    # What a model says of a square is no answer.
    of_cells = () if model.settings.view == "squares" else (cells, cells.sigmoid(), outputs.embeddings)
    return (*of_cells, *of_fields)


def _outputs(model: CellClassifier) -> dict[str, tuple[str | int, ...]]:
    classes = model.settings.num_classes
    of_cells: dict[str, tuple[str | int, ...]] = {
        "cell_logits": ("cells", classes),
        "cell_probabilities": ("cells", classes),
        "embeddings": ("cells", model.embedding_size),
    }
    of_fields: dict[str, tuple[str | int, ...]] = {
        "field_logits": ("fields", classes),
        "field_probabilities": ("fields", classes),
    }
    return of_fields if model.settings.view == "squares" else of_cells | of_fields


def _crops_graph(checkpoint: Checkpoint) -> Graph:
    is_of_squares = checkpoint.square_settings is not None
    settings = (checkpoint.square_settings or {}) if is_of_squares else checkpoint.crop_settings
    size = settings.get("size_px")
    if not isinstance(size, int):
        raise ValueError(
            "The model does not say how large its crops are (crop_settings.size_px in checkpoint.json): it cannot be "
            "written as ONNX."
        )
    model, first = checkpoint.model, "squares" if is_of_squares else "cells"
    generator = torch.Generator().manual_seed(_SEED)
    trials = [
        (_pixels((len(fields), NUM_CHANNELS, size, size), generator), torch.tensor(fields))
        for fields in _FIELDS_OF_CELLS
    ]
    return Graph(
        network=_Crops(model).eval(),
        inputs={"images": (first, NUM_CHANNELS, size, size), "field_index": (first,)},
        outputs=_outputs(model),
        trials=trials,
    )


def _field_graph(checkpoint: Checkpoint) -> Graph:
    generator = torch.Generator().manual_seed(_SEED)
    trials = []
    # Sides of whole strides, as fields are padded to them.
    for cells_of_fields, height, width in (([2, 3], 128, 192), ([1], 96, 96), ([1, 4, 2], 160, 128)):
        shape = (len(cells_of_fields), height, width)
        images = _pixels((shape[0], NUM_CHANNELS, height, width), generator)
        masks, fields = torch.zeros(shape, dtype=torch.int32), []
        for field, number in enumerate(cells_of_fields):
            for slot in range(number):
                fields.append(field)
                masks[field, 20 * slot : 20 * slot + 15, 7 : 50 + slot] = len(fields)
        trials.append((images, masks, torch.tensor(fields)))
    return Graph(
        network=_Fields(checkpoint.model).eval(),
        inputs={
            "images": ("images", NUM_CHANNELS, "height", "width"),
            "masks": ("images", "height", "width"),
            "field_index": ("cells",),
        },
        outputs=_outputs(checkpoint.model),
        trials=trials,
    )


def _pixels(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Noise of several brightnesses: every trial shows the network something else."""
    brightness = torch.rand((shape[0], shape[1], 1, 1), generator=generator)
    return (torch.rand(shape, generator=generator) * brightness * 255).byte()


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    settings, class_set = checkpoint.model.settings, checkpoint.class_set
    view = {"crops": "crop_settings", "field": "field_settings", "squares": "square_settings"}[settings.view]
    return {
        "version": __version__,
        "kind": "classifier",
        "weights_sha256": checkpoint.weights_hash,
        "about": checkpoint.provenance.get("about"),
        "class_set": class_set.name,
        "classes": list(class_set.keys),
        "class_names": [each.name for each in class_set.locations],
        "thresholds": [float(each) for each in checkpoint.thresholds],
        "channels": [each.name.lower() for each in Channel],
        "colors": [each.color for each in Channel],
        "channels_that_may_be_0": sorted(each.name.lower() for each in checkpoint.optional_channels),
        "view": settings.view,
        "shown": getattr(checkpoint, view),
        "normalisation": {
            "of": "each channel of the whole field, before anything is cut out; then 0 to 255, rounded, clipped",
            "dark_quantile": NORMALISATION_QUANTILES[0],
            "bright_quantile": NORMALISATION_QUANTILES[1],
            "least_range": FLOOR_LEVELS / 255,
            "in_the_graph": "division by 255, mean and spread",
        },
        "encoder": settings.encoder,
        "pooling": {"name": settings.pooling.name, "options": settings.pooling.options},
        "calibration": None,
        "inputs": _INPUTS[settings.view],
        "outputs": _OUTPUTS,
    }


_FIELD_INDEX: Final = "the field of each, from 0 without gaps; zeros where all are of one field"
_INPUTS: Final = {
    "crops": {"images": "uint8, a cell each, in the order of `channels`", "field_index": _FIELD_INDEX},
    "squares": {
        "images": "uint8, squares of fields, in the order of `channels`",
        "field_index": _FIELD_INDEX,
    },
    "field": {
        "images": "uint8, whole fields in the order of `channels`, sides multiples of 32, filled with 0",
        "masks": "int32, the number of the cell of each pixel, from 1 through all fields without gaps, or 0",
        "field_index": "the field of cells 1, 2 ..., from 0 without gaps",
    },
}
_OUTPUTS: Final = {
    "cell_logits": "a cell each, in the order of `classes`",
    "cell_probabilities": "their sigmoid",
    "embeddings": "a cell each",
    "field_logits": "of each field, pooled from its cells",
    "field_probabilities": "their sigmoid; a class is called present at or above its threshold",
}
