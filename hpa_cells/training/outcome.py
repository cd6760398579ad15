"""From a finished training to a checkpoint: the best weights, thresholds and what validation says of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.metrics import average_precision_per_class, macro_f1, multilabel_scores, tuned_thresholds
from hpa_cells.models import CellClassifier
from hpa_cells.training.bags import Bags
from hpa_cells.training.module import FieldScores, classify_bags, macro_average_precision
from hpa_cells.training.neighbours import field_means, neighbour_votes

__all__ = ["Outcome", "load_best_weights", "neighbour_precision", "score_fields", "validation_metrics"]

_PREFIX = "classifier."


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a finished training says of itself.

    Attributes
    ----------
    thresholds
        (K,) float32.
    metrics
        See `validation_metrics`.
    training
        How it went, as plain values.
    """

    thresholds: NDArray[np.float32]
    metrics: dict[str, Any]
    training: dict[str, Any]


def load_best_weights(classifier: CellClassifier, path: Path) -> None:
    """Put the weights of a training state, averaged where averaging is on, into the classifier.

    Raises
    ------
    ValueError
        If the state would run code.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than the state of a training, and nothing in it was run: begin anew with resume=false."
        ) from error
    # What only the training needs, such as the projection of self-supervision, is left behind.
    own = {name: value for name, value in state.items() if name.startswith(_PREFIX)}
    classifier.load_state_dict({name.removeprefix(_PREFIX): value for name, value in own.items()})


@torch.inference_mode()
def score_fields(
    classifier: CellClassifier, batches: Iterable[Bags], device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Score fields: (F, K) float32 probabilities and (F, K) bool labels."""
    classifier.to(device).eval()
    scores = FieldScores()
    for batch in batches:
        moved = batch.to(device)
        scores.add(classify_bags(classifier, moved).field_logits.float().sigmoid(), moved.field_labels)
    return scores.arrays()


@torch.inference_mode()
def neighbour_precision(classifier: CellClassifier, batches: Iterable[Bags], device: torch.device) -> float:
    """Macro average precision in [0, 1] of fields read by their nearest neighbours, for heads that learned nothing."""
    classifier.to(device).eval()
    means = FieldScores()
    for batch in batches:
        moved = batch.to(device)
        outputs = classify_bags(classifier, moved)
        means.add(
            field_means(outputs.embeddings, moved.bag_index, len(moved.field_labels)), moved.field_labels
        )
    embeddings, labels = means.arrays()
    return macro_average_precision(neighbour_votes(embeddings, labels), labels)


def validation_metrics(
    probabilities: NDArray[np.float32], labels: NDArray[np.bool_], class_set: ClassSet
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Tune thresholds and measure.

    Parameters
    ----------
    probabilities, labels
        (F, K), of the validation fields.
    class_set
        The K classes.

    Returns
    -------
    thresholds
        (K,) float32 with the best F1 of each class; 0.5 for a class that no field has.
    metrics
        Plain values: the number of fields, macro average precision and macro F1, and per class the average
        precision (None for a class that no field has) and the number of fields that have it. F1 is measured on the
        fields that the thresholds were tuned on.

    Raises
    ------
    ValueError
        If a probability is not a number: the training went astray.
    """
    if np.isnan(probabilities).any():
        raise ValueError(
            "The trained model gives no numbers (NaN): train again with resume=false and a lower optimizer.lr, "
            "or with trainer.precision=32-true."
        )
    thresholds = tuned_thresholds(probabilities, labels).astype(np.float32)
    # Rounding to 32 bits may lift a threshold above the very probability it was taken from.
    thresholds = np.where(thresholds > 0, np.nextafter(thresholds, np.float32(0)), thresholds)
    each = average_precision_per_class(probabilities, labels)
    return thresholds, {
        "validation_fields": len(labels),
        "macro_average_precision": macro_average_precision(probabilities, labels),
        "macro_f1_at_tuned_thresholds": macro_f1(
            multilabel_scores(probabilities >= thresholds, labels, class_set)
        ),
        "average_precision": {
            key: None if np.isnan(value) else round(float(value), 4)
            for key, value in zip(class_set.keys, each, strict=True)
        },
        "fields_of_class": dict(zip(class_set.keys, labels.sum(axis=0).tolist(), strict=True)),
    }
