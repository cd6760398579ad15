from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from hpa_cells.simulation import CELL_LINES
from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.labels import CellState


def slow_distance_to_border(cells: np.ndarray, pixel_size_um: float) -> np.ndarray:
    """To the nearest pixel that is background or the first of another cell, looked for one by one."""
    edge = cells == 0
    edge[1:] |= cells[1:] != cells[:-1]
    edge[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    rows, columns = np.nonzero(edge)
    distance = np.zeros(cells.shape)
    for row in range(0, cells.shape[0], 9):
        for column in range(0, cells.shape[1], 9):
            distance[row, column] = np.hypot(rows - row, columns - column).min() * pixel_size_um
    return distance


def test_nuclei_are_inside_their_cells(anatomy: Anatomy) -> None:
    inside = anatomy.nuclei > 0
    np.testing.assert_array_equal(anatomy.nuclei[inside], anatomy.cells[inside])
    assert (anatomy.nucleoli[~inside] == 0).all()
    assert anatomy.cells.dtype == anatomy.nuclei.dtype == np.int32


def test_distances_are_those_of_the_slow_way(anatomy: Anatomy) -> None:
    slow = slow_distance_to_border(anatomy.cells, anatomy.canvas.pixel_size_um)[::9, ::9]
    # The fast transform is exact to a few percent.
    np.testing.assert_allclose(anatomy.to_border_um[::9, ::9], slow, rtol=0.06, atol=0.3)
    assert (anatomy.to_nucleus_um[anatomy.nuclei > 0] == 0).all()
    assert (anatomy.nucleus_depth_um[anatomy.nuclei == 0] == 0).all()
    assert anatomy.slope.min() >= 0
    assert anatomy.slope.max() <= 2


def test_every_cell_is_in_one_piece(make_anatomy) -> None:  # type: ignore[no-untyped-def]
    cells = make_anatomy(*[CellState.INTERPHASE] * 25, line="U-251 MG", pixel_size_um=0.4).cells
    for cell in np.unique(cells)[1:]:
        assert label(cells == cell, connectivity=1).max() == 1


def test_per_pixel_spreads_the_value_of_each_cell(anatomy: Anatomy) -> None:
    values = np.arange(1.0, 1.0 + anatomy.num_cells)
    np.testing.assert_array_equal(anatomy.per_pixel(values), anatomy.cells)


def test_states_have_their_nuclei(anatomy: Anatomy) -> None:
    pieces = np.bincount(anatomy.layout.nuclei.owners, minlength=anatomy.num_cells + 1)[1:]
    doubled = np.isin(anatomy.plan.states, [CellState.BINUCLEATED, CellState.ANAPHASE])
    np.testing.assert_array_equal(pieces, np.where(doubled, 2, 1))
    with_nucleoli = np.unique(anatomy.layout.nucleoli.owners) - 1
    assert not anatomy.plan.mitotic[with_nucleoli].any()
    assert len(with_nucleoli) == (~anatomy.plan.mitotic).sum()


def test_dividing_cells_are_round_and_small(anatomy: Anatomy) -> None:
    radii = anatomy.layout.cells.radii_um
    roundness = radii.max(axis=1) / radii.min(axis=1)
    mitotic = anatomy.plan.mitotic
    assert roundness[mitotic].max() < 1.4 < np.median(roundness[~mitotic])
    assert anatomy.layout.radii_um[mitotic].max() < np.median(anatomy.layout.radii_um[~mitotic])


@pytest.mark.parametrize("line", CELL_LINES)
def test_every_line_has_cells_of_its_size(make_anatomy, line: str) -> None:  # type: ignore[no-untyped-def]
    anatomy = make_anatomy(*[CellState.INTERPHASE] * 4, line=line, pixel_size_um=0.5, seed=3)
    areas_um2 = np.bincount(anatomy.cells.ravel(), minlength=5)[1:] * 0.25
    expected = np.pi * CELL_LINES[line].radius_um ** 2
    assert 0.2 * expected < areas_um2.max() < 3 * expected


def test_a_coarser_grid_shows_the_same_cells(make_anatomy) -> None:  # type: ignore[no-untyped-def]
    fine, coarse = (make_anatomy(*[CellState.INTERPHASE] * 6, pixel_size_um=size) for size in (0.25, 0.5))
    np.testing.assert_array_equal(fine.layout.centers_um, coarse.layout.centers_um)
    sizes = [np.bincount(each.nuclei.ravel(), minlength=7)[1:] for each in (fine, coarse)]
    np.testing.assert_allclose(sizes[0] / 4, sizes[1], rtol=0.1, atol=20)


def test_cells_that_touch_are_parted_by_a_seam(make_anatomy) -> None:  # type: ignore[no-untyped-def]
    anatomy = make_anatomy(*[CellState.INTERPHASE] * 25, line="HaCaT")
    far_from_glass = distance_transform_edt(anatomy.cells > 0) * anatomy.canvas.pixel_size_um > 4
    seam = anatomy.slope[far_from_glass & (anatomy.to_border_um < 0.4)]
    middle = anatomy.slope[far_from_glass & (anatomy.to_border_um > 3)]
    assert np.median(seam) < 0.6 < 0.9 < np.median(middle)
    # Some borders are faint, and some cells overlap.
    assert np.quantile(seam, 0.1) < 0.25
    assert seam.max() > 1
