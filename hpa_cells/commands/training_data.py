"""The data of a training: labelled cells as the network is to see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import plain

if TYPE_CHECKING:
    from hpa_cells.training.data import BagData
    from hpa_cells.training.labelled import LabelledFields

__all__ = ["build_data", "check_view", "content_hashes", "labelled_fields"]


def content_hashes(cfg: DictConfig) -> dict[str, list[str]]:
    """SHA-256 of the files that say what is learned, by setting; people edit them under the same name.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    """
    from hpa_cells.training.field_weights import file_hash

    tables = [each if isinstance(each, str) else each.path for each in cfg.data.labels]
    files = {"data.labels": tables}
    for name in ("groups_file", "review"):
        if cfg.data[name] is not None:
            files[f"data.{name}"] = [cfg.data[name]]
    if cfg.cell_labels is not None:
        files["cell_labels"] = sorted(Path(cfg.cell_labels).glob("*.parquet"))
    return {name: [file_hash(each) for each in paths] for name, paths in files.items()}


def check_view(cfg: DictConfig) -> None:
    """The network can read what it is to see, and the other settings go with it."""
    from hpa_cells.models import EncoderSettings, check_crop_size, check_feature_map
    from hpa_cells.training.made_up import MadeUpSettings
    from hpa_cells.training.method import MethodSettings
    from hpa_cells.training.view import ViewSettings

    view = to_settings(ViewSettings, cfg.view)
    view.check(to_settings(MethodSettings, cfg.method), to_settings(MadeUpSettings, cfg.made_up))
    view.check_cells(cfg.cell_labels, max(cfg.area_weight.border_um2, cfg.area_weight.inner_um2))
    encoder = to_settings(EncoderSettings, cfg.encoder)
    if view.field is not None:
        check_feature_map(encoder, view.stride)
    else:
        check_crop_size(encoder, cfg.crops.size_px if view.squares is None else view.squares.size_px)


def labelled_fields(cfg: DictConfig) -> LabelledFields:
    """All labelled fields of a training; one may lack the channels that its models will do without."""
    from hpa_cells.training.augmentation import AugmentationSettings
    from hpa_cells.training.labelled import DataSettings, find_labelled_fields

    dropouts = to_settings(AugmentationSettings, cfg.augmentation).dropouts
    return find_labelled_fields(to_settings(DataSettings, cfg.data), optional=frozenset(dropouts))


def build_data(cfg: DictConfig) -> BagData:
    """Find the labelled fields, find and cut their cells, and deal them out to training and validation."""
    from hydra.utils import instantiate

    from hpa_cells.cells import CropSettings
    from hpa_cells.commands.objective import cell_weights
    from hpa_cells.training.bags import BagSettings
    from hpa_cells.training.cutting import CuttingSettings, cut_fields
    from hpa_cells.training.data import BagData
    from hpa_cells.training.labelled import CellLabels, DataSettings, label_cells, split_folds
    from hpa_cells.training.soft_labels import SoftLabelSettings
    from hpa_cells.training.view import ViewSettings

    data = to_settings(DataSettings, cfg.data)
    view, bags = to_settings(ViewSettings, cfg.view), to_settings(BagSettings, cfg.bags)
    if view.squares is not None:
        # A model is validated as it predicts.
        bags = replace(bags, validation_cells_per_field=view.squares.num_predicted)
    fields = labelled_fields(cfg)
    cutting = CuttingSettings(
        segmenter=instantiate(cfg.segmenter),
        segmenter_settings=plain(cfg.segmenter),
        view=view.shown(to_settings(CropSettings, cfg.crops)),
        pixel_size_um=data.pixel_size_um,
        broken=data.broken,
        workers=cfg.workers,
    )
    store = cut_fields(Path(cfg.crop_store), fields.sources, cutting)
    rule = to_settings(SoftLabelSettings, cfg.soft_labels)
    cell_labels = None if cfg.cell_labels is None else CellLabels(table=Path(cfg.cell_labels), settings=rule)
    cells = label_cells(fields, store, cell_labels=cell_labels)
    cells = replace(cells, cell_weights=cell_weights(cfg, store.cells))
    called = "squares" if view.squares is not None else "cells"
    training, validation = split_folds(cells, fields, data.fold, called=called)
    return BagData(training, validation, bags)
