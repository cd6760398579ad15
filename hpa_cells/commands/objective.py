"""What a training minimises beside the loss of labels: checks before any cell is cut, and the weights of cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import to_settings
from hpa_cells.models import PoolingSettings
from hpa_cells.models.pooling import build_pooling
from hpa_cells.prediction import AreaWeight
from hpa_cells.table import Column
from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.bags import BagSettings
from hpa_cells.training.method import MethodSettings
from hpa_cells.training.self_supervision import SelfSupervisionSettings

__all__ = ["cell_weights", "check_objective"]


def check_objective(cfg: DictConfig, augmentation: AugmentationSettings) -> None:
    """Refuse a training that learns nothing, or bags that there cannot be.

    Raises
    ------
    ValueError
        See `SelfSupervisionSettings.check`, `BagSettings.check` and `AreaWeight`; or if labels would be without effect.
    """
    views = to_settings(SelfSupervisionSettings, cfg.self_supervision)
    views.check(to_settings(MethodSettings, cfg.method), augmentation)
    to_settings(BagSettings, cfg.bags).check(get_class_set(cfg.data.class_set), view=cfg.view.kind)
    to_settings(AreaWeight, cfg.area_weight)
    _check_labels(cfg)
    if cfg.frozen_encoder:
        _check_frozen(cfg)


def _check_labels(cfg: DictConfig) -> None:
    """Refuse what no label would reach, and a method of cells' own labels without any."""
    method = to_settings(MethodSettings, cfg.method)
    if method.needs_cell_labels and cfg.cell_labels is None and cfg.teacher is None:
        raise ValueError(
            "This method learns from labels of cells, and there are none: give cell_labels=TABLE or teacher=, or "
            "choose method=naive, which gives every cell the labels of its field."
        )
    if cfg.soft_labels.rule != "as_they_are" and cfg.cell_labels is None and cfg.teacher is None:
        raise ValueError(
            f"soft_labels.rule is {cfg.soft_labels.rule}, but no cell has labels of its own: give teacher= or "
            "cell_labels=, or choose another method (method=naive, method=dual_head)."
        )
    # Exceptions name classes, which this needs nothing of.
    pooling = build_pooling(replace(to_settings(PoolingSettings, cfg.pooling), exceptions={}), 1, 1)
    if method.field_weight == 0 and any(True for _ in pooling.parameters()):
        raise ValueError(
            f"pooling.name is {cfg.pooling.name}, which learns from labels of fields, but method.field_weight is 0: "
            "set it above 0, choose method=dual_head or method=mask_pooled, or pooling=mean."
        )
    if method.field_weight == 0 and cfg.bags.cutmix > 0:
        raise ValueError(
            f"bags.cutmix is {cfg.bags.cutmix}, which mixes the labels of fields, but method.field_weight is 0: cells "
            "keep labels of their own, and nothing learns those of fields. Choose a method that does "
            "(method=dual_head), set method.field_weight above 0, or bags.cutmix=0."
        )


def _check_frozen(cfg: DictConfig) -> None:
    """Refuse what changes the pixels that a frozen encoder reads once only."""
    for name, strength in (
        ("self_supervision.weight", cfg.self_supervision.weight),
        ("made_up.share", cfg.made_up.share),
        ("method.consistency", to_settings(MethodSettings, cfg.method).consistency),
    ):
        if strength > 0:
            raise ValueError(
                f"{name} is {strength}, which needs pixels in every step, but with frozen_encoder=true "
                "the encoder sees each cell once: set it to 0, or frozen_encoder=false."
            )


def cell_weights(cfg: DictConfig, cells: pd.DataFrame) -> NDArray[np.float32] | None:
    """Weigh cells by how much of them is in view, as `predict` does with its confidences.

    Parameters
    ----------
    cfg
        All settings of a training.
    cells
        N rows of a store of crops or of fields.

    Returns
    -------
    (N,) float32 in (0, 1], or None where all cells count the same.

    Raises
    ------
    ValueError
        If the cells were cut by a version that did not note their areas.
    """
    weight = to_settings(AreaWeight, cfg.area_weight)
    if weight.border_um2 == 0 and weight.inner_um2 == 0:
        return None
    if Column.AREA_UM2 not in cells or cells[Column.AREA_UM2].isna().any():
        raise ValueError(
            f"area_weight needs the areas of cells, which {cfg.crop_store} does not have: an earlier version has "
            "cut them. Choose another crop_store, or delete that folder, to cut them again."
        )
    return weight.weights(cells[Column.AREA_UM2].to_numpy(), cells[Column.TOUCHES_BORDER].to_numpy())
