"""``hpa-cells train``: a checkpoint folder from fields of which only the whole is labelled, or a segmenter."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.atomic import sole_writer
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_processes import joined_by_others
from hpa_cells.commands.training_run import build_trainer, fit, plain, prepare_torch, settings_with_effect

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from hpa_cells.models import CellClassifier, Checkpoint
    from hpa_cells.training.data import BagData
    from hpa_cells.training.module import TrainingModule
    from hpa_cells.training.outcome import Outcome
    from hpa_cells.training.run_folder import RunFolder

__all__ = ["join", "run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Train as the settings say, see ``conf/train.yaml``; what comes out is how good the model is in validation.

    That is the macro average precision of its fields, of a segmenter the F1 of its cells and nuclei, and with
    `cross_fit` the mean over the folds: what a sweep may search by.
    """
    with sole_writer(Path(cfg.out)):
        if cfg.segmentation is not None:
            from hpa_cells.commands.train_segmenter import train_segmenter

            return train_segmenter(cfg)
        if cfg.cross_fit:
            from hpa_cells.commands.train_folds import train_folds

            return train_folds(cfg, _train)
        return _train(cfg)


def join(cfg: DictConfig) -> None:
    """Take part in a training of several processes that another one leads; nothing is written."""
    from hpa_cells.training.run_folder import RunFolder

    folder = RunFolder(out=Path(cfg.out))
    trainer, module, data = _build(cfg, folder)
    fit(trainer, module, data=data, folder=folder)


def _train(cfg: DictConfig) -> float:
    from hpa_cells.models import load_checkpoint, save_checkpoint
    from hpa_cells.training.field_weights import file_hash
    from hpa_cells.training.run_folder import claim_folder

    settings = settings_with_effect(cfg)
    if cfg.data.review is not None:
        # A person edits that file: with other weights it is another training.
        settings["data"]["review_sha256"] = file_hash(cfg.data.review)
    OmegaConf.resolve(cfg)
    folder = claim_folder(Path(cfg.out), settings, resume=cfg.resume)
    if folder.is_finished:
        log.info("%s is finished; resume=false trains it again.", folder.out)
        return _score(load_checkpoint(folder.out).provenance)
    classifier, outcome, data = _learn(cfg, folder) if cfg.heads is None else _fit_heads(cfg, folder)
    checkpoint = save_checkpoint(
        folder.out, _describe(cfg, classifier, outcome, data=data, settings=settings)
    )
    log.info(
        "Wrote %s: macro average precision %.3f on %d validation fields.",
        folder.out,
        checkpoint.provenance["metrics"]["macro_average_precision"],
        checkpoint.provenance["metrics"]["validation_fields"],
    )
    return _score(checkpoint.provenance)


def _score(provenance: dict[str, Any]) -> float:
    """What the best weights were chosen by."""
    metrics = provenance["metrics"]
    name = "macro_average_precision"
    return float(metrics.get(f"{name}_of_neighbours", metrics[name]))


def _learn(cfg: DictConfig, folder: RunFolder) -> tuple[CellClassifier, Outcome, BagData]:
    trainer, module, data = _build(cfg, folder)
    with joined_by_others(cfg, trainer.world_size):
        fit(trainer, module, data=data, folder=folder)
    _load_best_weights(module, folder)
    return module.classifier, _validate(cfg, trainer, module, data), data


def _fit_heads(cfg: DictConfig, folder: RunFolder) -> tuple[CellClassifier, Outcome, BagData]:
    from hpa_cells.commands.train_heads import check_heads, train_heads

    check_heads(cfg)
    classifier = _build_classifier(cfg)
    data = _build_data(cfg)
    return classifier, train_heads(cfg, folder, classifier, data=data), data


def _build(cfg: DictConfig, folder: RunFolder) -> tuple[Trainer, TrainingModule, BagData]:
    """All that is needed, in the order in which mistakes cost least: what needs no cells comes before they are cut."""
    from lightning.pytorch import seed_everything

    from hpa_cells.commands.training_model import build_module, check_smallest_batch, check_steps
    from hpa_cells.training.processes import check_parts

    classifier = _build_classifier(cfg)
    check_steps(cfg, classifier)
    trainer = build_trainer(cfg, folder)
    data = _build_data(cfg)
    check_parts(
        trainer.world_size,
        data.settings,
        training_fields=len(data.training.field_ids),
        validation_fields=len(data.validation.field_ids),
    )
    check_smallest_batch(cfg, classifier, data, trainer.world_size)
    # Random numbers are the same whether cells had to be cut or were there.
    seed_everything(cfg.seed, workers=True, verbose=False)
    return trainer, build_module(cfg, data.training, classifier), data


def _build_classifier(cfg: DictConfig) -> CellClassifier:
    """The network with its first weights, after whatever can be checked without it."""
    from lightning.pytorch import seed_everything

    from hpa_cells.commands.objective import check_objective
    from hpa_cells.commands.training_model import build_classifier
    from hpa_cells.training.augmentation import AugmentationSettings

    prepare_torch(cfg)
    _check_view(cfg)
    check_objective(cfg, to_settings(AugmentationSettings, cfg.augmentation))
    seed_everything(cfg.seed, workers=True, verbose=False)
    return build_classifier(cfg)


def _check_view(cfg: DictConfig) -> None:
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


def _build_data(cfg: DictConfig) -> BagData:
    from hydra.utils import instantiate

    from hpa_cells.cells import CropSettings
    from hpa_cells.commands.objective import cell_weights
    from hpa_cells.training.augmentation import AugmentationSettings
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
    from hpa_cells.training.view import ViewSettings

    data = to_settings(DataSettings, cfg.data)
    view, bags = to_settings(ViewSettings, cfg.view), to_settings(BagSettings, cfg.bags)
    if view.squares is not None:
        # A model is validated as it predicts.
        bags = replace(bags, validation_cells_per_field=view.squares.num_predicted)
    dropouts = to_settings(AugmentationSettings, cfg.augmentation).dropouts
    fields = find_labelled_fields(data, optional=frozenset(dropouts))
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


def _load_best_weights(module: TrainingModule, folder: RunFolder) -> None:
    from hpa_cells.training.outcome import load_best_weights

    if folder.best.exists():
        load_best_weights(module.classifier, folder.best)


def _validate(cfg: DictConfig, trainer: Trainer, module: TrainingModule, data: BagData) -> Outcome:
    from hpa_cells.training.outcome import Outcome, neighbour_precision, score_fields, validation_metrics

    device = trainer.strategy.root_device
    probabilities, labels = score_fields(module.classifier, data.val_dataloader(), device)
    thresholds, metrics = validation_metrics(probabilities, labels, data.training.class_set)
    training = {"steps": trainer.global_step, "epochs": trainer.current_epoch, "seed": cfg.seed}
    if not module.loss.learns_labels:
        found = neighbour_precision(module.classifier, data.val_dataloader(), device)
        metrics["macro_average_precision_of_neighbours"] = found
        training["heads"] = "have learned nothing: start another training from this model with init="
        log.warning(
            "No label was learned: predictions of this model are chance. Start another training from it with init=%s; "
            "fields read by their neighbours reach a macro average precision of %.3f.",
            cfg.out,
            found,
        )
    return Outcome(thresholds=thresholds, metrics=metrics, training=training)


def _describe(
    cfg: DictConfig,
    classifier: CellClassifier,
    outcome: Outcome,
    *,
    data: BagData,
    settings: dict[str, Any],
) -> Checkpoint:
    from hpa_cells.models import Checkpoint
    from hpa_cells.training.augmentation import AugmentationSettings
    from hpa_cells.training.view import ViewSettings

    class_set = data.training.class_set
    view = to_settings(ViewSettings, cfg.view)
    return Checkpoint(
        model=classifier.cpu(),
        class_set=class_set,
        crop_settings=plain(cfg.crops) if view.kind == "crops" else {},
        field_settings=None if view.field is None else asdict(view.field),
        square_settings=None if view.squares is None else asdict(view.squares),
        thresholds=outcome.thresholds,
        optional_channels=frozenset(to_settings(AugmentationSettings, cfg.augmentation).dropouts),
        provenance={
            "version": __version__,
            "about": cfg.about,
            "data": {
                "training_fields": len(data.training.field_ids),
                "training_cells" if view.squares is None else "training_squares": data.training.num_cells,
                "label_shares": dict(
                    zip(class_set.keys, data.training.labels.mean(axis=0).round(4).tolist(), strict=True)
                ),
            },
            "training": outcome.training,
            "metrics": outcome.metrics,
            "settings": settings,
        },
    )
