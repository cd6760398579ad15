"""How label tables are written: the two challenges' ways, and any other that a user describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.fields.rows import Rows

__all__ = ["LAYOUTS", "LabelFile", "LabelLayout", "as_label_file", "id_column_of", "layout_of"]


@dataclass(frozen=True, slots=True)
class LabelLayout:
    """The columns of a label table, what splits the labels of a row, and the classes that they name."""

    id_column: str
    label_column: str
    separator: str
    class_set: ClassSet


# Of the challenges of 2021 and 2018.
LAYOUTS = (
    LabelLayout("ID", "Label", "|", get_class_set("hpa2021")),
    LabelLayout("Id", "Target", " ", get_class_set("hpa2018")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFile:
    """A label table, and of its layout whatever the header does not tell.

    Attributes
    ----------
    path
        A CSV in UTF-8.
    id_column, label_column
        Their names; None for those of a challenge.
    separator
        What splits the labels of a row; None for the challenge's.
    class_set
        Name of the classes that the labels name; None for the challenge's.
    """

    path: str
    id_column: str | None = None
    label_column: str | None = None
    separator: str | None = None
    class_set: str | None = None

    def __post_init__(self) -> None:
        if self.separator == "":
            raise ValueError(f"The separator of {self.path} is empty: give the text that splits its labels.")
        if self.class_set is not None:
            get_class_set(self.class_set)


def as_label_file(entry: str | Mapping[str, Any]) -> LabelFile:
    """Read an entry of a list of label tables: a path, or a mapping with the attributes of `LabelFile`.

    Raises
    ------
    ValueError
        If the mapping has no path, or a key that `LabelFile` lacks.

    Examples
    --------
    >>> as_label_file({"path": "more.csv", "id_column": "image", "class_set": "hpa2018"}).id_column
    'image'
    """
    if isinstance(entry, str):
        return LabelFile(path=entry)
    known = [each.name for each in fields(LabelFile)]
    unknown = [str(key) for key in entry if key not in known]
    if unknown or not entry.get("path"):
        found = f"has no {', '.join(unknown)}" if unknown else "needs a path"
        raise ValueError(
            f"A label table {found}: give {', '.join(known)} (all but the path may be left out)."
        )
    path, *others = ((key, entry[key]) for key in known if key in entry)
    told = {key: None if value is None else str(value) for key, value in others}
    return LabelFile(path=str(path[1]), **told)


def layout_of(rows: Rows, told: LabelFile) -> LabelLayout:
    """The layout of a table: what is told, and for the rest what its header says.

    Raises
    ------
    ValueError
        If a column is not there, or neither header nor user tell all.
    """
    columns = [name for name in (told.id_column, told.label_column) if name is not None]
    lost = [name for name in columns if name not in rows.header]
    if lost:
        raise ValueError(
            f"{rows.path}, line 1: columns are {_names(rows)}, {', '.join(lost)} is not among them."
        )
    id_column = told.id_column or _first(rows, [layout.id_column for layout in LAYOUTS])
    label_column = told.label_column or _first(rows, [layout.label_column for layout in LAYOUTS])
    # The column of labels tells the year: how they are split and what they mean.
    challenge = next((layout for layout in LAYOUTS if layout.label_column == label_column), None)
    separator = told.separator or (challenge.separator if challenge else None)
    class_set = (
        get_class_set(told.class_set) if told.class_set else challenge.class_set if challenge else None
    )
    if id_column is None or label_column is None or separator is None or class_set is None:
        wanted = " or ".join(f"{layout.id_column},{layout.label_column}" for layout in LAYOUTS)
        raise ValueError(
            f"{rows.path}, line 1: columns are {_names(rows)}, expected {wanted}. In data.labels a table of "
            f"other columns may stand as {{path: {told.path}, id_column: …, label_column: …, separator: …, "
            "class_set: …}."
        )
    return LabelLayout(id_column, label_column, separator, class_set)


def id_column_of(rows: Rows) -> str:
    """Name of the column of field ids, by any challenge's header.

    Raises
    ------
    ValueError
        If there is none.
    """
    names = [layout.id_column for layout in LAYOUTS]
    found = _first(rows, names)
    if found is None:
        raise ValueError(
            f"{rows.path}, line 1: columns are {_names(rows)}, expected {' or '.join(names)} among them."
        )
    return found


def _first(rows: Rows, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in rows.header), None)


def _names(rows: Rows) -> str:
    return ", ".join(rows.header) or "none"
