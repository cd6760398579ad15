"""The part of ``hpa-cells explore`` that tells doubtful labels: what is given beside what models see."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_cells.commands.tables import print_table, write_csv
from hpa_cells.explore import FieldScores, LabelReview, read_field_scores, review_labels
from hpa_cells.fields import LabelTable, merge_label_tables

__all__ = ["write_label_review"]

log = logging.getLogger(__name__)


def write_label_review(given: LabelTable, folder: Path, out: Path) -> LabelReview:
    """Write ``label_review.csv`` from the scores of a cell table, and print the gist.

    Raises
    ------
    ValueError
        If none of its fields is labelled.
    """
    scores = read_field_scores(folder)
    _check_source(scores, folder)
    labels, rows = _in_common(given, scores, folder)
    review = review_labels(
        labels.labels,
        scores.probabilities[rows],
        field_ids=labels.field_ids,
        class_set=labels.class_set,
    )
    write_csv(review.doubtful, out / "label_review.csv")
    if len(review.not_judged) == len(labels.class_set):
        log.warning(
            "No class is on two or more of the %d fields and absent from as many: no label is reviewed.",
            len(labels),
        )
        return review
    if review.not_judged:
        log.warning("On too few fields to be judged, or on too many: %s.", ", ".join(review.not_judged))
    _print_gist(labels, review)
    return review


def _check_source(scores: FieldScores, folder: Path) -> None:
    if "weights_of_folds" not in scores.provenance.settings:
        log.warning(
            "%s is not out of fold. A model that was trained on these fields repeats their labels, right or wrong: "
            "unless it was not, give ROUND/out_of_fold of `hpa-cells train cross_fit=true out=ROUND`.",
            folder,
        )


def _in_common(given: LabelTable, scores: FieldScores, folder: Path) -> tuple[LabelTable, list[int]]:
    """The labelled fields that have scores, in the classes of the scores, and their rows there."""
    labels = merge_label_tables([given], scores.class_set)
    # A field without cells has none.
    scored = np.flatnonzero(np.isfinite(scores.probabilities).all(axis=1))
    row_of_id = {scores.field_ids[row]: int(row) for row in scored}
    kept = [row for row, field_id in enumerate(labels.field_ids) if field_id in row_of_id]
    if not kept:
        raise ValueError(
            f"None of the {len(labels)} labelled fields has a score in {folder}, which holds {len(scores.field_ids)} "
            "fields: check that both are of one data set."
        )
    if len(kept) < len(labels):
        log.info(
            "%d of %d labelled fields have no score in %s.", len(labels) - len(kept), len(labels), folder
        )
    labels = labels.take(kept)
    return labels, [row_of_id[field_id] for field_id in labels.field_ids]


def _print_gist(labels: LabelTable, review: LabelReview) -> None:
    doubtful, class_set = review.doubtful, labels.class_set
    counts = pd.crosstab(doubtful["class"], doubtful["is_given"]).reindex(
        index=range(len(class_set)), columns=[True, False], fill_value=0
    )
    shown = np.argsort(-counts.sum(axis=1).to_numpy(), kind="stable")
    print_table(
        f"{len(doubtful):,} doubtful labels of {doubtful['field_id'].nunique():,} among {len(labels):,} fields",
        pd.DataFrame(
            {
                "location": np.array(class_set.names)[shown],
                "labelled": labels.labels.sum(axis=0)[shown],
                "given, not seen": counts[True].to_numpy()[shown],
                "seen, not given": counts[False].to_numpy()[shown],
            }
        ),
    )
