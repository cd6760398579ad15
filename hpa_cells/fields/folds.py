"""Splitting labelled fields into folds that resemble each other.

Without groups: iterative stratification [1]_. With groups: they are dealt out one by one, those that carry
most of the rarest labels first, each to the fold where the squares of the folds' shares of every label grow
least.

References
----------
.. [1] Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data. ECML PKDD 2011, 145-158.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpa_cells.fields.labels import LabelTable

__all__ = ["assign_folds"]


def assign_folds(
    table: LabelTable, *, num_folds: int, seed: int, groups: str | None = None
) -> NDArray[np.int64]:
    """The fold of each field, each label shared out as evenly as it can be.

    A field gets the same fold whatever the order of the rows.

    Parameters
    ----------
    table
        F labelled fields.
    num_folds
        Number of folds, at least 2.
    seed
        Another seed gives other folds of the same quality.
    groups
        A column of `LabelTable.groups` whose equal values must stay in one fold, e.g. ``antibody``: whoever
        tests on proteins that training has seen under another field id tests memory. None lets each field go
        its own way.

    Returns
    -------
    (F,) int64 in [0, num_folds).

    Raises
    ------
    ValueError
        If there are fewer fields (or groups) than folds, or no column `groups`.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds is {num_folds}, expected 2 or more.")
    order = np.argsort(np.array(table.field_ids))
    labels = table.labels[order]
    folds = np.empty(len(table), dtype=np.int64)
    if groups is None:
        _check_enough(len(table), "fields", num_folds)
        folds[order] = _stratify(labels, num_folds, seed)
    else:
        if groups not in table.groups:
            known = ", ".join(table.groups) or "none"
            raise ValueError(
                f"The label table has no column {groups!r} to group by; its group columns: {known}. Of several "
                "tables, each needs it."
            )
        names = np.array(table.groups[groups])[order]
        folds[order] = _stratify_groups(labels, names, num_folds, seed)
    return folds


def _stratify(labels: NDArray[np.bool_], num_folds: int, seed: int) -> NDArray[np.int64]:
    # scikit-learn takes a second to import; whoever only reads fields should not wait for it.
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    splitter = MultilabelStratifiedKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        folds[held_out] = fold
    return folds


def _stratify_groups(
    labels: NDArray[np.bool_], names: NDArray[np.str_], num_folds: int, seed: int
) -> NDArray[np.int64]:
    unique, group_of_field = np.unique(names, return_inverse=True)
    _check_enough(len(unique), "groups", num_folds)
    # The number of fields is one more column to share out evenly.
    columns = np.hstack([labels, np.ones((len(labels), 1), dtype=bool)]).astype(np.float64)
    shares = np.zeros((len(unique), columns.shape[1]))
    np.add.at(shares, group_of_field, columns)
    shares /= np.maximum(columns.sum(axis=0), 1)
    # Groups of about the same weight, within a factor of two, are dealt in random order: all the seed does.
    weights = np.floor(np.log2(np.square(shares).sum(axis=1)))
    shuffled = np.random.default_rng(seed).permutation(len(unique))
    heaviest_first = shuffled[np.argsort(-weights[shuffled], kind="stable")]
    fold_of_group = np.empty(len(unique), dtype=np.int64)
    fold_shares = np.zeros((num_folds, columns.shape[1]))
    for group in heaviest_first:
        # (a + g)^2 - a^2 = 2ag + g^2, and g^2 is the same for every fold.
        fold = int(np.argmin(fold_shares @ shares[group]))
        fold_of_group[group] = fold
        fold_shares[fold] += shares[group]
    return fold_of_group[group_of_field]


def _check_enough(found: int, what: str, num_folds: int) -> None:
    if found < num_folds:
        raise ValueError(f"{found} {what} cannot be split into {num_folds} folds: use fewer folds.")
