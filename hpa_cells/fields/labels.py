"""Label tables: which locations each field shows, as the challenges publish them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import CLASS_SETS, ClassSet
from hpa_cells.fields.label_layouts import LAYOUTS, LabelFile, LabelLayout, id_column_of, layout_of
from hpa_cells.fields.rows import Rows, read_rows

__all__ = ["LabelTable", "read_label_table", "write_label_table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTable:
    """The locations of F fields.

    Attributes
    ----------
    class_set
        The K classes.
    field_ids
        F names, each once.
    labels
        (F, K) bool.
    groups
        Further columns of F texts by name, e.g. ``antibody``, ``gene`` or ``cell_line``.
    """

    class_set: ClassSet
    field_ids: tuple[str, ...]
    labels: NDArray[np.bool_]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.field_ids), len(self.class_set))
        if self.labels.shape != expected or self.labels.dtype != np.bool_:
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, expected bool {expected}.")
        if len(set(self.field_ids)) != len(self.field_ids):
            raise ValueError("A field id is in the label table twice.")
        for name, values in self.groups.items():
            if len(values) != len(self.field_ids):
                raise ValueError(f"Column {name} has {len(values)} values for {len(self.field_ids)} fields.")

    def __len__(self) -> int:
        return len(self.field_ids)

    def take(self, rows: Iterable[int]) -> LabelTable:
        """The table of these rows, in this order."""
        rows = list(rows)
        return LabelTable(
            class_set=self.class_set,
            field_ids=tuple(self.field_ids[row] for row in rows),
            labels=self.labels[rows],
            groups={name: tuple(values[row] for row in rows) for name, values in self.groups.items()},
        )


def read_label_table(
    path: Path | str | LabelFile,
    class_set: ClassSet | None = None,
    *,
    groups_path: Path | str | None = None,
) -> LabelTable:
    """Read a label table of 2021 (``ID,Label``, split by ``|``) or 2018 (``Id,Target``, split by spaces).

    Which one it is, the header tells; one of other columns is described by a `LabelFile`. A label is a class's
    number, its key or its name, in large or small letters. Further columns, of this file or of `groups_path`,
    become `LabelTable.groups`. A label that a row names twice counts once: the table of 2021 has such rows.

    Parameters
    ----------
    path
        A CSV in UTF-8, or one and how it is written.
    class_set
        What the labels mean; None for what the file or its header says.
    groups_path
        A second CSV with a column ``ID`` or ``Id`` that knows every field, and columns to group fields by.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        If the header is of neither year and not described, or a row has an unknown class, no label, a field that
        an earlier row has, or too few or many columns. The message names file, line and token.
    """
    told = path if isinstance(path, LabelFile) else LabelFile(path=str(path))
    rows = read_rows(Path(told.path))
    layout = layout_of(rows, told)
    class_set = class_set or layout.class_set
    field_ids = rows.unique(layout.id_column)
    groups = _other_columns(rows, {layout.id_column, layout.label_column})
    if groups_path is not None:
        groups |= _read_groups(Path(groups_path), field_ids)
    return LabelTable(
        class_set=class_set,
        field_ids=tuple(field_ids),
        labels=_labels(rows, layout, class_set),
        groups=groups,
    )


def write_label_table(table: LabelTable, path: Path | str) -> None:
    """Write a table as `read_label_table` reads it: 2018's layout for its class set, 2021's for others."""
    layout = next((each for each in LAYOUTS if each.class_set == table.class_set), LAYOUTS[0])
    with (
        replaced_on_success(Path(path)) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([layout.id_column, layout.label_column, *table.groups])
        for row, field_id in enumerate(table.field_ids):
            classes = layout.separator.join(map(str, np.flatnonzero(table.labels[row])))
            writer.writerow([field_id, classes, *(values[row] for values in table.groups.values())])


def _labels(rows: Rows, layout: LabelLayout, class_set: ClassSet) -> NDArray[np.bool_]:
    class_of_token = _tokens(class_set)
    labels = np.zeros((len(rows.lines), len(class_set)), dtype=bool)
    for row, text in enumerate(rows.column(layout.label_column)):
        for token in text.strip().split(layout.separator):
            if token.strip().lower() not in class_of_token:
                found = f"{token.strip()!r} is not a class" if text.strip() else "there is no label"
                field_id = rows.column(layout.id_column)[row]
                raise ValueError(
                    f"{rows.path}, line {rows.lines[row]}, {field_id}: {found}, expected numbers from 0 to "
                    f"{len(class_set) - 1} ({class_set.name}), or names, split by {layout.separator!r}."
                    + _meant_by(token.strip(), class_set)
                )
            labels[row, class_of_token[token.strip().lower()]] = True
    return labels


def _tokens(class_set: ClassSet) -> dict[str, int]:
    """Class of each number, key and name, in small letters."""
    spellings = (map(str, range(len(class_set))), class_set.keys, class_set.names)
    return {token.lower(): index for each in spellings for index, token in enumerate(each)}


def _meant_by(token: str, class_set: ClassSet) -> str:
    """A hint where another class set knows the token."""
    others = [name for name, other in CLASS_SETS.items() if token.lower() in _tokens(other)]
    if not others:
        return ""
    return (
        f" It is one of {' and '.join(others)}: if the table is of that, say so by class_set (in data.labels: "
        f"{{path: …, class_set: {others[0]}}}), and its classes are mapped to {class_set.name}."
    )


def _other_columns(rows: Rows, known: set[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(rows.column(name)) for name in rows.header if name not in known}


def _read_groups(path: Path, field_ids: list[str]) -> dict[str, tuple[str, ...]]:
    rows = read_rows(path)
    id_column = id_column_of(rows)
    row_of_id = {field_id: row for row, field_id in enumerate(rows.unique(id_column))}
    lost = [field_id for field_id in field_ids if field_id not in row_of_id]
    if lost:
        raise ValueError(
            f"{path} lacks {len(lost)} of {len(field_ids)} labelled fields ({', '.join(lost[:5])}): add them."
        )
    return {
        name: tuple(values[row_of_id[field_id]] for field_id in field_ids)
        for name, values in _other_columns(rows, {id_column}).items()
    }
