"""Looking at fields and label tables before training: statistics, anomalies, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpa_cells.explore.anomalies import AnomalySettings, find_anomalies
from hpa_cells.explore.label_statistics import (
    co_occurrence,
    label_combinations,
    label_counts,
    labels_per_field,
)
from hpa_cells.explore.pixel_statistics import FieldStatistics, channel_statistics, field_statistics

if TYPE_CHECKING:
    from hpa_cells.explore.figures import write_intensity_figure, write_label_figure

__all__ = [
    "AnomalySettings",
    "FieldStatistics",
    "channel_statistics",
    "co_occurrence",
    "field_statistics",
    "find_anomalies",
    "label_combinations",
    "label_counts",
    "labels_per_field",
    "write_intensity_figure",
    "write_label_figure",
]


def __getattr__(name: str) -> Any:
    # Matplotlib takes a second to load: only for those who draw.
    if name in ("write_intensity_figure", "write_label_figure"):
        from hpa_cells.explore import figures

        return getattr(figures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
