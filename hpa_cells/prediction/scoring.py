"""From crops to scores, in network batches that know nothing of fields.

Shapes: N cells of all fields together, F fields that have cells, K classes, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hpa_cells.models import CellClassifier, Ensemble, model_input
from hpa_cells.prediction.tta import Symmetries
from hpa_cells.types import CellCrops, CellScores

__all__ = ["ScoringSettings", "pick_device", "score_crops"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSettings:
    """How the network is run.

    Attributes
    ----------
    symmetries
        The views of a crop whose probabilities, and embeddings, are averaged.
    batch_cells
        Number of crops the network sees at once: memory and speed, never the result.
    half_precision
        Whether the network computes in 16 bit; only on a CUDA device.
    """

    symmetries: Symmetries = field(default_factory=Symmetries)
    batch_cells: int = 64
    half_precision: bool = False

    def __post_init__(self) -> None:
        if self.batch_cells < 1:
            raise ValueError(f"batch_cells is {self.batch_cells}: give at least 1.")


def pick_device(name: str) -> torch.device:
    """Device of this name; ``auto`` is a CUDA device where there is one, else the CPU.

    Raises
    ------
    ValueError
        If torch does not know the name, or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Device {name!r} is unknown to torch: use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Device {name!r} is not there: torch sees no CUDA device. Use device=cpu or auto.")
    return device


@torch.inference_mode()
def score_crops(models: Ensemble, crops: Sequence[CellCrops], settings: ScoringSettings) -> list[CellScores]:
    """Score the cells of several fields, and the fields, on the device of the models.

    Parameters
    ----------
    models
        In evaluation mode; their probabilities are averaged, and the embedding is that of the first.
    crops
        The cells of each field; a field may have none.
    settings
        Views, batch size and precision.

    Returns
    -------
    list of CellScores
        One a field, in the same order. A field without cells has NaN as its own probabilities.

    Raises
    ------
    ValueError
        If the network answers with something that is no probability.
    """
    sizes = [len(each.cell_ids) for each in crops]
    num_classes, networks = len(models.class_set), [each.model for each in models.members]
    cells, embeddings = torch.zeros(0, num_classes), torch.zeros(0, networks[0].embedding_size)
    fields = torch.full((len(crops), num_classes), torch.nan)
    # The pooling wants the fields numbered without gaps: those without cells are skipped.
    field_of_cell = torch.arange(len(crops)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    filled, bag_index = torch.unique(field_of_cell, return_inverse=True)
    if len(filled):
        images = np.concatenate([each.images for each in crops])
        cells, fields[filled], embeddings = _average(networks, images, bag_index, settings)
    shares = zip(crops, torch.split(cells, sizes), fields, torch.split(embeddings, sizes), strict=True)
    return [
        CellScores(
            field_id=each.field_id,
            class_set=models.class_set,
            cell_ids=each.cell_ids,
            probabilities=own_cells.numpy(),
            field_probabilities=own_field.numpy(),
            embeddings=own_embeddings.numpy(),
        )
        for each, own_cells, own_field, own_embeddings in shares
    ]


def _average(
    networks: Sequence[CellClassifier], images: np.ndarray, bag_index: Tensor, settings: ScoringSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Average over networks and views: probabilities (N, K) of cells and (F, K) of fields, embeddings (N, D)."""
    cells, fields, embeddings = [], [], []
    for network in networks:
        views = _embed_views(network, images, settings)
        index = bag_index.to(views[0].device)
        outputs = [network.classify(each, index) for each in views]
        cells += [each.cell_logits.sigmoid() for each in outputs]
        fields += [each.field_logits.sigmoid() for each in outputs]
        embeddings.append(torch.stack(views).mean(dim=0))
    return torch.stack(cells).mean(dim=0).cpu(), torch.stack(fields).mean(dim=0).cpu(), embeddings[0].cpu()


def _embed_views(model: CellClassifier, images: np.ndarray, settings: ScoringSettings) -> list[Tensor]:
    """Embeddings (N, D) float32 of each view of all crops; only here does the batch size matter."""
    device = next(model.parameters()).device
    half = settings.half_precision and device.type == "cuda"
    views: list[list[Tensor]] = [[] for _ in range(len(settings.symmetries))]
    with torch.autocast(device.type, dtype=torch.float16, enabled=half):
        for start in range(0, len(images), settings.batch_cells):
            batch = model_input(images[start : start + settings.batch_cells], device)
            for embeddings, view in zip(views, settings.symmetries.views(batch), strict=True):
                embeddings.append(model.embed(view).float())
    return [torch.cat(each) for each in views]
