"""What a label table holds: how often each location, how many a field, which together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpa_cells.fields import LabelTable

__all__ = ["co_occurrence", "label_combinations", "label_counts", "labels_per_field"]


def label_counts(table: LabelTable) -> pd.DataFrame:
    """The number of fields of each class.

    Returns
    -------
    One row a class, in the order of the class set: ``class`` (its number), ``key``, ``name``, ``num_fields``,
    ``share`` (of all fields) and ``num_alone`` (fields that have no other label).
    """
    is_alone = table.labels.sum(axis=1) == 1
    num_fields = table.labels.sum(axis=0)
    return pd.DataFrame(
        {
            "class": np.arange(len(table.class_set)),
            "key": table.class_set.keys,
            "name": table.class_set.names,
            "num_fields": num_fields,
            "share": num_fields / max(len(table), 1),
            "num_alone": table.labels[is_alone].sum(axis=0),
        }
    )


def labels_per_field(table: LabelTable) -> pd.DataFrame:
    """The number of fields with so many labels.

    Returns
    -------
    One row a number of labels, from 0 to the largest: ``num_labels``, ``num_fields``, ``share``.
    """
    num_fields = np.bincount(table.labels.sum(axis=1), minlength=1)
    return pd.DataFrame(
        {
            "num_labels": np.arange(len(num_fields)),
            "num_fields": num_fields,
            "share": num_fields / max(len(table), 1),
        }
    )


def co_occurrence(table: LabelTable) -> pd.DataFrame:
    """The number of fields that have both of two classes.

    Returns
    -------
    (K, K) int64, rows and columns by the keys of the classes; the diagonal is `label_counts`.
    """
    labels = table.labels.astype(np.float64)
    counts = (labels.T @ labels).astype(np.int64)
    keys = list(table.class_set.keys)
    return pd.DataFrame(counts, index=pd.Index(keys, name="key"), columns=keys)


def label_combinations(table: LabelTable) -> pd.DataFrame:
    """The number of fields of each set of labels that occurs.

    Returns
    -------
    One row a set, the most frequent first, ties by the classes: ``classes`` (numbers, split by ``|``),
    ``names``, ``num_fields``, ``share``.
    """
    sets, num_fields = np.unique(table.labels, axis=0, return_counts=True)
    classes = [np.flatnonzero(each).tolist() for each in sets]
    rows = pd.DataFrame(
        {
            "classes": ["|".join(map(str, each)) for each in classes],
            "names": [", ".join(table.class_set.names[index] for index in each) for each in classes],
            "num_fields": num_fields,
            "share": num_fields / max(len(table), 1),
        }
    )
    order = sorted(range(len(rows)), key=lambda row: (-num_fields[row], classes[row]))
    return rows.iloc[order].reset_index(drop=True)
