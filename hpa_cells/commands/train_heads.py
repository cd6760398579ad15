"""``hpa-cells train heads=one_vs_rest``: the encoder stays as it is, each class gets a binary model of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from scipy.special import expit

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet
from hpa_cells.commands.settings import conf_folder, to_settings
from hpa_cells.commands.training_data import labelled_fields
from hpa_cells.commands.training_run import training_device
from hpa_cells.metrics import macro_f1, multilabel_scores
from hpa_cells.models import CellClassifier, PoolingSettings
from hpa_cells.training.bags import BagSettings
from hpa_cells.training.data import BagData
from hpa_cells.training.embedding import all_fields, embed_fields
from hpa_cells.training.one_vs_rest import FittedHeads, OneVsRestSettings, fit_one_vs_rest
from hpa_cells.training.outcome import Outcome, validation_metrics
from hpa_cells.training.run_folder import RunFolder

__all__ = ["check_heads", "train_heads"]

_GRID_FILE: Final = "one_vs_rest.csv"
# Of a cell: its probability is then 5e-5 below 1, hundreds of steps of a 32 bit number.
_LARGEST_LOGIT: Final = 10.0


def check_heads(cfg: DictConfig) -> None:
    """Refuse settings that do not go with heads on an encoder that stays as it is, before any cell is cut.

    Raises
    ------
    ValueError
        If cells shall learn from labels of their own, fields are not the mean of their cells or have no head,
        there are too few folds to choose by, or a setting would have no effect.
    """
    to_settings(OneVsRestSettings, cfg.heads)
    if cfg.frozen_encoder:
        raise ValueError(
            "frozen_encoder=true lets heads learn step by step, heads=one_vs_rest fits them at once: choose one."
        )
    if cfg.method.field_head != "own":
        raise ValueError(
            f"method.field_head is {cfg.method.field_head}, but heads=one_vs_rest has one for fields and one for "
            "cells: set method=dual_head, or method.field_head=own."
        )
    pooling = to_settings(PoolingSettings, cfg.pooling)
    if pooling.name != "mean" or pooling.exceptions:
        raise ValueError(
            f"Pooling is {pooling.name}{' with exceptions' if pooling.exceptions else ''}, but heads=one_vs_rest "
            "learns from the mean of a field's cells: set pooling=mean."
        )
    if cfg.cell_labels is not None:
        raise ValueError(
            f"cell_labels is {cfg.cell_labels}, but heads=one_vs_rest learns from labels of fields: leave it out, or "
            "train with heads=null."
        )
    _check_without_effect(cfg)
    if cfg.data.num_folds < 3:
        raise ValueError(
            f"data.num_folds is {cfg.data.num_folds}: heads=one_vs_rest needs 3 or more, one for validation and two to "
            "choose strengths by."
        )


def _check_without_effect(cfg: DictConfig) -> None:
    """Refuse what changes batches, which there are none of."""
    for name, value in (
        ("bags.mosaic", cfg.bags.mosaic),
        ("bags.cutmix", cfg.bags.cutmix),
        ("area_weight.border_um2", cfg.area_weight.border_um2),
        ("area_weight.inner_um2", cfg.area_weight.inner_um2),
        ("made_up.share", cfg.made_up.share),
        ("self_supervision.weight", cfg.self_supervision.weight),
    ):
        if value > 0:
            raise ValueError(
                f"{name} is {value}, which heads=one_vs_rest knows nothing of: set it to 0, or train with "
                "heads=null."
            )
    bags = to_settings(BagSettings, cfg.bags)
    # Each field counts once, which is a balance of 0.
    usual = OmegaConf.load(conf_folder() / "train.yaml").bags.balance
    for name, chosen, changes_batches in (
        ("bags.repeats", bags.repeats, bool(bags.repeats)),
        ("bags.balance", bags.balance, bags.balance not in (0, usual)),
    ):
        if changes_batches:
            raise ValueError(
                f"{name} is {chosen}, which heads=one_vs_rest knows nothing of: leave it out, weigh rare classes with "
                "heads.class_weights=[balanced], or train with heads=null."
            )


def train_heads(cfg: DictConfig, folder: RunFolder, classifier: CellClassifier, *, data: BagData) -> Outcome:
    """Fit the heads of `classifier` and write how they were chosen to ``training/one_vs_rest.csv``."""
    settings = to_settings(OneVsRestSettings, cfg.heads)
    cells = all_fields(data)
    embedded = embed_fields(
        Path(cfg.embedding_store),
        classifier,
        cells,
        batch_cells=settings.batch_cells,
        device=training_device(cfg),
    )
    training, validation = (
        embedded.means[pd.Index(cells.field_ids).get_indexer(pd.Index(part.field_ids))]
        for part in (data.training, data.validation)
    )
    fitted = fit_one_vs_rest(
        training,
        data.training.labels,
        _folds(cfg, data.training.field_ids),
        settings,
        weights=data.training.weights,
    )
    with replaced_on_success(folder.out / "training" / _GRID_FILE) as temporary:
        _grid_table(fitted, cells.class_set).to_csv(temporary, index=False)
    _put_into(classifier, fitted, embedded.of_cells())
    probabilities = expit(validation @ fitted.weight.T + fitted.bias).astype(np.float32)
    return _outcome(cfg, fitted, probabilities, data=data)


def _put_into(classifier: CellClassifier, fitted: FittedHeads, cells: Iterable[NDArray[np.float32]]) -> None:
    """Fill the heads from what was fitted and the embeddings (n, D) of the cells that there are.

    The head of fields is what was fitted. A linear head says of a mean what it says of each cell on the mean, so that
    of cells is the same, but for a factor a class: cells vary more than their mean, and 32 bits would round the
    probabilities of the surest to 1. It changes the order of no two cells.
    """
    assert classifier.field_head is not None
    largest = np.max([np.abs(each @ fitted.weight.T + fitted.bias).max(axis=0) for each in cells], axis=0)
    factor = _LARGEST_LOGIT / np.maximum(largest, _LARGEST_LOGIT)
    with torch.no_grad():
        for head, scale in ((classifier.field_head, np.ones_like(factor)), (classifier.cell_head, factor)):
            head.weight.copy_(torch.from_numpy(fitted.weight * scale[:, None]))
            head.bias.copy_(torch.from_numpy(fitted.bias * scale))


def _folds(cfg: DictConfig, field_ids: Sequence[str]) -> NDArray[np.int64]:
    """(F,) the fold of each field, of those that the data set is split into: none is of that for validation."""
    fields = labelled_fields(cfg)
    fold_of = dict(zip(fields.table.field_ids, fields.folds, strict=True))
    return np.array([fold_of[field_id] for field_id in field_ids])


def _outcome(
    cfg: DictConfig, fitted: FittedHeads, probabilities: NDArray[np.float32], *, data: BagData
) -> Outcome:
    """Thresholds from all fields, each scored by a model that has not seen it; other figures from validation."""
    labels, class_set = data.validation.labels, data.training.class_set
    _, metrics = validation_metrics(probabilities, labels, class_set)
    thresholds, _ = validation_metrics(
        np.concatenate([fitted.out_of_fold.astype(np.float32), probabilities]),
        np.concatenate([data.training.labels, labels]),
        class_set,
    )
    metrics["macro_f1_at_tuned_thresholds"] = macro_f1(
        multilabel_scores(probabilities >= thresholds, labels, class_set)
    )
    return Outcome(
        thresholds=thresholds,
        metrics=metrics,
        training={
            "heads": "one_vs_rest",
            "seed": cfg.seed,
            "classes": fitted.per_class(class_set, data.training.labels),
        },
    )


def _grid_table(fitted: FittedHeads, class_set: ClassSet) -> pd.DataFrame:
    """One row a class and combination that was tried, with its cross-validated average precision."""
    num_points = len(fitted.grid)
    table = pd.DataFrame([asdict(point) for point in fitted.grid] * len(class_set))
    table.insert(0, "class_key", np.repeat(class_set.keys, num_points))
    table["average_precision"] = fitted.average_precision.T.ravel()
    table["num_scored_fields"] = np.repeat(fitted.num_scored, num_points)
    table["chosen"] = (np.arange(num_points) == fitted.chosen[:, None]).ravel()
    return table
