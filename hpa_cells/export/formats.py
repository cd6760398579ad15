"""The file formats of ``hpa-cells export``: what a user chooses by ``format=`` and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hpa_cells.export.csv_table import write_csv
from hpa_cells.export.expected import ExpectedFields
from hpa_cells.export.kaggle2018 import validate_kaggle2018, write_kaggle2018
from hpa_cells.export.kaggle2021 import validate_kaggle2021, write_kaggle2021
from hpa_cells.export.parquet_table import write_parquet
from hpa_cells.export.problem import Problem
from hpa_cells.fields import merge_label_tables, read_label_table
from hpa_cells.metrics import ratio_thresholds
from hpa_cells.table import CellTable

__all__ = [
    "CsvFormat",
    "ExportFormat",
    "Kaggle2018Format",
    "Kaggle2021Format",
    "ParquetFormat",
    "SubmissionFormat",
]


class ExportFormat(Protocol):
    """A view of the cell table as a file.

    Attributes
    ----------
    file_name
        What a file in a folder is called; empty where there is a file for each field.
    suffixes
        What the name of a file of this format ends with.
    """

    file_name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def write(self, table: CellTable, path: Path) -> None:
        """Write the file; it appears whole or not at all."""


@runtime_checkable
class SubmissionFormat(ExportFormat, Protocol):
    """A format that a competition takes, and that can be checked."""

    def problems(self, path: Path, expected: ExpectedFields | None) -> list[Problem]:
        """What is wrong with a file of this format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kaggle2021Format:
    """The submission of 2021; the settings are those of `write_kaggle2021`."""

    file_name: ClassVar[str] = "submission.csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    min_confidence: float = 0.0
    max_classes: int | None = None
    cell_ids: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"format.min_confidence is {self.min_confidence}: give a number from 0 to 1.")
        if self.max_classes is not None and self.max_classes < 1:
            raise ValueError(f"format.max_classes is {self.max_classes}: give at least 1, or null for all.")

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_kaggle2021`."""
        write_kaggle2021(
            table,
            path,
            min_confidence=self.min_confidence,
            max_classes=self.max_classes,
            cell_ids=self.cell_ids,
        )

    def problems(self, path: Path, expected: ExpectedFields | None) -> list[Problem]:
        """See `validate_kaggle2021`."""
        return validate_kaggle2021(path, expected)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kaggle2018Format:
    """The submission of 2018.

    Attributes
    ----------
    threshold
        Least probability of a label.
    model
        A checkpoint folder whose thresholds, one a class, are used instead; `threshold` stays for a class for
        which it has none. None: `threshold` for all.
    training_labels
        The label table of the training fields, instead of a model: each class is given to the same share of the
        table's fields as carry it there.
    at_least_one
        Whether a field always gets its most probable class.
    """

    file_name: ClassVar[str] = "submission.csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    threshold: float = 0.5
    model: str | None = None
    training_labels: str | None = None
    at_least_one: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"format.threshold is {self.threshold}: give a number from 0 to 1.")
        if self.model is not None and self.training_labels is not None:
            raise ValueError(
                "format.model and format.training_labels both give thresholds: leave out one of them."
            )

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_kaggle2018`."""
        write_kaggle2018(table, path, thresholds=self._thresholds(table), at_least_one=self.at_least_one)

    def problems(self, path: Path, expected: ExpectedFields | None) -> list[Problem]:
        """See `validate_kaggle2018`."""
        return validate_kaggle2018(path, expected)

    def _thresholds(self, table: CellTable) -> NDArray[np.floating[Any]] | float:
        if self.model is not None:
            return self._thresholds_of(self.model, table)
        if self.training_labels is not None:
            training = merge_label_tables([read_label_table(self.training_labels)], table.class_set)
            probabilities = table.field_probabilities()
            has_cells = ~np.isnan(probabilities).any(axis=1)
            return ratio_thresholds(probabilities[has_cells], training.labels.mean(axis=0))
        return self.threshold

    def _thresholds_of(self, folder: str, table: CellTable) -> NDArray[np.float32]:
        from hpa_cells.models import load_checkpoint

        checkpoint = load_checkpoint(Path(folder))
        if checkpoint.class_set.name != table.class_set.name:
            raise ValueError(
                f"{folder} has thresholds for the classes of {checkpoint.class_set.name}, the table has "
                f"those of {table.class_set.name}: give the model that made the table."
            )
        return np.where(np.isnan(checkpoint.thresholds), np.float32(self.threshold), checkpoint.thresholds)


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvFormat:
    """The cell table as CSV; the setting is that of `write_csv`."""

    file_name: ClassVar[str] = "cells.csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    masks: bool = True

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_csv`."""
        write_csv(table, path, masks=self.masks)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetFormat:
    """The cell table as Parquet; the settings are those of `write_parquet`."""

    file_name: ClassVar[str] = "cells.parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    masks: bool = True
    embeddings: bool = True

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_parquet`."""
        write_parquet(table, path, masks=self.masks, embeddings=self.embeddings)
