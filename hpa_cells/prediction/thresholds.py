"""From which probability on a class is called; the choices of the group ``thresholds``.

Each is told by `of` for a cell table: (K,) float64, one a class, for the probabilities of whole fields.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields import merge_label_tables, read_label_table
from hpa_cells.metrics import fixed_thresholds, ratio_thresholds
from hpa_cells.table import CellTable

__all__ = ["FixedThresholds", "RatioThresholds", "TunedThresholds"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedThresholds:
    """One for all classes.

    Attributes
    ----------
    value
        In [0, 1].
    """

    value: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"thresholds.value is {self.value}: give a probability from 0 to 1.")

    def of(self, table: CellTable) -> NDArray[np.float64]:
        """(K,) float64: the value, K times."""
        return fixed_thresholds(self.value, len(table.class_set))


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedThresholds:
    """Those of the best F1 on the validation fields of the training; a table carries them from its model.

    Attributes
    ----------
    fallback
        For a class that no validation field had, and for a table that no model made.
    """

    fallback: float = 0.5

    def of(self, table: CellTable) -> NDArray[np.float64]:
        """(K,) float64, from the provenance of the table."""
        tuned = table.provenance.settings.get("thresholds")
        if tuned is None:
            log.info("The table carries no tuned thresholds: taking %g for all classes.", self.fallback)
            return fixed_thresholds(self.fallback, len(table.class_set))
        values = (tuned[key] for key in table.class_set.keys)
        return np.array([self.fallback if value is None else value for value in values], dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class RatioThresholds:
    """Those at which each class is called as often as it occurs among the training fields.

    Attributes
    ----------
    labels
        The label table of the training fields.
    """

    labels: str

    def of(self, table: CellTable) -> NDArray[np.float64]:
        """(K,) float64, matched on the fields of the table that have cells."""
        training = merge_label_tables([read_label_table(self.labels)], table.class_set)
        probabilities = table.field_probabilities()
        has_cells = ~np.isnan(probabilities).any(axis=1)
        return ratio_thresholds(probabilities[has_cells], training.labels.mean(axis=0))
