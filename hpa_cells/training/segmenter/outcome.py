"""From a trained network to its file of weights and its model card."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpa_cells.atomic import replaced_on_success
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation.network import CellUNet, write_network
from hpa_cells.training.segmenter.card import segmenter_card
from hpa_cells.training.segmenter.training_field import TrainingField
from hpa_cells.training.segmenter.validation import LabelPair, segment_field

__all__ = ["validation_scores", "write_segmenter"]

_IOU_THRESHOLDS = (0.5, 0.6, 0.75, 0.9)


def write_segmenter(
    path: Path,
    network: CellUNet,
    *,
    training: Sequence[TrainingField],
    validation: Sequence[TrainingField],
    device: torch.device,
    provenance: dict[str, Any],
) -> dict[str, float]:
    """Write the weights and, beside them, the card; returns the validation scores.

    Parameters
    ----------
    path
        Of the weights; the card has the same name with ``.md``.
    provenance
        Plain values; what the network was trained and measured on is added.
    """
    scores = validation_scores(network.to(device).eval(), validation, device)
    provenance = {
        **provenance,
        "training_fields": dict(Counter(field.source for field in training)),
        "validation_fields": dict(Counter(field.source for field in validation)),
        "validation": scores,
    }
    card = path.with_suffix(".md")
    with replaced_on_success(card) as temporary:
        temporary.write_text(segmenter_card(network.settings, provenance), encoding="utf-8")
    write_network(network.cpu(), path, provenance=provenance)
    return scores


def validation_scores(
    network: CellUNet, fields: Sequence[TrainingField], device: torch.device
) -> dict[str, float]:
    """F1 at several IoU thresholds and the mean IoU of matches (at 0.5), for each source's cells and nuclei."""
    found: dict[str, list[LabelPair]] = defaultdict(list)
    for field in fields:
        for part, pair in segment_field(network, field, device).items():
            found[f"{field.source}_{part}"].append(pair)
    scores: dict[str, float] = {}
    for name, pairs in sorted(found.items()):
        table = score_instances(pairs, iou_thresholds=_IOU_THRESHOLDS)
        for iou, f1 in zip(_IOU_THRESHOLDS, table["f1"], strict=True):
            scores[f"{name}_f1_at_{iou}"] = round(float(f1), 4)
        scores[f"{name}_mean_matched_iou"] = round(float(table["mean_matched_iou"].iloc[0]), 4)
    return scores
