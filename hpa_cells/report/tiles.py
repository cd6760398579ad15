"""Single cells on the page, with what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.report.colors import short_name
from hpa_cells.report.pictures import data_uri
from hpa_cells.report.selection import Selection
from hpa_cells.report.truth import KnownTruth
from hpa_cells.table import CellTable, Column

__all__ = ["CellTile", "ClassTiles", "TileMaker", "cell_words", "most_probable_words"]

_NUM_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTile:
    """A single cell on the page.

    Attributes
    ----------
    field_id, cell_id
        The cell.
    picture
        Data URI.
    class_index
        The class it is shown for.
    probability
        Of this class.
    of_field
        That of its field; NaN where there is none.
    told
        What is told of it.
    is_right
        Whether it truly has the class; None where no truth is known.
    """

    field_id: str
    cell_id: int
    picture: str
    class_index: int
    probability: float
    of_field: float
    told: str
    is_right: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTiles:
    """A class with the cells that have it most and least surely."""

    class_index: int
    most: list[CellTile]
    least: list[CellTile]


@dataclass(frozen=True, kw_only=True, slots=True)
class TileMaker:
    """Makes the tiles of a run from the pictures of its cells.

    Attributes
    ----------
    table
        The run.
    known
        What is true of it, or None.
    pictures
        Data URIs by row of ``table.cells``; a cell without one is left out.
    of_fields
        (K,) probabilities of a field as a whole, by its id.
    """

    table: CellTable
    known: KnownTruth | None
    pictures: Mapping[int, str]
    of_fields: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(
        cls, table: CellTable, known: KnownTruth | None, tiles: Mapping[int, NDArray[np.uint8]]
    ) -> TileMaker:
        """A maker for pictures of (S, S, 3) uint8 by row."""
        return cls(
            table=table,
            known=known,
            pictures={row: data_uri(tile) for row, tile in tiles.items()},
            of_fields=dict(zip(table.fields[Column.FIELD_ID], table.field_probabilities(), strict=True)),
        )

    def of_classes(self, selection: Selection) -> list[ClassTiles]:
        """The classes that have a cell to show."""
        every = [
            ClassTiles(class_index=index, most=self._tiles(most, index), least=self._tiles(least, index))
            for index, (most, least) in enumerate(zip(selection.most, selection.least, strict=True))
        ]
        return [each for each in every if each.most or each.least]

    def of_disagreements(self, selection: Selection) -> list[CellTile]:
        """The cells that are far from their fields."""
        return [
            tile for each in selection.disagreements for tile in self._tiles([each.row], each.class_index)
        ]

    def _tiles(self, rows: Sequence[int], class_index: int) -> list[CellTile]:
        return [self._tile(row, class_index) for row in rows if row in self.pictures]

    def _tile(self, row: int, class_index: int) -> CellTile:
        cell = self.table.cells.iloc[row]
        field_id, class_set = str(cell[Column.FIELD_ID]), self.table.class_set
        truth = self.known.words(row, class_set) if self.known else ""
        return CellTile(
            field_id=field_id,
            cell_id=int(cell[Column.CELL_ID]),
            picture=self.pictures[row],
            class_index=class_index,
            probability=float(cell[Column.probabilities(class_set)[class_index]]),
            of_field=float(self.of_fields[field_id][class_index]),
            told=cell_words(cell, class_set, truth),
            is_right=self.known.is_right(row, class_index) if self.known else None,
        )


def cell_words(row: pd.Series, class_set: ClassSet, truth: str) -> str:
    """What is told of a cell: id, most probable classes, area, whether it is cut, and the truth."""
    probabilities = row[Column.probabilities(class_set)].to_numpy(dtype=np.float32)
    lines = [f"Cell {row[Column.CELL_ID]} of {row[Column.FIELD_ID]}"]
    lines += most_probable_words(probabilities, class_set, num=_NUM_NAMED)
    area_um2 = float(row[Column.AREA_UM2])
    area = f"{row[Column.AREA_PX]:,} px" if np.isnan(area_um2) else f"{area_um2:,.0f} µm²"
    lines.append(area + (", cut by the edge" if row[Column.TOUCHES_BORDER] else ""))
    return "\n".join([*lines, f"Truth: {truth}"] if truth else lines)


def most_probable_words(probabilities: NDArray[np.float32], class_set: ClassSet, *, num: int) -> list[str]:
    """The `num` most probable classes of (K,) probabilities, such as ``0.93 Nucleoli``; without those that are NaN."""
    ranked = np.argsort(-probabilities, kind="stable")[:num]
    return [
        f"{probabilities[index]:.2f} {short_name(class_set.keys[index])}"
        for index in ranked
        if np.isfinite(probabilities[index])
    ]
