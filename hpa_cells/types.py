"""What the stages hand each other: frozen, and checked once, at construction.

Shapes: C channels (always 4), H rows, W columns, N cells, S crop side, K classes, D embedding size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.label_images import CoarseLabels, label_ids

__all__ = [
    "NUM_CHANNELS",
    "CellCrops",
    "CellScores",
    "Channel",
    "Field",
    "FieldView",
    "Segmentation",
    "label_ids",
]


class Channel(IntEnum):
    """Position of a channel; `color` is its name in the files of the Human Protein Atlas."""

    MICROTUBULES = 0
    PROTEIN = 1
    NUCLEUS = 2
    ER = 3

    @property
    def color(self) -> str:
        """``red``, ``green``, ``blue`` or ``yellow``."""
        return ("red", "green", "blue", "yellow")[self]


NUM_CHANNELS = len(Channel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One imaged field.

    Attributes
    ----------
    field_id
        Name of the field, safe as a file name.
    image
        (4, H, W) uint8 or uint16, channels in the order of `Channel`. A missing channel is all zero.
    pixel_size_um
        Side of a pixel, in um.
    missing
        The channels for which there was no file.
    """

    field_id: str
    image: NDArray[np.uint8] | NDArray[np.uint16]
    pixel_size_um: float
    missing: frozenset[Channel] = frozenset()

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != NUM_CHANNELS or 0 in self.image.shape:
            raise ValueError(f"Field {self.field_id}: image is {self.image.shape}, expected (4, H, W).")
        if self.image.dtype not in (np.uint8, np.uint16):
            raise TypeError(f"Field {self.field_id}: image is {self.image.dtype}, expected uint8 or uint16.")
        _check_pixel_size(self.field_id, self.pixel_size_um)

    @property
    def height_px(self) -> int:
        """Number of rows."""
        return int(self.image.shape[1])

    @property
    def width_px(self) -> int:
        """Number of columns."""
        return int(self.image.shape[2])

    @property
    def max_value(self) -> int:
        """Largest value the data type holds: 255 or 65535."""
        return int(np.iinfo(self.image.dtype).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """The cells of a field as label images: a pixel's value is its cell's id, 0 is background.

    Attributes
    ----------
    field_id
        The field it belongs to.
    cells
        (H, W) int32. Ids are positive and need not be contiguous.
    nuclei
        (H, W) int32. A nucleus has the id of its cell; a cell may lack a nucleus, a nucleus has a cell.
    pixel_size_um
        Side of a pixel, in um.
    coarse
        The same, as they were found. Where that is smaller, see `enlarged`, the two above are made when they are first
        asked for.
    """

    field_id: str
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    pixel_size_um: float
    coarse: CoarseLabels = field(init=False, repr=False)

    @classmethod
    def enlarged(cls, coarse: CoarseLabels, *, field_id: str, pixel_size_um: float) -> Self:
        """That of a field whose cells were found at a coarser scale; the field's size is that of `coarse`."""
        found = cls(field_id=field_id, cells=coarse.cells, nuclei=coarse.nuclei, pixel_size_um=pixel_size_um)
        object.__delattr__(found, "cells")
        object.__delattr__(found, "nuclei")
        object.__setattr__(found, "coarse", coarse)
        return found

    def __post_init__(self) -> None:
        for name, labels in (("cells", self.cells), ("nuclei", self.nuclei)):
            if labels.ndim != 2 or labels.dtype != np.int32:
                raise TypeError(
                    f"Field {self.field_id}: {name} are {labels.dtype} {labels.shape}, expected int32 (H, W)."
                )
            if labels.size and labels.min() < 0:
                raise ValueError(f"Field {self.field_id}: {name} has a negative id ({labels.min()}).")
        if self.cells.shape != self.nuclei.shape:
            raise ValueError(
                f"Field {self.field_id}: cells have shape {self.cells.shape}, nuclei {self.nuclei.shape}; "
                "both must be the field's."
            )
        rows, columns = map(np.arange, self.cells.shape)
        coarse = CoarseLabels(cells=self.cells, nuclei=self.nuclei, rows=rows, columns=columns)
        object.__setattr__(self, "coarse", coarse)
        lost = np.setdiff1d(label_ids(self.nuclei), self.cell_ids, assume_unique=True)
        if lost.size:
            raise ValueError(
                f"Field {self.field_id}: {lost.size} nuclei have no cell of the same id "
                f"({', '.join(map(str, lost[:5]))}): give each nucleus the id of its cell."
            )
        _check_pixel_size(self.field_id, self.pixel_size_um)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NDArray[np.int32]:
            if name not in ("cells", "nuclei"):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            labels = self.coarse.enlarged(getattr(self.coarse, name))
            object.__setattr__(self, name, labels)
            return labels

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return len(self.coarse.rows), len(self.coarse.columns)

    @property
    def cell_ids(self) -> NDArray[np.int32]:
        """(N,) int32, the ids of the cells, ascending."""
        return label_ids(self.coarse.cells)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellCrops:
    """The cells of a field, cut out and brought to one square size.

    Attributes
    ----------
    field_id
        The field they come from.
    cell_ids
        (N,) int32, in the order of `images`.
    images
        (N, 4, S, S) uint8, normalised to the field: 255 is the channel's bright end.
    touches_border
        (N,) bool, whether the cell is cut by the edge of the field.
    areas_um2
        (N,) float64, the cell's area in view, in um2.
    """

    field_id: str
    cell_ids: NDArray[np.int32]
    images: NDArray[np.uint8]
    touches_border: NDArray[np.bool_]
    areas_um2: NDArray[np.float64]

    def __post_init__(self) -> None:
        num_cells = len(self.cell_ids)
        if self.images.ndim != 4 or self.images.shape[:2] != (num_cells, NUM_CHANNELS):
            raise ValueError(
                f"Field {self.field_id}: crops are {self.images.shape}, expected ({num_cells}, 4, S, S)."
            )
        if len(self.touches_border) != num_cells:
            raise ValueError(
                f"Field {self.field_id}: {len(self.touches_border)} border marks for {num_cells} cells."
            )
        _check_shape(self.field_id, "areas_um2", self.areas_um2, (num_cells,))


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldView:
    """A whole field as a network sees it at once, with its cells; h and w are its sides there.

    Attributes
    ----------
    field_id
        The field.
    cell_ids
        (N,) int32, ascending.
    image
        (4, h, w) uint8, normalised to the field: 255 is the channel's bright end.
    labels
        (h, w) int32: the id of the cell that a pixel is of, 0 for none. Every cell has at least one pixel.
    touches_border
        (N,) bool, whether the cell is cut by the edge of the field.
    areas_um2
        (N,) float64, the cell's area in view, in um2.
    """

    field_id: str
    cell_ids: NDArray[np.int32]
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    touches_border: NDArray[np.bool_]
    areas_um2: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_shape(self.field_id, "image", self.image, (NUM_CHANNELS, *self.labels.shape))
        _check_shape(self.field_id, "touches_border", self.touches_border, (len(self.cell_ids),))
        found = label_ids(self.labels)
        if not np.array_equal(found, self.cell_ids):
            differing = np.setxor1d(found, self.cell_ids)
            raise ValueError(
                f"Field {self.field_id}: the view shows {len(found)} cells, {len(self.cell_ids)} are listed (only in "
                f"one: {', '.join(map(str, differing[:5])) or 'not ascending'}): list those shown, ascending."
            )
        _check_shape(self.field_id, "areas_um2", self.areas_um2, (len(self.cell_ids),))

    @property
    def positions(self) -> NDArray[np.int32]:
        """(h, w) int32: the position in `cell_ids` of a pixel's cell, plus 1; 0 for none."""
        return np.searchsorted(self.cell_ids, self.labels, side="right").astype(np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellScores:
    """What a model says of the cells of a field.

    Attributes
    ----------
    field_id
        The field they come from.
    class_set
        The K classes.
    cell_ids
        (N,) int32.
    probabilities
        (N, K) float32 in [0, 1].
    field_probabilities
        (K,) float32 in [0, 1], for the field as a whole; NaN where the model gives none.
    embeddings
        (N, D) float32; D may be 0.
    """

    field_id: str
    class_set: ClassSet
    cell_ids: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    field_probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def __post_init__(self) -> None:
        num_cells, num_classes = len(self.cell_ids), len(self.class_set)
        _check_shape(self.field_id, "probabilities", self.probabilities, (num_cells, num_classes))
        _check_shape(self.field_id, "field_probabilities", self.field_probabilities, (num_classes,))
        _check_shape(self.field_id, "embeddings", self.embeddings, (num_cells, self.embeddings.shape[-1]))
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():
            raise ValueError(f"Field {self.field_id}: a cell probability is outside [0, 1] or not finite.")


def _check_shape(field_id: str, name: str, values: NDArray[Any], expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise ValueError(f"Field {field_id}: {name} has shape {values.shape}, expected {expected}.")


def _check_pixel_size(field_id: str, pixel_size_um: float) -> None:
    if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise ValueError(f"Field {field_id}: pixel size is {pixel_size_um} um, expected a positive number.")
