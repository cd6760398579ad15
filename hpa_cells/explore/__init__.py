"""Looking at fields and label tables before training: statistics, anomalies, pictures."""

from hpa_cells.explore.anomalies import AnomalySettings, find_anomalies
from hpa_cells.explore.figures import write_intensity_figure, write_label_figure
from hpa_cells.explore.label_statistics import (
    co_occurrence,
    label_combinations,
    label_counts,
    labels_per_field,
)
from hpa_cells.explore.pixel_statistics import FieldStatistics, channel_statistics, field_statistics

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
