"""What the models of a cross-fit have said of labelled fields, where it fits another training as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd
from omegaconf import DictConfig

from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import plain
from hpa_cells.prediction import FAILURES_FILE
from hpa_cells.table import CellTable, Column, Provenance, read_table
from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.labelled import DataSettings, find_labelled_fields

__all__ = ["SHARDS", "read_answers"]

# Of a cell table.
SHARDS: Final = "fields-*.parquet"
_NUM_SHOWN = 5


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
        If it is not there, lacks a field, has no cells, or its cells are not those that the training cuts.
    """
    if not any(table.glob(SHARDS)):
        raise ValueError(
            f"teacher={table.parent} has no {table.name} yet: repeat the command of that cross-fit, which goes on."
        )
    answers = read_table(table)
    if answers.cells.empty:
        raise ValueError(f"{table} says nothing of cells: choose a cross-fit that sees cells, not squares.")
    _check_masks(cfg, table, answers.provenance)
    _check_finished(cfg, table, answers)
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


def _mask_settings(segmenter: dict[str, object]) -> dict[str, object]:
    """Without what changes nothing in the masks."""
    return {name: value for name, value in segmenter.items() if name != "device"}


def _check_finished(cfg: DictConfig, table: Path, answers: CellTable) -> None:
    known = set(answers.fields[Column.FIELD_ID])
    failures = table / FAILURES_FILE
    if cfg.data.broken == "drop" and failures.exists():
        known |= set(pd.read_csv(failures, dtype=str, keep_default_na=False)[Column.FIELD_ID])
    dropouts = to_settings(AugmentationSettings, cfg.augmentation).dropouts
    fields = find_labelled_fields(to_settings(DataSettings, cfg.data), optional=frozenset(dropouts))
    wanted = fields.table.field_ids
    lost = [field_id for field_id in wanted if field_id not in known]
    if lost:
        more = " ..." if len(lost) > _NUM_SHOWN else ""
        raise ValueError(
            f"{table} lacks {len(lost)} of {len(wanted)} labelled fields ({', '.join(lost[:_NUM_SHOWN])}{more}): "
            "repeat the command of that cross-fit, which goes on, or train on the fields that it knows."
        )
