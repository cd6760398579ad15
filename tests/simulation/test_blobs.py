from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.simulation.blobs import Blobs, outline, radius_at, rasterise
from hpa_cells.simulation.canvas import Canvas


def slow_rasterise(canvas: Canvas, blobs: Blobs, margin_um: float) -> np.ndarray:
    """Every pixel against every blob."""
    labels = np.zeros(canvas.shape, dtype=np.int32)
    for row in range(canvas.height_px):
        for column in range(canvas.width_px):
            closest = np.inf
            for center, radii, owner in blobs:
                down, across = np.array([row, column]) * canvas.pixel_size_um - center
                distance = np.hypot(down, across)
                radius = radius_at(radii, np.arctan2(down, across) % (2 * np.pi)) + margin_um
                closeness = distance / (radii.mean() + margin_um)
                if distance < radius and closeness < closest:
                    closest, labels[row, column] = closeness, owner
    return labels


@given(seed=st.integers(0, 999), num_blobs=st.integers(0, 5), margin_um=st.sampled_from([0.0, 0.7]))
def test_a_pixel_belongs_to_the_closest_blob_that_covers_it(
    seed: int, num_blobs: int, margin_um: float
) -> None:
    rng = np.random.default_rng(seed)
    canvas = Canvas(height_px=14, width_px=19, pixel_size_um=0.5)
    blobs = Blobs.of(
        (rng.uniform(-3, 12, 2), outline(rng, radius_um=3, elongation=2, axis=1, roughness=0.3), 300 * owner)
        for owner in range(1, num_blobs + 1)
    )
    labels, level = rasterise(canvas, blobs, margin_um=margin_um)
    differing = labels != slow_rasterise(canvas, blobs, margin_um)
    # Single against double precision at an edge.
    assert differing.mean() < 0.02
    assert ((level < 1) == (labels > 0)).all()


def test_an_outline_without_roughness_is_an_ellipse_of_the_area_asked_for() -> None:
    radii = outline(np.random.default_rng(0), radius_um=5, elongation=2.0, axis=np.pi / 2)
    assert radii.max() == pytest.approx(5 * np.sqrt(2), rel=1e-3)
    assert radii.min() == pytest.approx(5 / np.sqrt(2), rel=1e-3)
    assert radius_at(radii, np.pi / 2) == radii.max()
    assert 0.5 * (radii**2).mean() * 2 * np.pi == pytest.approx(np.pi * 25, rel=1e-3)


def test_spikes_make_an_outline_longer() -> None:
    lengths = [
        outline(np.random.default_rng(1), radius_um=5, roughness=0.3, num_spikes=spikes).max()
        for spikes in (0, 8)
    ]
    assert lengths[1] > 1.2 * lengths[0]


def test_warping_moves_outlines_and_keeps_the_owner() -> None:
    canvas = Canvas(height_px=80, width_px=60, pixel_size_um=0.25)
    blobs = Blobs.of([((10.0, 7.0), outline(np.random.default_rng(0), radius_um=4), 9)])
    shift = np.full(canvas.shape, 2.0, dtype=np.float32)
    still, _ = rasterise(canvas, blobs)
    moved, _ = rasterise(canvas, blobs, warp_um=(shift, 0 * shift))
    np.testing.assert_array_equal(moved[:-8], still[8:])
    assert set(np.unique(moved)) == {0, 9}
