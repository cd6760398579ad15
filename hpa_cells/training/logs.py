"""The CSV log of a training, which a resumed training goes on with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from typing_extensions import override

from hpa_cells.atomic import replaced_on_success

__all__ = ["ContinuedCSVLogger"]


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


class _ContinuedWriter(ExperimentWriter):
    """Keeps the rows of earlier steps; those that are done a second time are written a second time only."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._is_first = True

    @override
    def log_metrics(self, metrics_dict: Mapping[str, Any], step: int | None = None) -> None:
        if self._is_first and step is not None:
            self.metrics_keys = _keep_rows_before(step, Path(self.metrics_file_path))
            self._is_first = False
        super().log_metrics(dict(metrics_dict), step)

    @override
    def _check_log_dir_exists(self) -> None:
        """Delete nothing."""


def _keep_rows_before(step: int, path: Path) -> list[str]:
    """Drop the rows from `step` on; returns the names of the columns, none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if row["step"] and int(row["step"]) < step]
        columns = list(reader.fieldnames or [])
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return columns
