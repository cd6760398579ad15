"""``hpa-cells train cross_fit=true``: a model a fold, and what each says of the fields that it has not seen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.labelled_prediction import Question, predict_labelled
from hpa_cells.commands.out_of_fold import (
    OUT_OF_FOLD,
    check_models,
    claim_table,
    remove_cross_fit,
    with_models,
)
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_data import content_hashes, labelled_fields
from hpa_cells.commands.training_run import plain, settings_with_effect
from hpa_cells.models import SHIPPED, Ensemble, load_models
from hpa_cells.table import Provenance
from hpa_cells.training.cutting import masks_fingerprint
from hpa_cells.training.labelled import LabelledFields
from hpa_cells.training.method import MethodSettings

__all__ = ["train_folds"]

log = logging.getLogger(__name__)


def train_folds(cfg: DictConfig, train: Callable[[DictConfig], float]) -> float:
    """Train into ``fold-0`` to ``fold-N`` of `cfg.out` and write the cell table ``out_of_fold`` beside them.

    Every cell of the table is scored by the one model whose training has not seen its field. Finished folds and
    fields are not repeated; with ``resume=false`` those of an earlier cross-fit are removed before the first training.

    Returns
    -------
    float
        The mean of what the trainings return.

    Raises
    ------
    ValueError
        If the method learns no labels, settings of the data are wrong, or what is there is of other settings, fields,
        masks or models.
    FieldsFailedError
        If fields could not be predicted; all others are in the table.
    """
    if not to_settings(MethodSettings, cfg.method).learns_labels:
        raise ValueError(
            "cross_fit=true asks models for labels of fields they have not seen, but this method learns no labels: "
            "set cross_fit=false, or choose another method."
        )
    if cfg.teacher not in (None, SHIPPED):
        log.warning(
            "%s will be out of fold for these students; their teacher may have learned from any of its fields.",
            OUT_OF_FOLD,
        )
    folds = [_of_fold(cfg, fold) for fold in range(cfg.data.num_folds)]
    # A table of the same name with other labels deals the fields out to other folds.
    settings = settings_with_effect(cfg) | {"sha256_of": content_hashes(cfg)}
    OmegaConf.resolve(cfg)
    out, provenance = Path(cfg.out), _provenance(cfg, settings)
    # Before hours of training, what is read again after them.
    fields = labelled_fields(cfg)
    if not cfg.resume:
        remove_cross_fit(out, settings)
    claim_table(out, provenance, fields.sources)
    scores = [train(each) for each in folds]
    models = load_models([each.out for each in folds])
    check_models(out / OUT_OF_FOLD, all_finished=False)
    _predict_out_of_fold(cfg, models, fields, provenance=with_models(provenance, models))
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


def _predict_out_of_fold(
    cfg: DictConfig, models: Ensemble, fields: LabelledFields, *, provenance: Provenance
) -> None:
    out = Path(cfg.out) / OUT_OF_FOLD
    unseen = [
        Question(
            sources=[fields.sources[row] for row in np.flatnonzero(fields.folds == fold)],
            models=Ensemble(members=(model,)),
        )
        for fold, model in enumerate(models.members)
    ]
    predict_labelled(cfg, out, unseen, provenance=provenance)
    log.info("%s: %d fields, each by the model that has not seen it.", out, len(fields.sources))


def _provenance(cfg: DictConfig, settings: dict[str, Any]) -> Provenance:
    """Of the table, without its models, which are trained first."""
    return Provenance(
        version=__version__,
        class_set=cfg.data.class_set,
        source="model",
        settings={
            "training": settings,
            "segmenter": settings["segmenter"],
            "masks": masks_fingerprint(plain(cfg.segmenter)),
        },
    )
