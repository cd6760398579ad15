"""What is doubtful about fields as one table that a training reads: how often to draw each of them, and why.

Every finding proposes a weight, and a field gets the lowest of its own: findings of one field mostly have one cause.
What is no fault is no doubt: a protein that is dim, bright or not there is what labels are about. So of outliers only
those of the other channels count, and of empty green fields only those that are labelled with a place of the protein.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from hpa_cells.explore.label_review import LabelReview, proposed_weights
from hpa_cells.fields import LabelTable
from hpa_cells.types import Channel

__all__ = [
    "REASON_COLUMNS",
    "Doubt",
    "DoubtSettings",
    "doubts_of_anomalies",
    "doubts_of_embeddings",
    "doubts_of_labels",
    "weights_of_fields",
]

# One a kind of evidence, in words; a person reads them and edits the weight.
REASON_COLUMNS = ("pixels", "copy_of", "embedding", "given_but_not_seen", "seen_but_not_given")

_NEGATIVE = "negative"


@dataclass(kw_only=True)
class DoubtSettings:
    """The weight that each finding proposes, from 0 (leave the field out) to 1 (take it as any other).

    Attributes
    ----------
    copy, near_copy
        Of the later of two fields with the same pixels, or nearly the same fingerprint; of both where their labels
        differ, since one must be wrong.
    empty
        Of a field that has nothing in a channel; in green only where it is labelled otherwise than Negative.
    saturated
        Of a field with many pixels at the top of the data type.
    outlier
        Of a field with an unusual brightness, but for green.
    histogram
        Of a field with unusual colours.
    odd_embedding
        Of a field that the network finds unlike all others.
    near_copy_embedding
        Of the later of two fields that the network finds nearly the same.
    """

    copy: float
    near_copy: float
    empty: float
    saturated: float
    outlier: float
    histogram: float
    odd_embedding: float
    near_copy_embedding: float

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= getattr(self, each.name) <= 1:
                raise ValueError(
                    f"weights.{each.name} is {getattr(self, each.name)}: give a number from 0 to 1."
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """A finding about a field: the weight it proposes, the column of `REASON_COLUMNS` it belongs to, and its words."""

    field_id: str
    weight: float
    column: str
    told: str


def doubts_of_anomalies(
    anomalies: pd.DataFrame, labels: LabelTable | None, settings: DoubtSettings
) -> Iterator[Doubt]:
    """What of the anomalies speaks against learning from a field.

    Parameters
    ----------
    anomalies
        From `hpa_cells.explore.find_anomalies`.
    labels
        Of the fields; None where they are not known. Then nothing is said of empty green fields.
    settings
        The weights.
    """
    labels_of = _labels_of(labels)
    original_of = _labelled_originals(anomalies, None if labels is None else labels_of.keys())
    kinds = ("empty", "saturated", "outlier", "histogram", "near_copy", "copy")
    weight_of = {kind: getattr(settings, kind) for kind in kinds}
    columns = (anomalies[name] for name in ("field_id", "channel", "kind", "detail"))
    for field_id, channel, kind, detail in zip(*columns, strict=True):
        if kind not in weight_of:
            # A channel without file: whether that is allowed, the model says.
            continue
        weight, is_protein = weight_of[kind], channel == Channel.PROTEIN.color
        if kind in ("copy", "near_copy"):
            # Where nothing is learned from the others, this one is no repetition.
            if (original := original_of.get(field_id)) is not None:
                yield from _copies(field_id, original, weight, kind, labels_of)
        elif not is_protein or kind == "saturated":
            where = "" if channel == "all" else f"{channel} "
            told = f"{where}{kind}: {detail}"
            yield Doubt(field_id=field_id, weight=weight, column="pixels", told=told)
        elif kind == "empty" and labels_of.get(field_id, {_NEGATIVE}) != {_NEGATIVE}:
            told = f"green empty, labelled {', '.join(sorted(labels_of[field_id]))}: {detail}"
            yield Doubt(field_id=field_id, weight=weight, column="pixels", told=told)


def doubts_of_embeddings(
    placed: pd.DataFrame, labels: LabelTable | None, settings: DoubtSettings
) -> Iterator[Doubt]:
    """What of the embeddings speaks against learning from a field; `placed` is from `place_fields`."""
    labelled = None if labels is None else set(labels.field_ids)
    odd = placed[placed["is_odd"]]
    for field_id, deviation in zip(odd["field_id"], odd["deviation"], strict=True):
        told = f"unlike the others by {deviation:.1f} robust standard deviations"
        yield Doubt(field_id=field_id, weight=settings.odd_embedding, column="embedding", told=told)
    alike = placed[placed["is_near_copy"]]
    pairs = zip(alike["field_id"], alike["nearest_field"], strict=True)
    for first, later in sorted({(min(pair), max(pair)) for pair in pairs}):
        if labelled is None or {first, later} <= labelled:
            told = f"{first} (by embedding)"
            yield Doubt(field_id=later, weight=settings.near_copy_embedding, column="copy_of", told=told)


def doubts_of_labels(review: LabelReview) -> Iterator[Doubt]:
    """The doubtful labels of each field; its weight is that of `proposed_weights`."""
    rows = proposed_weights(review)
    for column in ("given_but_not_seen", "seen_but_not_given"):
        for field_id, weight, told in zip(rows["field_id"], rows["weight"], rows[column], strict=True):
            if told:
                yield Doubt(field_id=field_id, weight=weight, column=column, told=told)


def weights_of_fields(doubts: Iterable[Doubt], labelled: Iterable[str] | None = None) -> pd.DataFrame:
    """All doubts, a row a field, as `hpa-cells train data.review=…` reads them.

    Parameters
    ----------
    doubts
        In any order.
    labelled
        Ids of the fields that can be learned from: a training refuses weights of others. None: of all.

    Returns
    -------
    ``field_id``, ``weight`` (the lowest, rounded to hundredths) and `REASON_COLUMNS` (words, or empty);
    the lowest weight first, fields of one weight as their first doubts come.
    """
    known = None if labelled is None else set(labelled)
    weights: dict[str, float] = {}
    told: dict[str, dict[str, list[str]]] = {}
    for doubt in doubts:
        if known is None or doubt.field_id in known:
            weights[doubt.field_id] = min(doubt.weight, weights.get(doubt.field_id, 1.0))
            of_field = told.setdefault(doubt.field_id, {column: [] for column in REASON_COLUMNS})
            if doubt.told not in of_field[doubt.column]:
                of_field[doubt.column].append(doubt.told)
    rows = pd.DataFrame(
        [
            (field_id, round(weight, 2), *("; ".join(told[field_id][column]) for column in REASON_COLUMNS))
            for field_id, weight in weights.items()
        ],
        columns=["field_id", "weight", *REASON_COLUMNS],
    ).astype({"weight": np.float64})
    return rows.sort_values("weight", kind="stable", ignore_index=True)


def _labels_of(labels: LabelTable | None) -> dict[str, set[str]]:
    """The keys of each field's labels."""
    if labels is None:
        return {}
    keys = labels.class_set.keys
    return {
        field_id: {keys[index] for index in np.flatnonzero(row)}
        for field_id, row in zip(labels.field_ids, labels.labels, strict=True)
    }


def _labelled_originals(anomalies: pd.DataFrame, labelled: Collection[str] | None) -> dict[str, str]:
    """Field -> the field it is a copy of, for copies of fields that are learned from; `labelled` None: of all.

    A copy of a field without labels is one of the first labelled field that is a copy of that, too.
    """
    copies = anomalies[anomalies["kind"].isin(("copy", "near_copy"))].sort_values("field_id")
    originals: dict[str, str] = {}
    # The first field of those that are copies of each other, and the first of them that has labels.
    root_of: dict[str, str] = {}
    learned_of_root: dict[str, str] = {}
    for field_id, other in zip(copies["field_id"], copies["other_field"], strict=True):
        root = root_of[field_id] = root_of.get(other, other)
        if labelled is None or other in labelled:
            learned_of_root.setdefault(root, other)
            originals[field_id] = other
        elif root in learned_of_root:
            originals[field_id] = learned_of_root[root]
        elif field_id in labelled:
            learned_of_root[root] = field_id
    return originals


def _copies(
    later: str, first: str, weight: float, kind: str, labels_of: Mapping[str, set[str]]
) -> Iterator[Doubt]:
    nearly = "" if kind == "copy" else " (nearly)"
    differ = later in labels_of and first in labels_of and labels_of[later] != labels_of[first]
    otherwise = ", labelled otherwise" if differ else ""
    yield Doubt(field_id=later, weight=weight, column="copy_of", told=f"{first}{nearly}{otherwise}")
    if differ:
        yield Doubt(field_id=first, weight=weight, column="copy_of", told=f"{later}{nearly}{otherwise}")
