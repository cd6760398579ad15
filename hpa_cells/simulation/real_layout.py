"""The outlines of a real field's cells, and a turned, mirrored and scaled view of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.canvas import Canvas, FloatImage

__all__ = ["RealLayout", "View", "draw_view", "surrounded"]

# Finer than any canvas; it saves time.
_FINEST_UM = 0.16
_LARGEST_SCALE = 1.25
_BEND_SCALE_UM = 14.0
_LARGEST_BEND_UM = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class RealLayout:
    """Where the cells of a real field are.

    Attributes
    ----------
    cells
        (H, W) int32, 0 is background; ids need not be contiguous.
    nuclei
        (H, W) int32 with the ids of their cells, or None: then plausible nuclei are placed.
    pixel_size_um
        Side of a pixel.
    """

    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32] | None
    pixel_size_um: float

    def __post_init__(self) -> None:
        for name, labels in (("cells", self.cells), ("nuclei", self.nuclei)):
            if labels is None:
                continue
            if labels.dtype != np.int32 or labels.ndim != 2 or labels.shape != self.cells.shape:
                raise TypeError(
                    f"RealLayout: {name} are {labels.dtype} {labels.shape}, expected int32 (H, W) of one shape."
                )
        if not (np.isfinite(self.pixel_size_um) and self.pixel_size_um > 0):
            raise ValueError(
                f"RealLayout: pixel_size_um is {self.pixel_size_um}, expected a positive number."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """An affine view of a real layout. Positions are (y, x) in um, those of a canvas and those of the layout.

    Attributes
    ----------
    matrix
        (2, 2), from canvas to layout: turned, perhaps mirrored, divided by the scale.
    canvas_middle_um, layout_middle_um
        (2,), two positions that meet.
    bend_um
        Two (H, W) displacements on the canvas, down and right, that make every view a little different.
    """

    matrix: NDArray[np.float64]
    canvas_middle_um: NDArray[np.float64]
    layout_middle_um: NDArray[np.float64]
    bend_um: tuple[FloatImage, FloatImage]

    @property
    def scale(self) -> float:
        """How much larger things are on the canvas than in the layout."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.matrix))))

    def to_canvas(self, positions_um: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) positions in the layout as the canvas shows them."""
        moved: NDArray[np.float64] = self.directions_to_canvas(positions_um - self.layout_middle_um)
        return moved + self.canvas_middle_um

    def directions_to_canvas(self, vectors_um: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) vectors in the layout as the canvas shows them."""
        turned: NDArray[np.float64] = vectors_um @ np.linalg.inv(self.matrix).T
        return turned

    def sample(
        self, labels: NDArray[np.int32], layout_pixel_um: float, canvas_pixel_um: float
    ) -> NDArray[np.int32]:
        """The label image on the canvas, by nearest neighbour; 0 beyond its edge."""
        height, width = self.bend_um[0].shape
        down = np.arange(height)[:, None] * canvas_pixel_um - self.canvas_middle_um[0] + self.bend_um[0]
        right = np.arange(width)[None, :] * canvas_pixel_um - self.canvas_middle_um[1] + self.bend_um[1]
        rows, columns = (
            ((turn[0] * down + turn[1] * right + middle) / layout_pixel_um).astype(np.float32)
            for turn, middle in zip(self.matrix, self.layout_middle_um, strict=True)
        )
        # Exact in float32 for ids below 2^24.
        seen = cv2.remap(labels.astype(np.float32), columns, rows, cv2.INTER_NEAREST)
        return np.asarray(seen).astype(np.int32)


def draw_view(canvas: Canvas, layout: RealLayout, rng: np.random.Generator) -> tuple[RealLayout, View]:
    """The layout, mirrored where it is too small, and a view of it that is full of cells to its corners.

    Half of the views are turned by any angle, the others by quarters; all are scaled by 0.8 to 1.25.
    """
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    scale = np.exp(rng.uniform(-1, 1) * np.log(_LARGEST_SCALE))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([1.0, rng.choice([-1.0, 1.0])]) / scale
    canvas_um = np.array(canvas.size_um)
    # Noise is within four deviations of zero, on both sides.
    needed_um = np.abs(matrix) @ canvas_um + 2 * 4 * _LARGEST_BEND_UM
    layout_um = np.array(layout.cells.shape) * layout.pixel_size_um
    room_um = needed_um - layout_um
    whole = surrounded(_reduced(layout), float(np.maximum(room_um, 0).max()) / 2)
    whole_um = np.array(whole.cells.shape) * whole.pixel_size_um
    bend_um = np.float32(rng.uniform(0, _LARGEST_BEND_UM))
    view = View(
        matrix=matrix,
        canvas_middle_um=canvas_um / 2,
        layout_middle_um=whole_um / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(-room_um, 0),
        bend_um=(bend_um * canvas.noise(rng, _BEND_SCALE_UM), bend_um * canvas.noise(rng, _BEND_SCALE_UM)),
    )
    return whole, view


def surrounded(layout: RealLayout, margin_um: float) -> RealLayout:
    """The layout in the middle of mirror images of itself, whose cells have ids of their own.

    Examples
    --------
    >>> cells = np.array([[1, 1, 0, 2]], dtype=np.int32)
    >>> surrounded(RealLayout(cells=cells, nuclei=None, pixel_size_um=1.0), 2.0).cells[2]
    array([43, 43,  1,  1,  0,  2,  5,  0], dtype=int32)
    """
    margin_px = int(np.ceil(margin_um / layout.pixel_size_um))
    if margin_px == 0:
        return layout
    tile_rows, tile_columns = (np.arange(-margin_px, side + margin_px) // side for side in layout.cells.shape)
    num_across = int(np.ptp(tile_columns)) + 1
    tiles = (tile_rows - tile_rows[0])[:, None] * num_across + (tile_columns - tile_columns[0])[None, :]
    # The middle keeps its ids.
    tiles = (tiles - tiles[margin_px, margin_px]) % (int(tiles.max()) + 1)
    num_ids = int(layout.cells.max(initial=0)) + 1

    def mirrored(labels: NDArray[np.int32]) -> NDArray[np.int32]:
        padded = np.pad(labels, margin_px, mode="symmetric")
        return np.where(padded > 0, padded + tiles * num_ids, 0).astype(np.int32)

    return RealLayout(
        cells=mirrored(layout.cells),
        nuclei=None if layout.nuclei is None else mirrored(layout.nuclei),
        pixel_size_um=layout.pixel_size_um,
    )


def _reduced(layout: RealLayout) -> RealLayout:
    step = max(int(_FINEST_UM / layout.pixel_size_um), 1)
    return RealLayout(
        cells=layout.cells[::step, ::step],
        nuclei=None if layout.nuclei is None else layout.nuclei[::step, ::step],
        pixel_size_um=step * layout.pixel_size_um,
    )
