"""``hpa-cells train``: a checkpoint folder from fields of which only the whole is labelled, or a segmenter."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.atomic import sole_writer
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_data import build_data, check_view, content_hashes
from hpa_cells.commands.training_processes import joined_by_others
from hpa_cells.commands.training_run import (
    build_trainer,
    fit,
    plain,
    prepare_torch,
    set_switches,
    settings_with_effect,
    training_device,
)

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from hpa_cells.commands.train_teacher import Teacher
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
    set_switches(cfg)
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
    from hpa_cells.training.embedding import heads_alone
    from hpa_cells.training.run_folder import RunFolder

    folder = RunFolder(out=Path(cfg.out))
    trainer, module, data = _build(cfg, folder)
    with heads_alone(module.classifier) if cfg.frozen_encoder else nullcontext():
        fit(trainer, module, data=data, folder=folder)


def _train(cfg: DictConfig) -> float:
    from hpa_cells.commands.train_teacher import find_teacher
    from hpa_cells.commands.training_model import hashes_of_start
    from hpa_cells.models import load_checkpoint, save_checkpoint
    from hpa_cells.training.run_folder import claim_folder

    # A table of the same name with other labels is another training, and so is a model with other weights.
    settings = settings_with_effect(cfg) | {"sha256_of": content_hashes(cfg) | hashes_of_start(cfg)}
    OmegaConf.resolve(cfg)
    teacher = find_teacher(cfg)
    if teacher is not None:
        # Of the same name, but of other weights, it teaches something else.
        settings["teacher_sha256"] = teacher.weights_hash
    folder = claim_folder(Path(cfg.out), settings, resume=cfg.resume)
    if folder.is_finished:
        log.info("%s is finished; resume=false trains it again.", folder.out)
        return _score(load_checkpoint(folder.out).provenance)
    if teacher is not None:
        cfg.cell_labels = str(_ask_teacher(cfg, folder, teacher))
    classifier, outcome, data = _learn(cfg, folder) if cfg.heads is None else _fit_heads(cfg, folder)
    checkpoint = save_checkpoint(
        folder.out,
        _describe(cfg, classifier, outcome, data=data, settings=settings, teacher=teacher),
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


def _ask_teacher(cfg: DictConfig, folder: RunFolder, teacher: Teacher) -> Path:
    """The teacher's cell table, once all is built that needs no cells: mistakes show before hours are spent."""
    from hpa_cells.commands.train_teacher import ask_teacher
    from hpa_cells.commands.training_model import check_steps

    check_steps(cfg, _build_classifier(cfg))
    build_trainer(cfg, folder)
    return ask_teacher(cfg, teacher)


def _learn(cfg: DictConfig, folder: RunFolder) -> tuple[CellClassifier, Outcome, BagData]:
    from hpa_cells.training.embedding import heads_alone

    trainer, module, data = _build(cfg, folder)
    with heads_alone(module.classifier) if cfg.frozen_encoder else nullcontext():
        with joined_by_others(cfg, trainer.world_size):
            fit(trainer, module, data=data, folder=folder)
        _load_best_weights(module, folder)
        outcome = _validate(cfg, trainer, module, data)
    return module.classifier, outcome, data


def _fit_heads(cfg: DictConfig, folder: RunFolder) -> tuple[CellClassifier, Outcome, BagData]:
    from hpa_cells.commands.train_heads import check_heads, train_heads

    check_heads(cfg)
    classifier = _build_classifier(cfg)
    data = build_data(cfg)
    return classifier, train_heads(cfg, folder, classifier, data=data), data


def _build(cfg: DictConfig, folder: RunFolder) -> tuple[Trainer, TrainingModule, BagData]:
    """All that is needed, in the order in which mistakes cost least: what needs no cells comes before they are cut."""
    from lightning.pytorch import seed_everything

    from hpa_cells.commands.training_model import build_module, check_smallest_batch, check_steps
    from hpa_cells.training.embedding import embed_cells
    from hpa_cells.training.processes import check_parts

    classifier = _build_classifier(cfg)
    check_steps(cfg, classifier)
    trainer = build_trainer(cfg, folder)
    data = build_data(cfg)
    if cfg.frozen_encoder:
        data = embed_cells(Path(cfg.embedding_store), classifier, data, device=training_device(cfg))
    check_parts(
        trainer.world_size,
        data.settings,
        training_fields=len(data.training.field_ids),
        validation_fields=len(data.validation.field_ids),
    )
    if not cfg.frozen_encoder:
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
    check_view(cfg)
    check_objective(cfg, to_settings(AugmentationSettings, cfg.augmentation))
    seed_everything(cfg.seed, workers=True, verbose=False)
    return build_classifier(cfg)


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
    teacher: Teacher | None,
) -> Checkpoint:
    from hpa_cells.commands.train_teacher import taught_by
    from hpa_cells.commands.training_model import name_of_start
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
            "about": cfg.about or (None if teacher is None else teacher.about),
            "data": {
                "training_fields": len(data.training.field_ids),
                "training_cells" if view.squares is None else "training_squares": data.training.num_cells,
                "label_shares": dict(
                    zip(class_set.keys, data.training.labels.mean(axis=0).round(4).tolist(), strict=True)
                ),
            },
            "training": outcome.training | {"first_weights": name_of_start(cfg)} | taught_by(settings),
            "metrics": outcome.metrics,
            "settings": settings,
        },
    )
