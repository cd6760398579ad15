"""Real material: fields whose cells are known, and images whose nuclei are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import Precomputed, Watershed
from hpa_cells.training.segmenter.nucleus_images import read_nucleus_images
from hpa_cells.training.segmenter.training_field import TrainingField, training_field
from hpa_cells.types import Field, Segmentation

__all__ = ["MaterialSettings", "read_cell_fields", "read_nucleus_fields"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaterialSettings:
    """What the segmenter learns from.

    Attributes
    ----------
    simulated_fields, simulated_validation_fields
        Numbers of simulated fields.
    cell_fields, cell_masks
        Folders of real fields and of the label images of their cells; None: no such.
    nuclei
        Folder with ``images/`` and ``labels/`` of nuclei, of one name each; None: no such.
    nuclei_um_per_px
        Their pixel size, where their files do not state it.
    outlines
        Folders and files of cell label images without fields: the simulation fills some of them with light.
    held_out
        Ids of cell fields that are kept for validation.
    nuclei_folds, held_out_fold
        The nucleus images are dealt out to this many folds; one is kept for validation, None: none is.
    """

    simulated_fields: int
    simulated_validation_fields: int
    cell_fields: str | None = None
    cell_masks: str | None = None
    nuclei: str | None = None
    nuclei_um_per_px: float = 0.65
    outlines: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    nuclei_folds: int = 4
    held_out_fold: int | None = None


def read_cell_fields(
    settings: MaterialSettings, *, um_per_px: float
) -> tuple[list[TrainingField], list[TrainingField]]:
    """Real fields with known cells: those to learn from, those held out.

    Masks of cells come without nuclei, so the watershed's are taken, inside of the known cells; a cell in which
    it finds none is left out.

    Raises
    ------
    ValueError
        If a held-out field does not exist, or a field has no mask.
    """
    if settings.cell_fields is None or settings.cell_masks is None:
        return [], []
    fields = [read_field(source) for source in find_fields(settings.cell_fields)]
    unknown = set(settings.held_out) - {each.field_id for each in fields}
    if unknown:
        raise ValueError(
            f"Held-out fields {', '.join(sorted(unknown))} are not in {settings.cell_fields}: "
            "correct segmentation.material.held_out."
        )
    truths = Precomputed(folder=settings.cell_masks).segment(fields)
    kept: list[TrainingField] = []
    held_out: list[TrainingField] = []
    for each, truth in zip(fields, truths, strict=True):
        is_held_out = each.field_id in settings.held_out
        known = truth if is_held_out else _with_nuclei(each, truth)
        chosen = held_out if is_held_out else kept
        chosen.append(training_field(each, known, source="cells", um_per_px=um_per_px))
    return kept, held_out


def read_nucleus_fields(
    settings: MaterialSettings, *, um_per_px: float
) -> tuple[list[TrainingField], list[TrainingField]]:
    """Images of nuclei as fields without other channels: those to learn from, those held out.

    Raises
    ------
    ValueError
        As `read_nucleus_images` says.
    """
    if settings.nuclei is None:
        return [], []
    images = read_nucleus_images(Path(settings.nuclei), um_per_px=settings.nuclei_um_per_px)
    kept: list[TrainingField] = []
    held_out: list[TrainingField] = []
    for index, (image, nuclei) in enumerate(images):
        truth = Segmentation(
            field_id=image.field_id, cells=nuclei, nuclei=nuclei, pixel_size_um=image.pixel_size_um
        )
        chosen = held_out if index % settings.nuclei_folds == settings.held_out_fold else kept
        chosen.append(training_field(image, truth, source="nuclei", um_per_px=um_per_px))
    return kept, held_out


def _with_nuclei(field: Field, truth: Segmentation) -> Segmentation:
    [found] = Watershed().segment([field])
    nuclei = np.where(found.nuclei > 0, truth.cells, 0)
    has_nucleus = np.isin(truth.cells, np.unique(nuclei))
    return Segmentation(
        field_id=field.field_id,
        cells=np.where(has_nucleus, truth.cells, 0),
        nuclei=nuclei,
        pixel_size_um=field.pixel_size_um,
    )
