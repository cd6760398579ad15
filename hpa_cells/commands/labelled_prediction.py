"""What models say of the cells of labelled fields: a cell table that another training learns from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hydra.utils import instantiate
from omegaconf import DictConfig

from hpa_cells.commands.outcomes import follow, refuse_failures
from hpa_cells.commands.training_run import training_device
from hpa_cells.fields import FieldSource
from hpa_cells.models import Ensemble
from hpa_cells.prediction import (
    FAILURES_FILE,
    Failure,
    Finished,
    LocalRunner,
    PredictionSettings,
    predict_fields,
    write_failures,
)
from hpa_cells.table import Provenance, TableWriter

__all__ = ["Question", "predict_labelled"]

log = logging.getLogger(__name__)

# Where a field fails that a training would call broken.
_BEFORE_SCORING: Final = ("read", "segment", "crop")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Fields, and the models that are asked about them.

    Attributes
    ----------
    sources
        The fields.
    models
        They answer as one.
    """

    sources: Sequence[FieldSource]
    models: Ensemble


def predict_labelled(
    cfg: DictConfig, table: Path, questions: Sequence[Question], *, provenance: Provenance
) -> None:
    """Write the answers as a cell table, field by field; finished fields are not repeated.

    Cells are found by the segmenter of the training, so that they have the ids of those that it cuts.

    Parameters
    ----------
    cfg
        The settings of the training, resolved.
    table
        Folder of the table; fields that fail are on record in its ``failures.csv``.
    questions
        Each field is in one of them.
    provenance
        Of the table.

    Raises
    ------
    FieldsFailedError
        If fields failed; all others are in the table. With ``data.broken=drop`` only those count that could be read,
        segmented and cut.
    ValueError
        If the folder holds a table of other provenance.
    """
    num_fields = sum(len(each.sources) for each in questions)
    failures: list[Failure] = []
    with TableWriter(table, provenance=provenance) as writer:
        questions = [replace(each, sources=writer.unfinished(each.sources)) for each in questions]
        todo = sum(len(each.sources) for each in questions)
        try:
            follow("predict", _answers(cfg, questions, writer), failures, num_fields=todo)
        finally:
            write_failures(table, failures)
    refuse_failures(
        table,
        _without_broken(cfg, table, failures),
        num_fields=num_fields,
        cure="Broken fields are left out with data.broken=drop.",
    )


def _answers(
    cfg: DictConfig, questions: Sequence[Question], writer: TableWriter
) -> Iterator[Finished | Failure]:
    segmenter = instantiate(cfg.segmenter)
    settings = PredictionSettings(pixel_size_um=cfg.data.pixel_size_um, embeddings=False)
    device = training_device(cfg)
    for question in questions:
        for each in question.models.members:
            each.model.to(device)
        yield from predict_fields(
            question.sources,
            segmenter=segmenter,
            models=question.models,
            writer=writer,
            settings=settings,
            runner=LocalRunner(workers=max(1, cfg.workers)),
        )
        # On the device there is room for those of one question, or for the training that follows.
        for each in question.models.members:
            each.model.to("cpu")


def _without_broken(cfg: DictConfig, table: Path, failures: Sequence[Failure]) -> list[Failure]:
    """The failures that count; a training drops broken fields where it is told to."""
    if cfg.data.broken != "drop":
        return list(failures)
    kept = [each for each in failures if each.stage not in _BEFORE_SCORING]
    if len(kept) < len(failures):
        log.warning(
            "%d fields are broken, see %s. They are left out.",
            len(failures) - len(kept),
            table / FAILURES_FILE,
        )
    return kept
