"""Every cell as an image of its own, in the middle of a square: what the formats of single cells hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.cells import cut_square, normalise_field
from hpa_cells.export.pixels import FieldWithCells
from hpa_cells.table import CellTable, Column

__all__ = ["CellImageSettings", "CellImages"]

log = logging.getLogger(__name__)

# Sides that networks take well.
_SIDE_STEP_PX: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class CellImageSettings:
    """What a user chooses of a format of single cells.

    Attributes
    ----------
    size_px
        Side of the images; None: what the largest cell needs.
    shrink, masked
        See `CellImages`.
    """

    size_px: int | None = None
    shrink: int = 1
    masked: bool = True

    def __post_init__(self) -> None:
        if self.size_px is not None and self.size_px < 1:
            raise ValueError(
                f"format.size_px is {self.size_px}: give at least 1, or null for the largest cell."
            )
        if self.shrink < 1:
            raise ValueError(
                f"format.shrink is {self.shrink}: give at least 1, which is the field's own scale."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CellImages:
    """How cells are cut out.

    Attributes
    ----------
    size_px
        S, the side of the images.
    shrink
        Pixels of the field a side that one of the image is the mean of.
    masked
        Whether the channels are 0 outside the cell.
    """

    size_px: int
    shrink: int
    masked: bool

    @classmethod
    def of(cls, table: CellTable, *, size_px: int | None, shrink: int, masked: bool) -> CellImages:
        """Of this size, or of what the largest cell of the table needs; cells that are cut off are told."""
        sides_px = (
            table.cells[[Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX]].to_numpy().max(axis=1, initial=1)
        )
        if size_px is None:
            size_px = _SIDE_STEP_PX * -(-int(sides_px.max(initial=1)) // (_SIDE_STEP_PX * shrink))
        num_cut = int((sides_px > size_px * shrink).sum())
        if num_cut:
            log.warning(
                "%d of %d cells are larger than %d px, up to %d, and are cut off: "
                "leave out format.size_px for all to fit",
                *(num_cut, len(sides_px), size_px * shrink, sides_px.max()),
            )
        return cls(size_px=size_px, shrink=shrink, masked=masked)

    def of_field(self, opened: FieldWithCells) -> Iterator[NDArray[np.float32]]:
        """For each cell, by the rows of the field, (6, S, S) float32 in [0, 1].

        First the masks of the nucleus and of the cell, then microtubules, protein, nucleus and ER as `normalise_field`
        scales them. The box of the cell is in the middle; beyond the edge of the field there is 0.
        """
        channels = normalise_field(opened.field).transpose(1, 2, 0)
        side_px = self.size_px * self.shrink
        box = [Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX]
        rows = opened.cells[[Column.CELL_ID, *box]].itertuples(index=False, name=None)
        for cell_id, x, y, width, height in rows:
            corner = (x + width // 2 - side_px // 2, y + height // 2 - side_px // 2)
            cell = cut_square(opened.segmentation.cells, corner, side_px) == cell_id
            nucleus = cut_square(opened.segmentation.nuclei, corner, side_px) == cell_id
            seen = cut_square(channels, corner, side_px).transpose(2, 0, 1)
            seen = seen * cell if self.masked else seen
            stack = np.concatenate([np.stack([nucleus, cell]), seen / np.float32(255)], dtype=np.float32)
            blocks = stack.reshape(len(stack), self.size_px, self.shrink, self.size_px, self.shrink)
            yield stack if self.shrink == 1 else blocks.mean(axis=(2, 4))
