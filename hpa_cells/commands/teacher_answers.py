"""What the models of a cross-fit have said of labelled fields, where it fits another training as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from hpa_cells.commands.field_files import FIELD_FILES, changed_fields, failed_fields, named
from hpa_cells.commands.out_of_fold import SHARDS, check_models, is_out_of_fold
from hpa_cells.commands.training_data import labelled_fields
from hpa_cells.commands.training_run import plain
from hpa_cells.fields import FieldSource
from hpa_cells.table import CellTable, Column, Provenance, read_table
from hpa_cells.training.cutting import masks_fingerprint
from hpa_cells.training.identity import identity

__all__ = ["read_answers"]

log = logging.getLogger(__name__)

# Of the provenance; tables of earlier versions lack it.
_MASKS: Final = "masks"


def read_answers(cfg: DictConfig, table: Path) -> CellTable:
    """The table ``out_of_fold`` of a cross-fit, which labels the cells of this training.

    Parameters
    ----------
    cfg
        The settings of the training, resolved.
    table
        Its folder.

    Raises
    ------
    ValueError
        If it is not there, lacks a field, has no cells, its cells are not those that the training cuts, fields have
        changed since, or the models beside it are not those that it was made by.
    """
    if not any(table.glob(SHARDS)):
        raise ValueError(
            f"teacher={table.parent} has no {table.name} yet: repeat the command of that cross-fit, which goes on."
        )
    answers = read_table(table)
    if not is_out_of_fold(answers.provenance):
        raise ValueError(
            f"{table} was not written by a cross-fit: move it elsewhere and repeat the command of the cross-fit in "
            f"{table.parent}, or give the table as cell_labels={table}, without a teacher."
        )
    if answers.cells.empty:
        raise ValueError(f"{table} says nothing of cells: choose a cross-fit that sees cells, not squares.")
    _check_masks(cfg, table, answers.provenance)
    check_models(table, all_finished=True)
    fields = labelled_fields(cfg)
    _check_finished(cfg, table, answers, fields.table.field_ids)
    _check_files(table, fields.sources)
    return answers


def _check_masks(cfg: DictConfig, table: Path, provenance: Provenance) -> None:
    """Cells are known by their ids alone: by another segmenter these are ids of other cells."""
    segmenter = plain(cfg.segmenter)
    if "folder" in segmenter and Path(segmenter["folder"]).resolve() == table.resolve():
        return
    theirs = provenance.settings
    for name, own, other in (
        ("segmenter", _mask_settings(segmenter), _mask_settings(theirs["segmenter"])),
        ("data.pixel_size_um", cfg.data.pixel_size_um, theirs["training"]["data"]["pixel_size_um"]),
    ):
        if own != other:
            raise ValueError(
                f"The cells of {table} were found with {name} {other}, this training has {own}: choose the same, or "
                f"cut by those very masks with segmenter=cell_table segmenter.folder={table}."
            )
    if _MASKS in theirs and theirs[_MASKS] != masks_fingerprint(segmenter):
        raise ValueError(
            f"The masks in {segmenter['folder']} have changed since {table} was written, which has scores of the cells "
            "of earlier ones: cut by those with segmenter=cell_table "
            f"segmenter.folder={table}, or repeat that cross-fit with resume=false."
        )


def _mask_settings(segmenter: dict[str, object]) -> dict[str, object]:
    """Without what changes nothing in the masks, and its folder in one spelling."""
    in_one_spelling: dict[str, object] = identity({"segmenter": segmenter})["segmenter"]
    return {name: value for name, value in in_one_spelling.items() if name != "device"}


def _check_finished(cfg: DictConfig, table: Path, answers: CellTable, wanted: Sequence[str]) -> None:
    known = set(answers.fields[Column.FIELD_ID])
    if cfg.data.broken == "drop":
        known |= failed_fields(table)
    lost = [field_id for field_id in wanted if field_id not in known]
    if lost:
        raise ValueError(
            f"{table} lacks {len(lost)} of {len(wanted)} labelled fields ({named(lost)}): "
            "repeat the command of that cross-fit, which goes on, or train on the fields that it knows."
        )


def _check_files(table: Path, sources: Sequence[FieldSource]) -> None:
    """Refuse scores of other images than those that the training learns from."""
    changed = changed_fields(table, sources)
    if changed is None:
        log.warning(
            "%s has no %s, so that scores of images that have changed since are not noticed.",
            table,
            FIELD_FILES,
        )
    elif changed:
        raise ValueError(
            f"The files of {len(changed)} of {len(sources)} fields ({named(changed)}) are others than those that the "
            f"models of {table.parent} have seen: repeat that cross-fit with resume=false, or, if the images are the "
            f"same and only names or times of their files are not, remove {table / FIELD_FILES}."
        )
