"""Which fields and cells of each class to look at, drawn at random: what is typical, and not what is best.

Shapes: F fields, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.table import Column

__all__ = ["SampleSettings", "Samples", "draw_cells", "draw_fields"]


@dataclass(kw_only=True)
class SampleSettings:
    """How much of each class is drawn.

    Attributes
    ----------
    fields, cells
        Most fields, and most cells of these fields; 0 draws none.
    columns
        Pictures a row.
    seed
        Of the draw.
    """

    fields: int
    cells: int
    columns: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("fields", 0), ("cells", 0), ("columns", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"samples.{name} is {getattr(self, name)}: give at least {least}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The fields that are drawn of each class.

    Attributes
    ----------
    class_set
        The K classes.
    field_ids
        K lists of ids, in the order they were drawn; empty where no field has the class.
    labels_of
        (K,) bool, the classes of each field that was drawn.
    """

    class_set: ClassSet
    field_ids: tuple[tuple[str, ...], ...]
    labels_of: dict[str, NDArray[np.bool_]]


def draw_fields(
    labels: NDArray[np.bool_], field_ids: Sequence[str], class_set: ClassSet, settings: SampleSettings
) -> Samples:
    """Draw fields of each class, each time the same ones; one class does not change the draw of another.

    Parameters
    ----------
    labels
        (F, K) bool.
    field_ids
        F names.
    class_set
        The K classes.
    settings
        How many.
    """
    drawn = [
        _some(np.flatnonzero(labels[:, column]), settings.fields, [settings.seed, column])
        for column in range(len(class_set))
    ]
    return Samples(
        class_set=class_set,
        field_ids=tuple(tuple(field_ids[row] for row in rows) for rows in drawn),
        labels_of={field_ids[row]: labels[row] for rows in drawn for row in rows},
    )


def draw_cells(
    samples: Samples, cells: pd.DataFrame, settings: SampleSettings
) -> tuple[NDArray[np.int64], ...]:
    """Draw cells of the fields of each class.

    A label is one of a field, and half of its cells may show other locations: that is what is to be seen.

    Parameters
    ----------
    samples
        The fields.
    cells
        Rows of a cell table.
    settings
        How many.

    Returns
    -------
    For each class row numbers of `cells`.
    """
    ids = cells[Column.FIELD_ID]
    return tuple(
        _some(np.flatnonzero(ids.isin(of_class)), settings.cells, [settings.seed, column, 1])
        for column, of_class in enumerate(samples.field_ids)
    )


def _some(rows: NDArray[np.int64], number: int, seed: list[int]) -> NDArray[np.int64]:
    drawn: NDArray[np.int64] = np.random.default_rng(seed).permutation(rows)[:number].astype(np.int64)
    return drawn
