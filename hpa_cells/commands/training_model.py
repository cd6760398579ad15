"""The model of a training: the network with its first weights, and what is done with it in a step."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import to_settings
from hpa_cells.table import Column, read_table

if TYPE_CHECKING:
    from hpa_cells.models import CellClassifier, EncoderSettings
    from hpa_cells.training.data import BagData, LabelledCells
    from hpa_cells.training.module import TrainingModule

__all__ = [
    "build_classifier",
    "build_module",
    "check_smallest_batch",
    "check_steps",
    "first_weights",
    "hashes_of_start",
    "name_of_start",
]

log = logging.getLogger(__name__)


def check_steps(cfg: DictConfig, classifier: CellClassifier) -> None:
    """Build what a training step is made of and throw it away: mistakes show before any cell is cut.

    Raises
    ------
    ValueError, TypeError
        If a part cannot be built.
    """
    from hydra.utils import instantiate

    from hpa_cells.cells import CropSettings
    from hpa_cells.training.cell_labels import match_cell_labels
    from hpa_cells.training.labelled import DataSettings
    from hpa_cells.training.losses import BagLoss, LossSettings
    from hpa_cells.training.made_up import MadeUpCells, MadeUpSettings
    from hpa_cells.training.module import parameter_groups
    from hpa_cells.training.soft_labels import SoftLabelSettings

    class_set = get_class_set(cfg.data.class_set)
    for kind, node in (
        (DataSettings, cfg.data),
        (CropSettings, cfg.crops),
        (SoftLabelSettings, cfg.soft_labels),
    ):
        to_settings(kind, node)
    if cfg.cell_labels is not None:
        # Of no cell: whether the table is there and of these classes.
        none = pd.DataFrame({Column.FIELD_ID: [], Column.CELL_ID: []})
        match_cell_labels(none, read_table(cfg.cell_labels), class_set)
    BagLoss(
        to_settings(LossSettings, cfg.loss),
        np.ones((1, len(class_set)), dtype=bool),
        field_weight=1.0,
        cell_weight=1.0,
    )
    MadeUpCells(to_settings(MadeUpSettings, cfg.made_up), class_set)
    optimizer = instantiate(cfg.optimizer)(parameter_groups(classifier))
    instantiate(cfg.scheduler)(optimizer, num_steps=1)


def check_smallest_batch(
    cfg: DictConfig, classifier: CellClassifier, data: BagData, num_processes: int
) -> None:
    """Refuse batches of a single cell where the encoder compares the cells of a batch.

    Raises
    ------
    ValueError
        If there may be one and the encoder cannot learn from it.
    """
    import torch

    sees_one = cfg.view.kind != "field" and min(map(len, data.training.rows_of_field)) == 1
    sees_one |= cfg.view.kind != "field" and data.settings.cells_per_field == 1
    if data.settings.fields_per_batch >= 2 * num_processes or not sees_one:
        return
    size_px = cfg.view.size_px if cfg.view.kind == "squares" else cfg.crops.size_px
    crop = torch.zeros(1, 4, size_px, size_px)
    try:
        # A copy: what normalisation has seen of cells is part of the weights.
        deepcopy(classifier).train().embed(crop)
    except ValueError as error:
        raise ValueError(
            f"bags.fields_per_batch is {data.settings.fields_per_batch}, in {num_processes} processes, so that a "
            "batch may hold a single cell, from which an encoder with batch normalisation cannot learn: raise it."
        ) from error


def build_module(cfg: DictConfig, training: LabelledCells, classifier: CellClassifier) -> TrainingModule:
    """All that a training step does; the weights of classes come from the labels of the training fields."""
    from hydra.utils import instantiate

    from hpa_cells.training.augmentation import Augmentation, AugmentationSettings
    from hpa_cells.training.cell_cam import CellCam
    from hpa_cells.training.losses import BagLoss, LossSettings
    from hpa_cells.training.made_up import MadeUpCells, MadeUpSettings
    from hpa_cells.training.method import MethodSettings
    from hpa_cells.training.module import TrainingModule
    from hpa_cells.training.self_supervision import SelfSupervision, SelfSupervisionSettings

    method = to_settings(MethodSettings, cfg.method)
    views = to_settings(SelfSupervisionSettings, cfg.self_supervision)
    return TrainingModule(
        classifier,
        loss=BagLoss(
            to_settings(LossSettings, cfg.loss),
            training.labels,
            field_weight=method.field_weight,
            cell_weight=method.cell_weight,
        ),
        augmentation=Augmentation(to_settings(AugmentationSettings, cfg.augmentation)),
        made_up=MadeUpCells(to_settings(MadeUpSettings, cfg.made_up), training.class_set),
        make_optimizer=instantiate(cfg.optimizer),
        make_scheduler=instantiate(cfg.scheduler),
        seed=cfg.seed,
        compile_model=cfg.compile,
        self_supervision=SelfSupervision(views, classifier.embedding_size) if views.weight > 0 else None,
        cell_cam=CellCam(consistency=method.consistency, pieces=method.pieces)
        if method.consistency > 0
        else None,
    )


def build_classifier(cfg: DictConfig) -> CellClassifier:
    """The model with its first weights, as ``init`` says.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such network, its parts do not go together, or its first weights are of another.
    """
    from hpa_cells.models import (
        CellClassifier,
        ClassifierSettings,
        EncoderSettings,
        PoolingSettings,
        take_over,
    )
    from hpa_cells.training.method import MethodSettings
    from hpa_cells.training.view import ViewSettings

    class_set = get_class_set(cfg.data.class_set)
    encoder = to_settings(EncoderSettings, cfg.encoder)
    start = first_weights(str(cfg.init), encoder)
    if start == "timm":
        encoder = replace(encoder, pretrained=True)
    elif start != "encoder":
        encoder = replace(encoder, pretrained=False, weights_file=None)
    classifier = CellClassifier(
        ClassifierSettings(
            num_classes=len(class_set),
            encoder=encoder.name,
            encoder_options=encoder.options,
            pooling=to_settings(PoolingSettings, cfg.pooling).with_positions(class_set),
            field_head=to_settings(MethodSettings, cfg.method).field_head,
            view=cfg.view.kind,
            map_stride=to_settings(ViewSettings, cfg.view).stride,
        ),
        encoder_start=encoder,
    )
    if start not in ("encoder", "timm", "none"):
        earlier = take_over(classifier, start, class_set=class_set.name, heads=cfg.init_heads)
        if earlier.class_set.name != class_set.name:
            log.info(
                "init=%s has the classes of %s: its encoder is taken over, its heads are not.",
                start,
                earlier.class_set.name,
            )
    return classifier


def first_weights(init: str, encoder: EncoderSettings) -> str:
    """What ``auto`` means: the shipped model if it has this encoder, else ``encoder``: as that's settings say."""
    from hpa_cells.models import SHIPPED, shipped_encoder

    if init != "auto":
        return init
    has_own = encoder.weights_file is not None or (encoder.name, encoder.options) != shipped_encoder()
    return "encoder" if has_own else SHIPPED


def hashes_of_start(cfg: DictConfig) -> dict[str, list[str]]:
    """SHA-256 of the first weights, by the setting that names them; none of those that timm finds.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If `init` is no model.
    """
    from hpa_cells.models import EncoderSettings
    from hpa_cells.models.checkpoint import read_weights_hash
    from hpa_cells.models.start import checkpoint_folder
    from hpa_cells.training.field_weights import file_hash

    encoder = to_settings(EncoderSettings, cfg.encoder)
    start = first_weights(str(cfg.init), encoder)
    if start == "encoder" and encoder.weights_file is not None:
        return {"encoder.weights_file": [file_hash(encoder.weights_file)]}
    if start in ("encoder", "timm", "none"):
        return {}
    return {"init": [read_weights_hash(checkpoint_folder(start))]}


def name_of_start(cfg: DictConfig) -> str:
    """Where the first weights of the encoder came from, for the model card."""
    from hpa_cells.models import EncoderSettings

    encoder = to_settings(EncoderSettings, cfg.encoder)
    start = first_weights(str(cfg.init), encoder)
    if start != "encoder":
        return start
    if encoder.weights_file is not None:
        return str(encoder.weights_file)
    return "timm" if encoder.pretrained else "none"
