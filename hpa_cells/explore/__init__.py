"""Looking at fields and label tables before training: statistics, anomalies, doubtful labels, pictures."""

from hpa_cells.explore.anomalies import AnomalySettings, find_anomalies
from hpa_cells.explore.embedding_anomalies import EmbeddingSettings, place_cells, place_fields
from hpa_cells.explore.embedding_figures import write_label_map, write_score_map
from hpa_cells.explore.embeddings import CellEmbeddings, carries_embeddings, read_embeddings
from hpa_cells.explore.field_doubts import (
    REASON_COLUMNS,
    Doubt,
    DoubtSettings,
    doubts_of_anomalies,
    doubts_of_embeddings,
    doubts_of_labels,
    weights_of_fields,
)
from hpa_cells.explore.figures import write_intensity_figure, write_label_figure
from hpa_cells.explore.label_review import LabelReview, proposed_weights, review_labels
from hpa_cells.explore.label_statistics import (
    co_occurrence,
    label_combinations,
    label_counts,
    labels_per_field,
)
from hpa_cells.explore.pixel_statistics import FieldStatistics, channel_statistics, field_statistics
from hpa_cells.explore.shards import FieldScores, read_field_scores

__all__ = [
    "REASON_COLUMNS",
    "AnomalySettings",
    "CellEmbeddings",
    "Doubt",
    "DoubtSettings",
    "EmbeddingSettings",
    "FieldScores",
    "FieldStatistics",
    "LabelReview",
    "carries_embeddings",
    "channel_statistics",
    "co_occurrence",
    "doubts_of_anomalies",
    "doubts_of_embeddings",
    "doubts_of_labels",
    "field_statistics",
    "find_anomalies",
    "label_combinations",
    "label_counts",
    "labels_per_field",
    "place_cells",
    "place_fields",
    "proposed_weights",
    "read_embeddings",
    "read_field_scores",
    "review_labels",
    "weights_of_fields",
    "write_intensity_figure",
    "write_label_figure",
    "write_label_map",
    "write_score_map",
]
