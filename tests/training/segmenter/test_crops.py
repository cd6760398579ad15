from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpa_cells.segmentation.network_input import to_range
from hpa_cells.training.segmenter.crops import CropAugmentation, TrainingCrop, draw_crop
from hpa_cells.training.segmenter.training_field import TrainingField
from hpa_cells.types import label_ids

UM_PER_PX = 0.32
PLAIN = CropAugmentation(
    side_px=128,
    zoom=1.0,
    gain_share=0,
    range_jitter=0,
    gamma=1.0,
    blur_share=0,
    noise_share=0,
    no_er_share=0,
    no_microtubules_share=0,
)


def draw(field: TrainingField, settings: CropAugmentation, seed: int = 0) -> TrainingCrop:
    return draw_crop(field, settings, np.random.default_rng(seed), um_per_px=UM_PER_PX)


def without(field: TrainingField, *dead: int) -> TrainingField:
    """The field with channels that are all 0."""
    planes, ends = field.planes.copy(), field.ends.copy()
    planes[..., dead], ends[list(dead)] = 0, 0
    return replace(field, planes=planes, ends=ends)


def test_pixels_and_labels_move_together(fields: list[TrainingField]) -> None:
    """The field's own ids, painted into its pixels, are found under the crop's labels."""
    field = fields[0]
    painted = replace(
        field,
        planes=np.dstack([field.cells % 7, field.cells % 5, field.in_nucleus]).astype(np.float16),
        ends=np.array([[0, 1]] * 3, dtype=np.float32),
    )
    for seed in range(10):
        crop = draw(painted, PLAIN, seed)
        assert crop.planes.shape == (3, 128, 128)
        seen_nucleus = crop.planes[2] > 0.9
        known = crop.nuclei > 0
        # Nuclei that are hardly in view are no longer labelled, all others are where they are seen.
        assert (seen_nucleus & known).sum() >= 0.97 * known.sum()
        for cell in label_ids(crop.cells):
            inside = crop.planes[0][crop.cells == cell] ** 2
            assert np.median(inside) == pytest.approx(min(cell % 7, 1.5), abs=0.01)


def test_a_cell_whose_nucleus_is_out_of_view_is_background(fields: list[TrainingField]) -> None:
    for seed in range(20):
        crop = draw(fields[0], PLAIN, seed)
        ids, counts = np.unique(crop.nuclei[crop.nuclei > 0], return_counts=True)
        np.testing.assert_array_equal(ids, label_ids(crop.cells))
        assert (counts * UM_PER_PX**2 >= 9.9).all()


def test_the_same_seed_gives_the_same_crop(fields: list[TrainingField]) -> None:
    first, second, other = (draw(fields[0], CropAugmentation(side_px=96), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.planes, second.planes)
    np.testing.assert_array_equal(first.cells, second.cells)
    assert not np.array_equal(first.planes, other.planes)


def test_a_field_smaller_than_a_crop(fields: list[TrainingField]) -> None:
    field = fields[0]
    small = replace(
        field,
        planes=field.planes[:40, :60],
        cells=field.cells[:40, :60],
        in_nucleus=field.in_nucleus[:40, :60],
    )
    for seed in range(10):
        crop = draw(small, PLAIN, seed)
        assert crop.planes.shape == (3, 128, 128)
        assert np.isin(label_ids(crop.cells), label_ids(small.cells)).all()


def test_without_changes_a_crop_is_what_the_network_sees(fields: list[TrainingField]) -> None:
    field = fields[0]
    seen = to_range(field.planes.astype(np.float32).transpose(2, 0, 1), field.ends)
    crop = draw(field, replace(PLAIN, side_px=300))
    for plane, whole in zip(crop.planes, seen, strict=True):
        assert plane.min() >= whole.min() - 1e-3
        assert plane.max() <= whole.max() + 1e-3
        # Turning by a free angle smooths a little.
        assert plane.std() == pytest.approx(whole.std(), rel=0.25)


@pytest.mark.parametrize(("setting", "channel"), [("no_microtubules_share", 0), ("no_er_share", 1)])
def test_missing_channels(fields: list[TrainingField], setting: str, channel: int) -> None:
    crop = draw(fields[0], replace(PLAIN, **{setting: 1.0}))
    present = [plane.any() for plane in crop.planes]
    assert present == [index != channel for index in range(3)]


@pytest.mark.parametrize("dead", [0, 1])
def test_the_last_channel_is_not_left_out(fields: list[TrainingField], dead: int) -> None:
    field = without(fields[0], dead)
    for seed in range(20):
        crop = draw(field, replace(PLAIN, no_er_share=0.5, no_microtubules_share=0.5), seed)
        assert [plane.any() for plane in crop.planes] == [index != dead for index in range(3)]
        assert crop.knows_cells


def test_noise_of_a_dead_channel_is_no_channel(fields: list[TrainingField]) -> None:
    noisy = replace(PLAIN, noise_share=1.0)
    field = without(fields[0], 0)
    kept, wanted = (draw(field, each).planes for each in (replace(noisy, no_er_share=1.0), noisy))
    assert wanted[0].any()
    np.testing.assert_array_equal(kept, wanted)
    assert not draw(without(fields[0], 0, 1), noisy).knows_cells


def test_cells_that_nothing_shows_are_not_known(fields: list[TrainingField]) -> None:
    assert draw(fields[0], PLAIN).knows_cells
    assert not draw(without(fields[0], 0, 1), PLAIN).knows_cells
    # A range above zero says that a channel is there; here all of its light lies elsewhere in the field.
    dark = replace(fields[0], planes=without(fields[0], 0, 1).planes)
    assert dark.knows_cells
    assert not draw(dark, PLAIN).knows_cells
    assert not draw(fields[2], PLAIN).knows_cells


def test_over_exposure_cuts_off(fields: list[TrainingField]) -> None:
    exposed = replace(PLAIN, gain_share=1.0, most_gain=40.0)
    shares = []
    for settings in (PLAIN, exposed):
        crops = [draw(fields[0], settings, seed).planes for seed in range(8)]
        shares.append(np.mean([(plane >= plane.max() - 1e-6).mean() for crop in crops for plane in crop]))
    assert shares[1] > 2 * shares[0]
