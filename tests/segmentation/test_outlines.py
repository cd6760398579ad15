from __future__ import annotations

import numpy as np

from hpa_cells.segmentation.outlines import cytoplasm_signal, grow_cells

GROWING = {
    "fraction": 0.3,
    "distance_weight": 0.001,
    "ring_px": 5.0,
    "closing_px": 1.0,
    "max_hole_area_px": 30.0,
}


def two_cells() -> tuple[np.ndarray, np.ndarray]:
    """Nuclei and signal of a bright cell and one of a tenth of its brightness, with a dark valley between."""
    signal = np.zeros((40, 80), dtype=np.float32)
    signal[5:35, 5:38] = 1.0
    signal[5:35, 40:75] = 0.1
    nuclei = np.zeros((40, 80), dtype=np.int32)
    nuclei[15:25, 15:25], nuclei[15:25, 55:65] = 1, 2
    return nuclei, signal


def test_a_dim_cell_is_measured_by_its_own_brightness() -> None:
    nuclei, signal = two_cells()
    cells = grow_cells(nuclei, signal, **GROWING)
    np.testing.assert_array_equal(np.unique(cells[5:35, 5:38]), [1])
    np.testing.assert_array_equal(np.unique(cells[5:35, 40:75]), [2])
    assert not cells[:4].any()


def test_without_a_valley_cells_meet_midway() -> None:
    nuclei = np.zeros((30, 60), dtype=np.int32)
    nuclei[10:20, 8:14], nuclei[10:20, 46:52] = 1, 2
    signal = np.ones((30, 60), dtype=np.float32)
    signal[:, :4] = 0
    cells = grow_cells(nuclei, signal, **GROWING)
    assert (cells[15, 4:29] == 1).all()
    assert (cells[15, 31:] == 2).all()


def test_a_piece_without_nucleus_is_no_cell() -> None:
    nuclei, signal = two_cells()
    nuclei[nuclei == 2] = 0
    signal[:, 38:44] = 0
    cells = grow_cells(nuclei, signal, **GROWING)
    assert not cells[:, 44:].any()


def test_a_vacuole_belongs_to_its_cell() -> None:
    nuclei, signal = two_cells()
    signal[28:33, 12:17] = 0
    assert (grow_cells(nuclei, signal, **GROWING)[5:35, 5:38] == 1).all()


def test_without_signal_a_cell_is_its_nucleus() -> None:
    nuclei, signal = two_cells()
    np.testing.assert_array_equal(grow_cells(nuclei, np.zeros_like(signal), **GROWING), nuclei)


def test_nuclei_without_room_for_a_ring() -> None:
    nuclei = np.repeat(np.array([[1, 2, 3]], dtype=np.int32), 10, axis=1).repeat(20, axis=0)
    signal = np.random.default_rng(0).random(nuclei.shape).astype(np.float32)
    np.testing.assert_array_equal(grow_cells(nuclei, signal, **GROWING), nuclei)
    # A ring around one of them only.
    nuclei[:8, :10] = 0
    cells = grow_cells(nuclei, signal, **GROWING)
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])


def test_a_missing_marker_has_no_part_in_the_signal() -> None:
    marker = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    alone = cytoplasm_signal([marker], blur_px=1.0)
    np.testing.assert_allclose(cytoplasm_signal([marker, 0 * marker], blur_px=1.0), alone, rtol=1e-6)
    assert not cytoplasm_signal([0 * marker, 0 * marker], blur_px=1.0).any()


def test_the_signal_does_not_depend_on_units() -> None:
    marker = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    np.testing.assert_allclose(
        cytoplasm_signal([300 * marker + 20], blur_px=1.0), cytoplasm_signal([marker], blur_px=1.0), atol=1e-4
    )
