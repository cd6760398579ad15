"""From crops, squares and whole fields to scores; crops and squares in network batches that know nothing of fields.

Shapes: N cells, or squares, of all fields together, F fields that have cells, K classes, D embedding size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpa_cells.cells import pad_fields
from hpa_cells.models import CellClassifier, Ensemble, model_input
from hpa_cells.prediction.memory import BatchLimit, BatchLimits, in_batches
from hpa_cells.prediction.tta import Symmetries
from hpa_cells.types import CellCrops, CellScores, FieldView

__all__ = ["CellPixels", "ScoringSettings", "pick_device", "score_cells", "score_crops"]

# A network sees about as much of whole fields at once as of `batch_cells` crops of this size.
_CROP_PX = 128 * 128
# On a CPU, where more at once is no faster, and whatever a user sets: the last bits of a number depend on it.
_CPU_BATCH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSettings:
    """How the network is run.

    Attributes
    ----------
    symmetries
        The views of a crop or field whose probabilities, and embeddings, are averaged.
    batch_cells
        Number of crops the network sees at once on a GPU, or of fields as many as have so many pixels in crops of
        128 px, but at least one: memory and speed, hardly the result. On a CPU each field is seen alone.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPixels:
    """What models see of a field and its cells; at least one of the three.

    Attributes
    ----------
    crops
        For models of crops.
    view
        For models of whole fields.
    squares
        For models of squares, which know no cells.
    """

    crops: CellCrops | None = None
    view: FieldView | None = None
    squares: CellCrops | None = None

    @property
    def shown(self) -> CellCrops | FieldView:
        """One of them, for what all say."""
        shown = self.crops or self.view or self.squares
        assert shown is not None
        return shown

    @property
    def cell_ids(self) -> NDArray[np.int32]:
        """(N,) int32, the cells of the field; none where only squares are seen."""
        shown = self.crops or self.view
        return np.zeros(0, dtype=np.int32) if shown is None else shown.cell_ids

    @property
    def num_squares(self) -> int:
        """Number of squares of the field."""
        return 0 if self.squares is None else len(self.squares.cell_ids)


def score_crops(models: Ensemble, crops: Sequence[CellCrops], settings: ScoringSettings) -> list[CellScores]:
    """Score the cells of several fields by models of crops, see `score_cells`."""
    return score_cells(models, [CellPixels(crops=each) for each in crops], settings)


@torch.inference_mode()
def score_cells(
    models: Ensemble,
    pixels: Sequence[CellPixels],
    settings: ScoringSettings,
    *,
    limits: BatchLimits | None = None,
) -> list[CellScores]:
    """Score the cells of several fields, and the fields, on the device of the models.

    On a CPU the scores of a field are the same, to the last bit, whatever other fields come with it.

    Parameters
    ----------
    models
        In evaluation mode; their probabilities are averaged, and the embedding is that of the first that sees cells.
        Models of squares have a say in fields only.
    pixels
        Each field and its cells, as all models want to see them; a field may have none.
    settings
        Views, batch size and precision.
    limits
        What earlier calls have found out of the memory, see `in_batches`.

    Returns
    -------
    list of CellScores
        One a field, in the same order. A field without cells has NaN as its own probabilities, or what the models of
        squares say of it.

    Raises
    ------
    ValueError
        If the network answers with something that is no probability.
    """
    limits = defaultdict(BatchLimit) if limits is None else limits
    if _device_of(models.members[0].model).type == "cpu":
        return [_score_together(models, [each], settings, limits)[0] for each in pixels]
    return _score_together(models, pixels, settings, limits)


def _score_together(
    models: Ensemble, pixels: Sequence[CellPixels], settings: ScoringSettings, limits: BatchLimits
) -> list[CellScores]:
    num_classes, networks = len(models.class_set), [each.model for each in models.members]
    of_squares = [each for each in networks if each.settings.view == "squares"]
    of_cells = [each for each in networks if each not in of_squares]
    sizes = [len(each.cell_ids) for each in pixels]
    cells, fields, embeddings = _score(of_cells, pixels, sizes, settings, limits, num_classes)
    if of_squares:
        num_squares = [each.num_squares for each in pixels]
        said = _score(of_squares, pixels, num_squares, settings, limits, num_classes)[1]
        mean = (len(of_cells) * fields + len(of_squares) * said) / len(networks)
        # Where no cell is, only squares have been seen.
        fields = torch.where(fields.isnan(), said, mean)
    shares = zip(pixels, torch.split(cells, sizes), fields, torch.split(embeddings, sizes), strict=True)
    return [
        CellScores(
            field_id=each.shown.field_id,
            class_set=models.class_set,
            cell_ids=each.cell_ids,
            probabilities=own_cells.numpy(),
            field_probabilities=own_field.numpy(),
            embeddings=own_embeddings.numpy(),
        )
        for each, own_cells, own_field, own_embeddings in shares
    ]


def _score(
    networks: Sequence[CellClassifier],
    pixels: Sequence[CellPixels],
    sizes: Sequence[int],
    settings: ScoringSettings,
    limits: BatchLimits,
    num_classes: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_average` says, for all fields; `sizes` is the number of cells, or squares, of each.

    A field without any, and every field where there is no network, has NaN.
    """
    cells = torch.zeros(0, num_classes)
    embeddings = torch.zeros(0, networks[0].embedding_size if networks else 0)
    fields = torch.full((len(pixels), num_classes), torch.nan)
    # The pooling wants the fields numbered without gaps: those without cells are skipped.
    field_of_cell = torch.arange(len(pixels)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    filled, bag_index = torch.unique(field_of_cell, return_inverse=True)
    if networks and len(filled):
        cells, fields[filled], embeddings = _average(networks, pixels, bag_index, settings, limits)
    return cells, fields, embeddings


def _average(
    networks: Sequence[CellClassifier],
    pixels: Sequence[CellPixels],
    bag_index: Tensor,
    settings: ScoringSettings,
    limits: BatchLimits,
) -> tuple[Tensor, Tensor, Tensor]:
    """Average over networks and views: probabilities (N, K) of cells and (F, K) of fields, embeddings (N, D)."""
    cells, fields, embeddings = [], [], []
    for network in networks:
        views = (
            _embed_fields(network, pixels, settings)
            if network.settings.view == "field"
            else _embed_crops(network, pixels, settings, limits)
        )
        index = bag_index.to(views[0].device)
        outputs = [network.classify(each, index) for each in views]
        cells += [each.cell_logits.sigmoid() for each in outputs]
        fields += [each.field_logits.sigmoid() for each in outputs]
        embeddings.append(torch.stack(views).mean(dim=0))
    return torch.stack(cells).mean(dim=0).cpu(), torch.stack(fields).mean(dim=0).cpu(), embeddings[0].cpu()


def _embed_crops(
    model: CellClassifier, pixels: Sequence[CellPixels], settings: ScoringSettings, limits: BatchLimits
) -> list[Tensor]:
    """Embeddings (N, D) float32 of each view of all crops, or squares; only here does the batch size matter."""
    shown = [each.squares if model.settings.view == "squares" else each.crops for each in pixels]
    images = np.concatenate([each.images for each in shown if each is not None])
    device = _device_of(model)
    size = settings.batch_cells
    if device.type == "cpu":
        size = max(1, _CPU_BATCH * _CROP_PX // max(_CROP_PX, images.shape[-1] ** 2))

    def embed(part: slice) -> list[Tensor]:
        batch = model_input(images[part], device)
        return [model.embed(view).float() for view in settings.symmetries.views(batch)]

    with _precision(settings, device):
        views = zip(*in_batches(embed, len(images), size, limits[id(model), images.shape[-1]]), strict=True)
        return [torch.cat(each) for each in views]


def _embed_fields(
    model: CellClassifier, pixels: Sequence[CellPixels], settings: ScoringSettings
) -> list[Tensor]:
    """Embeddings (N, D) float32 of the cells in each view of the fields, in the fields' order."""
    fields = [each.view for each in pixels if each.view is not None and len(each.view.cell_ids)]
    device = _device_of(model)
    found: list[list[Tensor]] = [[torch.empty(0)] * len(fields) for _ in range(len(settings.symmetries))]
    with _precision(settings, device):
        for batch in _of_one_shape(fields, settings.batch_cells):
            sizes = [len(fields[position].cell_ids) for position in batch]
            images, masks = _numbered([fields[position] for position in batch], sizes)
            views = settings.symmetries.views(model_input(images, device))
            masks_of_views = settings.symmetries.views(torch.from_numpy(masks).to(device))
            for of_view, image, mask in zip(found, views, masks_of_views, strict=True):
                parts = torch.split(model.embed(image, mask).float(), sizes)
                for position, part in zip(batch, parts, strict=True):
                    of_view[position] = part
    return [torch.cat(each) for each in found]


def _of_one_shape(fields: Sequence[FieldView], batch_cells: int) -> Iterator[list[int]]:
    """Positions of fields that go through a network together: none is padded for the sake of another."""
    of_shape: dict[tuple[int, ...], list[int]] = {}
    for position, each in enumerate(fields):
        of_shape.setdefault(each.labels.shape, []).append(position)
    for (height, width), positions in of_shape.items():
        size = max(1, batch_cells * _CROP_PX // (height * width))
        yield from (positions[start : start + size] for start in range(0, len(positions), size))


def _numbered(
    fields: Sequence[FieldView], sizes: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images and masks of a batch; its cells are numbered through."""
    starts = np.cumsum([0, *sizes[:-1]])
    masks = [
        np.where(each.labels > 0, each.positions + start, 0)
        for each, start in zip(fields, starts, strict=True)
    ]
    return pad_fields([each.image for each in fields], masks)


def _device_of(model: CellClassifier) -> torch.device:
    return next(model.parameters()).device


def _precision(settings: ScoringSettings, device: torch.device) -> torch.autocast:
    half = settings.half_precision and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.float16, enabled=half)
