"""``hpa-cells train cross_fit=true``: a model a fold, and what each says of the fields that it has not seen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.labelled_prediction import Question, predict_labelled
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import plain, settings_with_effect
from hpa_cells.models import SHIPPED, Ensemble, load_models
from hpa_cells.table import Provenance
from hpa_cells.training.labelled import DataSettings, find_labelled_fields
from hpa_cells.training.method import MethodSettings

__all__ = ["OUT_OF_FOLD", "train_folds"]

log = logging.getLogger(__name__)

# Name of the table beside the folds.
OUT_OF_FOLD: Final = "out_of_fold"


def train_folds(cfg: DictConfig, train: Callable[[DictConfig], float]) -> float:
    """Train into ``fold-0`` to ``fold-N`` of `cfg.out` and write the cell table ``out_of_fold`` beside them.

    Every cell of the table is scored by the one model whose training has not seen its field. Finished folds and
    fields are not repeated.

    Returns
    -------
    float
        The mean of what the trainings return.

    Raises
    ------
    ValueError
        If the method learns no labels, or settings of the data are wrong.
    FieldsFailedError
        If fields could not be predicted; all others are in the table.
    """
    if not to_settings(MethodSettings, cfg.method).learns_labels:
        raise ValueError(
            "cross_fit=true asks models for labels of fields they have not seen, but this method learns no labels: "
            "set cross_fit=false, or choose another method."
        )
    # Before hours of training, what is read again after them.
    resolved = cfg.copy()
    OmegaConf.resolve(resolved)
    to_settings(DataSettings, resolved.data)
    if cfg.teacher not in (None, SHIPPED):
        log.warning(
            "%s will be out of fold for these students; their teacher may have learned from any of its fields.",
            OUT_OF_FOLD,
        )
    folds = [_of_fold(cfg, fold) for fold in range(cfg.data.num_folds)]
    scores = [train(each.copy()) for each in folds]
    OmegaConf.resolve(cfg)
    _predict_out_of_fold(cfg, load_models([each.out for each in folds]))
    return float(np.mean(scores))


def _of_fold(cfg: DictConfig, fold: int) -> DictConfig:
    """The settings of one training; all share the crops, and what a teacher says."""
    own = {
        "out": str(Path(cfg.out) / f"fold-{fold}"),
        "crop_store": cfg.crop_store,
        "embedding_store": cfg.embedding_store,
        "teacher_store": cfg.teacher_store,
        "cross_fit": False,
        "data": {"fold": fold},
    }
    return cast(DictConfig, OmegaConf.merge(cfg, own))


def _predict_out_of_fold(cfg: DictConfig, models: Ensemble) -> None:
    fields = find_labelled_fields(to_settings(DataSettings, cfg.data), optional=models.optional_channels)
    out = Path(cfg.out) / OUT_OF_FOLD
    unseen = [
        Question(
            sources=[fields.sources[row] for row in np.flatnonzero(fields.folds == fold)],
            models=Ensemble(members=(model,)),
        )
        for fold, model in enumerate(models.members)
    ]
    predict_labelled(cfg, out, unseen, provenance=_provenance(cfg, models))
    log.info("%s: %d fields, each by the model that has not seen it.", out, len(fields.sources))


def _provenance(cfg: DictConfig, models: Ensemble) -> Provenance:
    return Provenance(
        version=__version__,
        class_set=models.class_set.name,
        source="model",
        weights_hash=models.weights_hash,
        settings={
            "training": settings_with_effect(cfg),
            "weights_of_folds": [each.weights_hash for each in models.members],
            "segmenter": plain(cfg.segmenter),
        },
    )
