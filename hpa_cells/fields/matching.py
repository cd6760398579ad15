"""Bringing label tables together, and fields together with their labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, class_map
from hpa_cells.fields.labels import LabelTable
from hpa_cells.fields.source import FieldSource

__all__ = ["match_labels", "merge_label_tables"]

log = logging.getLogger(__name__)

_NUM_SHOWN = 5


def merge_label_tables(
    tables: Sequence[LabelTable],
    class_set: ClassSet,
    *,
    conflicts: Literal["refuse", "keep_first"] = "refuse",
) -> LabelTable:
    """One table of several, in the classes of one class set, e.g. the 2018 fields added to those of 2021.

    Classes are mapped by `hpa_cells.classes.class_map`. Those without a counterpart are dropped, and so are
    fields that keep no label by it: to train on them as fields that show nothing would be wrong. The log tells
    both. Group columns stay where every table has them.

    Parameters
    ----------
    tables
        The tables; a field of several of them is kept once.
    class_set
        The classes of the result.
    conflicts
        Where tables disagree about a field: ``refuse`` raises, ``keep_first`` takes the earlier table. (The
        tables of 2018 and 2021 disagree about some of the fields that both carry.)

    Returns
    -------
    The merged table; fields in the order of their first appearance.

    Raises
    ------
    ValueError
        If there is no table, or tables disagree about a field.
    """
    if not tables:
        raise ValueError("There is no label table to merge: give at least one.")
    for table in tables:
        _tell_lost_classes(table, class_set)
    field_ids = [field_id for table in tables for field_id in table.field_ids]
    labels = np.concatenate([_map_labels(table, class_set) for table in tables])
    row_of_id: dict[str, int] = {}
    first_rows = [row_of_id.setdefault(field_id, row) for row, field_id in enumerate(field_ids)]
    disagreeing = {field_ids[row] for row in np.flatnonzero((labels != labels[first_rows]).any(axis=1))}
    if disagreeing and conflicts == "refuse":
        raise ValueError(
            f"The label tables disagree about {len(disagreeing)} fields ({_some(disagreeing)}): "
            "correct one of them, or let the earlier table win (data.conflicts=keep_first; in Python "
            "conflicts='keep_first')."
        )
    unlabelled = {field_id for field_id, row in row_of_id.items() if not labels[row].any()}
    if unlabelled:
        log.info(
            "Left out %d fields without a label in %s (%s).",
            len(unlabelled),
            class_set.name,
            _some(unlabelled),
        )
    rows = [row for field_id, row in row_of_id.items() if field_id not in unlabelled]
    return LabelTable(
        class_set=class_set,
        field_ids=tuple(field_ids[row] for row in rows),
        labels=labels[rows],
        groups={name: tuple(values[row] for row in rows) for name, values in _common_groups(tables).items()},
    )


def match_labels(
    table: LabelTable, sources: Sequence[FieldSource], *, unmatched: Literal["refuse", "drop"] = "refuse"
) -> tuple[list[FieldSource], LabelTable]:
    """The fields that have labels, and their labels, in the same order: sorted by field id.

    Parameters
    ----------
    table
        The labels.
    sources
        The fields.
    unmatched
        What becomes of a label without a field and a field without a label: ``refuse`` raises, ``drop``
        leaves both out and says so in the log.

    Raises
    ------
    ValueError
        If some have no counterpart, or none has one.
    """
    row_of_id = {field_id: row for row, field_id in enumerate(table.field_ids)}
    source_of_id = {source.field_id: source for source in sources}
    both = sorted(row_of_id.keys() & source_of_id.keys())
    without_field, without_label = (
        row_of_id.keys() - source_of_id.keys(),
        source_of_id.keys() - row_of_id.keys(),
    )
    if without_field or without_label:
        found = (
            f"{len(without_field)} of {len(row_of_id)} labels have no field ({_some(without_field)}), "
            f"{len(without_label)} of {len(source_of_id)} fields have no label ({_some(without_label)})"
        )
        if not both:
            raise ValueError(f"{found}: check that both are of one data set.")
        if unmatched == "refuse":
            raise ValueError(
                f"{found}: check that both are of one data set, or leave them out (data.unmatched=drop; in Python "
                "unmatched='drop')."
            )
        log.info("Left out: %s.", found)
    return [source_of_id[field_id] for field_id in both], table.take(row_of_id[field_id] for field_id in both)


def _map_labels(table: LabelTable, class_set: ClassSet) -> NDArray[np.bool_]:
    mapped = np.zeros((len(table), len(class_set)), dtype=bool)
    for source, target in enumerate(class_map(table.class_set, class_set)):
        if target is not None:
            mapped[:, target] |= table.labels[:, source]
    return mapped


def _tell_lost_classes(table: LabelTable, class_set: ClassSet) -> None:
    lost = [source for source, target in enumerate(class_map(table.class_set, class_set)) if target is None]
    names = [table.class_set.names[source] for source in lost if table.labels[:, source].any()]
    if names:
        log.info(
            "%s of %s has no counterpart in %s: %d of %d fields lose a label.",
            ", ".join(names),
            table.class_set.name,
            class_set.name,
            table.labels[:, lost].any(axis=1).sum(),
            len(table),
        )


def _common_groups(tables: Sequence[LabelTable]) -> dict[str, list[str]]:
    """The group columns that every table has, one table after the other."""
    names = [name for name in tables[0].groups if all(name in table.groups for table in tables)]
    return {name: [value for table in tables for value in table.groups[name]] for name in names}


def _some(ids: Iterable[str]) -> str:
    ids = sorted(ids)
    return ", ".join(ids[:_NUM_SHOWN]) + (" ..." if len(ids) > _NUM_SHOWN else "") if ids else "none"
