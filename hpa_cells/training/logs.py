"""The CSV log of a training, which a resumed training goes on with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from typing_extensions import override

from hpa_cells.atomic import replaced_on_success

__all__ = ["ContinuedCSVLogger", "LogPosition"]

_KEY = "logged_rows"


class ContinuedCSVLogger(CSVLogger):
    """Writes ``metrics.csv``; Lightning's own logger deletes what an interrupted training wrote there."""

    @property
    @override
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer of the file."""
        if not isinstance(self._experiment, _ContinuedWriter):
            self._experiment = _ContinuedWriter(self.log_dir)
        return self._experiment

    def num_rows(self) -> int:
        """Number of rows so far, all of them in the file."""
        self.save()
        return len(_read(Path(self.experiment.metrics_file_path))[1])

    def go_on_from(self, num_rows: int) -> None:
        """Say how many of the rows in the file belong to the state that a training goes on from."""
        writer = self.experiment
        assert isinstance(writer, _ContinuedWriter)
        writer.num_kept = num_rows


class LogPosition(Callback):
    """Keeps with the training's state how far its CSV log was: a killed training logs more than its state knows."""

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note it; the log is on disk before the state is."""
        for logger in _csv_loggers(trainer):
            checkpoint[_KEY] = logger.num_rows()

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tell the log."""
        for logger in _csv_loggers(trainer):
            if _KEY in checkpoint:
                logger.go_on_from(checkpoint[_KEY])


def _csv_loggers(trainer: Trainer) -> list[ContinuedCSVLogger]:
    """Those of the first process: only that one writes."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, ContinuedCSVLogger)]


class _ContinuedWriter(ExperimentWriter):
    """Keeps the rows of earlier steps; those that are done a second time are written a second time only."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.num_kept = 0
        self._is_first = True

    @override
    def log_metrics(self, metrics_dict: Mapping[str, Any], step: int | None = None) -> None:
        if self._is_first and step is not None:
            self.metrics_keys = _keep_rows(Path(self.metrics_file_path), self.num_kept, before=step)
            self._is_first = False
        super().log_metrics(dict(metrics_dict), step)

    @override
    def _check_log_dir_exists(self) -> None:
        """Delete nothing."""


def _keep_rows(path: Path, num_rows: int, *, before: int) -> list[str]:
    """Drop all but the first rows and those of earlier steps; returns the columns, none where there is no file.

    The row of a batch is written after the state that Ctrl-C saves, so that the first rows are not all.
    """
    columns, rows = _read(path)
    if not columns:
        return []
    later = [row for row in rows[num_rows:] if row["step"] and int(row["step"]) < before]
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([*rows[:num_rows], *later])
    return columns


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a log; none where there is no file."""
    if not path.exists():
        return [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return list(reader.fieldnames or []), rows
