"""``hpa-cells train``: a checkpoint folder from fields of which only the whole is labelled, or a segmenter."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.atomic import sole_writer
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import build_trainer, fit, plain, prepare_torch, settings_with_effect

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from hpa_cells.models import Checkpoint
    from hpa_cells.training.augmentation import AugmentationSettings
    from hpa_cells.training.data import BagData, LabelledCells
    from hpa_cells.training.module import TrainingModule
    from hpa_cells.training.run_folder import RunFolder

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train as the settings say; see ``conf/train.yaml``."""
    with sole_writer(Path(cfg.out)):
        if cfg.segmentation is None:
            _train(cfg)
        else:
            from hpa_cells.commands.train_segmenter import train_segmenter

            train_segmenter(cfg)


def _train(cfg: DictConfig) -> None:
    from lightning.pytorch import seed_everything

    from hpa_cells.models import save_checkpoint
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
    from hpa_cells.training.labelled import DataSettings, find_labelled_fields, label_cells, split_folds

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
    cell_labels = None if cfg.cell_labels is None else Path(cfg.cell_labels)
    training, validation = split_folds(label_cells(fields, store, cell_labels=cell_labels), fields, data.fold)
    return BagData(training, validation, bags)


def _build_module(
    cfg: DictConfig, training: LabelledCells, augmentation: AugmentationSettings
) -> TrainingModule:
    from hydra.utils import instantiate

    from hpa_cells.models import CellClassifier, ClassifierSettings, EncoderSettings
    from hpa_cells.training.augmentation import Augmentation
    from hpa_cells.training.losses import BagLoss, LossSettings, positive_weights
    from hpa_cells.training.module import TrainingModule

    encoder = to_settings(EncoderSettings, cfg.encoder)
    loss = to_settings(LossSettings, cfg.method.loss)
    classifier = CellClassifier(
        ClassifierSettings(
            num_classes=len(training.class_set),
            encoder=encoder.name,
            encoder_options=encoder.options,
            pooling=cfg.method.pooling,
            field_head=cfg.method.field_head,
        ),
        encoder_start=encoder,
    )
    return TrainingModule(
        classifier,
        loss=BagLoss(loss, positive_weights(training.labels, loss.positive_power)),
        augmentation=Augmentation(augmentation),
        make_optimizer=instantiate(cfg.optimizer),
        make_scheduler=instantiate(cfg.scheduler),
        seed=cfg.seed,
        compile_model=cfg.compile,
    )


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
