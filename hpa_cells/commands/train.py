"""``hpa-cells train``: a checkpoint folder from fields of which only the whole is labelled, or a segmenter."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.atomic import sole_writer
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import build_trainer, fit, plain, prepare_torch, settings_with_effect

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from hpa_cells.classes import ClassSet
    from hpa_cells.models import CellClassifier, Checkpoint, EncoderSettings
    from hpa_cells.training.augmentation import AugmentationSettings
    from hpa_cells.training.data import BagData, LabelledCells
    from hpa_cells.training.method import MethodSettings
    from hpa_cells.training.module import TrainingModule
    from hpa_cells.training.run_folder import RunFolder

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train as the settings say; see ``conf/train.yaml``."""
    with sole_writer(Path(cfg.out)):
        if cfg.segmentation is not None:
            from hpa_cells.commands.train_segmenter import train_segmenter

            train_segmenter(cfg)
        elif cfg.cross_fit:
            from hpa_cells.commands.train_folds import train_folds

            train_folds(cfg, _train)
        else:
            _train(cfg)


def _train(cfg: DictConfig) -> None:
    from lightning.pytorch import seed_everything

    from hpa_cells.models import EncoderSettings, check_crop_size, save_checkpoint
    from hpa_cells.training.augmentation import AugmentationSettings
    from hpa_cells.training.run_folder import claim_folder

    settings = settings_with_effect(cfg)
    OmegaConf.resolve(cfg)
    folder = claim_folder(Path(cfg.out), settings, resume=cfg.resume)
    if folder.is_finished:
        log.info("%s is finished; resume=false trains it again.", folder.out)
        return
    prepare_torch(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    check_crop_size(to_settings(EncoderSettings, cfg.encoder), cfg.crops.size_px)
    augmentation = to_settings(AugmentationSettings, cfg.augmentation)
    data = _build_data(cfg, augmentation)
    module = _build_module(cfg, data.training, augmentation)
    trainer = build_trainer(cfg, folder)
    fit(trainer, module, data=data, folder=folder)
    _load_best_weights(module, folder)
    checkpoint = save_checkpoint(folder.out, _describe(cfg, trainer, module, data=data, settings=settings))
    log.info(
        "Wrote %s: macro average precision %.3f on %d validation fields.",
        folder.out,
        checkpoint.provenance["metrics"]["macro_average_precision"],
        checkpoint.provenance["metrics"]["validation_fields"],
    )


def _build_data(cfg: DictConfig, augmentation: AugmentationSettings) -> BagData:
    from hydra.utils import instantiate

    from hpa_cells.cells import CropSettings
    from hpa_cells.training.bags import BagSettings
    from hpa_cells.training.cutting import CuttingSettings, cut_fields
    from hpa_cells.training.data import BagData
    from hpa_cells.training.labelled import (
        CellLabels,
        DataSettings,
        find_labelled_fields,
        label_cells,
        split_folds,
    )
    from hpa_cells.training.soft_labels import SoftLabelSettings

    data = to_settings(DataSettings, cfg.data)
    bags = to_settings(BagSettings, cfg.bags)
    fields = find_labelled_fields(data, optional=frozenset(augmentation.dropouts))
    cutting = CuttingSettings(
        segmenter=instantiate(cfg.segmenter),
        segmenter_settings=plain(cfg.segmenter),
        crops=to_settings(CropSettings, cfg.crops),
        pixel_size_um=data.pixel_size_um,
        broken=data.broken,
        workers=cfg.workers,
    )
    store = cut_fields(Path(cfg.crop_store), fields.sources, cutting)
    rule = to_settings(SoftLabelSettings, cfg.soft_labels)
    cell_labels = None if cfg.cell_labels is None else CellLabels(table=Path(cfg.cell_labels), settings=rule)
    training, validation = split_folds(label_cells(fields, store, cell_labels=cell_labels), fields, data.fold)
    return BagData(training, validation, bags)


def _build_module(
    cfg: DictConfig, training: LabelledCells, augmentation: AugmentationSettings
) -> TrainingModule:
    from hydra.utils import instantiate

    from hpa_cells.training.augmentation import Augmentation
    from hpa_cells.training.losses import BagLoss, LossSettings
    from hpa_cells.training.made_up import MadeUpCells, MadeUpSettings
    from hpa_cells.training.method import MethodSettings
    from hpa_cells.training.module import TrainingModule

    method = to_settings(MethodSettings, cfg.method)
    classifier = _build_classifier(cfg, method, training.class_set)
    return TrainingModule(
        classifier,
        loss=BagLoss(
            to_settings(LossSettings, cfg.loss),
            training.labels,
            field_weight=method.field_weight,
            cell_weight=method.cell_weight,
        ),
        augmentation=Augmentation(augmentation),
        made_up=MadeUpCells(to_settings(MadeUpSettings, cfg.made_up), training.class_set),
        make_optimizer=instantiate(cfg.optimizer),
        make_scheduler=instantiate(cfg.scheduler),
        seed=cfg.seed,
        compile_model=cfg.compile,
    )


def _build_classifier(cfg: DictConfig, method: MethodSettings, class_set: ClassSet) -> CellClassifier:
    """The model with its first weights, as ``init`` says."""
    from hpa_cells.models import (
        CellClassifier,
        ClassifierSettings,
        EncoderSettings,
        PoolingSettings,
        take_over,
    )

    encoder = to_settings(EncoderSettings, cfg.encoder)
    start = _start(str(cfg.init), encoder)
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
            field_head=method.field_head,
        ),
        encoder_start=encoder,
    )
    if start not in ("encoder", "timm", "none"):
        take_over(classifier, start, class_set=class_set.name)
    return classifier


def _start(init: str, encoder: EncoderSettings) -> str:
    """What ``auto`` means: the shipped model if it has this encoder, else ``encoder``: as that's settings say."""
    from hpa_cells.models import SHIPPED, shipped_encoder

    if init != "auto":
        return init
    has_own = encoder.weights_file is not None or (encoder.name, encoder.options) != shipped_encoder()
    return "encoder" if has_own else SHIPPED


def _load_best_weights(module: TrainingModule, folder: RunFolder) -> None:
    from hpa_cells.training.outcome import load_best_weights

    if folder.best.exists():
        load_best_weights(module.classifier, folder.best)


def _describe(
    cfg: DictConfig, trainer: Trainer, module: TrainingModule, *, data: BagData, settings: dict[str, Any]
) -> Checkpoint:
    from hpa_cells.models import Checkpoint
    from hpa_cells.training.outcome import score_fields, validation_metrics

    classifier = module.classifier
    device = trainer.strategy.root_device
    probabilities, labels = score_fields(classifier, data.val_dataloader(), device)
    class_set = data.training.class_set
    thresholds, metrics = validation_metrics(probabilities, labels, class_set)
    return Checkpoint(
        model=classifier.cpu(),
        class_set=class_set,
        crop_settings=plain(cfg.crops),
        thresholds=thresholds,
        optional_channels=frozenset(module.augmentation.settings.dropouts),
        provenance={
            "version": __version__,
            "about": cfg.about,
            "data": {
                "training_fields": len(data.training.field_ids),
                "training_cells": data.training.num_cells,
                "label_shares": dict(
                    zip(class_set.keys, data.training.labels.mean(axis=0).round(4).tolist(), strict=True)
                ),
            },
            "training": {"steps": trainer.global_step, "epochs": trainer.current_epoch, "seed": cfg.seed},
            "metrics": metrics,
            "settings": settings,
        },
    )
