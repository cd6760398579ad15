"""Masks: a label image as one COCO run-length mask a cell, the way back, outlines, and the challenge's string."""

from hpa_cells.masks.challenge import MAX_COUNTS_BYTES, from_challenge_string, to_challenge_string
from hpa_cells.masks.coding import runs_from_counts, runs_to_counts, starts_and_stops
from hpa_cells.masks.filling import fill_polygons
from hpa_cells.masks.labels import counts_area, counts_boxes, decode_counts, encode_labels, paint_labels
from hpa_cells.masks.overlap import pairwise_iou
from hpa_cells.masks.polygons import Outlines, Polygon, trace_masks
from hpa_cells.masks.simplification import simplified

__all__ = [
    "MAX_COUNTS_BYTES",
    "Outlines",
    "Polygon",
    "counts_area",
    "counts_boxes",
    "decode_counts",
    "encode_labels",
    "fill_polygons",
    "from_challenge_string",
    "paint_labels",
    "pairwise_iou",
    "runs_from_counts",
    "runs_to_counts",
    "simplified",
    "starts_and_stops",
    "to_challenge_string",
    "trace_masks",
]
