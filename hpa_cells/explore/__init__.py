"""Looking at fields and label tables before training: statistics, anomalies, doubtful labels, pictures."""

from hpa_cells.explore.anomalies import AnomalySettings, find_anomalies
from hpa_cells.explore.cell_lines import UNKNOWN_LINE, intensities_of_lines, labels_of_lines, lines_by_size
from hpa_cells.explore.embedding_anomalies import EmbeddingSettings, place_cells, place_fields
from hpa_cells.explore.embedding_figures import write_label_map, write_line_map, write_score_map
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
from hpa_cells.explore.field_figures import (
    write_cell_number_figure,
    write_label_number_figure,
    write_line_figure,
    write_size_figure,
)
from hpa_cells.explore.field_sizes import cells_of_lines, image_sizes
from hpa_cells.explore.figures import write_intensity_figure, write_label_figure
from hpa_cells.explore.label_review import LabelReview, check_reviewer, proposed_weights, review_labels
from hpa_cells.explore.label_statistics import (
    co_occurrence,
    label_combinations,
    label_counts,
    labels_per_field,
)
from hpa_cells.explore.maps import MapMethod
from hpa_cells.explore.pixel_statistics import FieldStatistics, channel_statistics, field_statistics
from hpa_cells.explore.samples import Samples, SampleSettings, draw_cells, draw_fields
from hpa_cells.explore.shards import (
    FieldScores,
    provenance_of,
    read_cell_numbers,
    read_cells_of_fields,
    read_field_scores,
)

__all__ = [
    "REASON_COLUMNS",
    "UNKNOWN_LINE",
    "AnomalySettings",
    "CellEmbeddings",
    "Doubt",
    "DoubtSettings",
    "EmbeddingSettings",
    "FieldScores",
    "FieldStatistics",
    "LabelReview",
    "MapMethod",
    "SampleSettings",
    "Samples",
    "carries_embeddings",
    "cells_of_lines",
    "channel_statistics",
    "check_reviewer",
    "co_occurrence",
    "doubts_of_anomalies",
    "doubts_of_embeddings",
    "doubts_of_labels",
    "draw_cells",
    "draw_fields",
    "field_statistics",
    "find_anomalies",
    "image_sizes",
    "intensities_of_lines",
    "label_combinations",
    "label_counts",
    "labels_of_lines",
    "labels_per_field",
    "lines_by_size",
    "place_cells",
    "place_fields",
    "proposed_weights",
    "provenance_of",
    "read_cell_numbers",
    "read_cells_of_fields",
    "read_embeddings",
    "read_field_scores",
    "review_labels",
    "weights_of_fields",
    "write_cell_number_figure",
    "write_intensity_figure",
    "write_label_figure",
    "write_label_map",
    "write_label_number_figure",
    "write_line_figure",
    "write_line_map",
    "write_score_map",
    "write_size_figure",
]
