from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from hpa_cells.simulation import CELL_LINES, Recipe, SimulatedField, simulate_field
from hpa_cells.simulation.field import render_field
from hpa_cells.simulation.labels import FieldPlan
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE
from hpa_cells.types import Channel

SMALL = {"height_px": 200, "width_px": 260, "pixel_size_um": 0.32}


def with_label(key: str, *, num_cells: int = 14, seed: int = 0) -> SimulatedField:
    """A field in which every cell shows one class."""
    labels = np.zeros((num_cells, len(CLASS_SET)), dtype=bool)
    labels[:, CLASS_SET.index(key)] = True
    plan = FieldPlan(
        cell_line=CELL_LINES["U-2 OS"],
        field_labels=labels[0],
        cell_labels=labels,
        states=np.zeros(num_cells, dtype=np.int8),
    )
    recipe = Recipe(debris_per_field=0.0, **SMALL)
    return render_field(recipe, plan, np.random.default_rng(seed), field_id="x")


def test_a_field_is_the_same_every_time_and_another_one_is_not() -> None:
    recipe = Recipe(seed=5, **SMALL)
    one, again, other = (simulate_field(recipe, index) for index in (3, 3, 4))
    np.testing.assert_array_equal(one.field.image, again.field.image)
    np.testing.assert_array_equal(one.segmentation.cells, again.segmentation.cells)
    np.testing.assert_array_equal(one.cell_labels, again.cell_labels)
    assert (one.field.image != other.field.image).any()
    assert one.field.field_id == "sim-000003"


@settings(max_examples=12)
@given(
    height_px=st.integers(32, 150),
    width_px=st.integers(32, 150),
    pixel_size_um=st.floats(0.2, 1.5),
    bit_depth=st.sampled_from([8, 16]),
    has_er=st.booleans(),
    index=st.integers(0, 1000),
)
def test_any_size_has_a_consistent_truth(
    height_px: int, width_px: int, pixel_size_um: float, bit_depth: int, has_er: bool, index: int
) -> None:
    recipe = Recipe(
        height_px=height_px,
        width_px=width_px,
        pixel_size_um=pixel_size_um,
        bit_depth=bit_depth,
        has_er=has_er,
    )
    simulated = simulate_field(recipe, index)
    assert simulated.field.image.shape == (4, height_px, width_px)
    assert simulated.field.image.dtype == np.dtype(f"uint{bit_depth}")
    assert simulated.field.pixel_size_um == simulated.segmentation.pixel_size_um == pixel_size_um
    assert simulated.field.missing == (frozenset() if has_er else {Channel.ER})
    assert simulated.field.image[Channel.ER].any() or not has_er
    ids = simulated.segmentation.cell_ids
    assert simulated.cell_labels.shape == (len(ids), len(CLASS_SET))
    assert (np.unique(simulated.segmentation.nuclei)[1:] == ids).all()
    assert simulated.cell_labels.any(axis=1).all()
    assert simulated.field_labels.any()


def test_more_than_255_cells_have_a_nucleus_each() -> None:
    recipe = Recipe(height_px=330, width_px=380, pixel_size_um=1.2, cell_lines=["HEK 293"], crowding=1.8)
    segmentation = simulate_field(recipe, 0).segmentation
    assert len(segmentation.cell_ids) > 255
    assert segmentation.cells.max() > 255


def test_cells_are_as_large_at_any_pixel_size() -> None:
    medians = []
    for pixel_size_um, side in ((0.25, 320), (0.5, 160)):
        areas: list[float] = []
        for index in range(6):
            recipe = Recipe(height_px=side, width_px=side, pixel_size_um=pixel_size_um)
            cells = simulate_field(recipe, index).segmentation.cells
            counts = np.bincount(cells.ravel())[1:]
            areas.extend(counts[counts > 0] * pixel_size_um**2)
        medians.append(np.median(areas))
    assert medians[0] == pytest.approx(medians[1], rel=0.1)
    assert 300 < medians[0] < 1500


def test_structures_are_brighter_than_what_a_negative_field_shows() -> None:
    def brightest(key: str) -> float:
        # Noise and unspecific dots are smaller than any structure.
        seen = cv2.GaussianBlur(with_label(key).field.image[Channel.PROTEIN].astype(np.float32), (0, 0), 1.2)
        return float(np.quantile(seen, 0.9995))

    dark = brightest("negative")
    for key in CLASS_SET.keys:
        if key != "negative":
            assert brightest(key) > 1.5 * dark, key


def test_the_er_of_the_protein_is_that_of_its_reference() -> None:
    cells = (simulated := with_label("endoplasmic_reticulum")).segmentation.cells > 0
    image = simulated.field.image[:, cells].astype(float)
    near = np.corrcoef(image[Channel.PROTEIN], image[Channel.ER])[0, 1]
    other = with_label("nucleoplasm")
    image = other.field.image[:, other.segmentation.cells > 0].astype(float)
    assert near > 0.3 > np.corrcoef(image[Channel.PROTEIN], image[Channel.ER])[0, 1]


def test_the_nucleus_is_in_the_nucleus_channel_and_not_in_the_others() -> None:
    simulated = with_label("negative")
    nuclei, cells = simulated.segmentation.nuclei > 0, simulated.segmentation.cells > 0
    image = simulated.field.image.astype(float)
    assert image[Channel.NUCLEUS, nuclei].mean() > 8 * image[Channel.NUCLEUS, ~nuclei].mean()
    near = cells & ~nuclei & (distance_transform_edt(~nuclei) * SMALL["pixel_size_um"] < 3)
    for channel in (Channel.MICROTUBULES, Channel.ER):
        assert image[channel, nuclei].mean() < image[channel, near].mean()


def test_negative_cells_of_a_field_show_only_the_background() -> None:
    labels = np.zeros((12, len(CLASS_SET)), dtype=bool)
    labels[:, NEGATIVE] = np.arange(12) % 2
    labels[:, CLASS_SET.index("cytosol")] = ~labels[:, NEGATIVE]
    plan = FieldPlan(
        cell_line=CELL_LINES["U-2 OS"],
        field_labels=labels[0],
        cell_labels=labels,
        states=np.zeros(12, dtype=np.int8),
    )
    simulated = render_field(Recipe(**SMALL), plan, np.random.default_rng(1), field_id="x")
    green = simulated.field.image[Channel.PROTEIN].astype(float)
    means = np.array(
        [green[simulated.segmentation.cells == cell].mean() for cell in simulated.segmentation.cell_ids]
    )
    negative = simulated.cell_labels[:, NEGATIVE]
    assert means[negative].mean() < 0.4 * means[~negative].mean()
