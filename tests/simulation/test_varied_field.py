from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.simulation import RealLayout, SimulatedField, Variety, vary
from hpa_cells.simulation.priors import NEGATIVE
from hpa_cells.types import Channel

SMALL = {"side_px": 160, "um_per_px": 0.5, "empty_share": 0.0, "debris_only_share": 0.0}


@pytest.fixture(scope="module")
def stream() -> list[SimulatedField]:
    return [vary(Variety(side_px=160, um_per_px=0.5), index) for index in range(40)]


def test_a_field_is_the_same_every_time_and_another_one_is_not() -> None:
    variety = Variety(seed=3, **SMALL)
    one, again, other = (vary(variety, index) for index in (7, 7, 8))
    np.testing.assert_array_equal(one.field.image, again.field.image)
    np.testing.assert_array_equal(one.segmentation.cells, again.segmentation.cells)
    assert (one.segmentation.cells != other.segmentation.cells).any()
    reseeded = vary(Variety(seed=4, **SMALL), 7)
    assert (one.segmentation.cells != reseeded.segmentation.cells).any()


def test_every_field_has_one_size_and_a_consistent_truth(stream: list[SimulatedField]) -> None:
    for index, varied in enumerate(stream):
        field, segmentation = varied.field, varied.segmentation
        assert field.image.shape == (4, 160, 160)
        assert field.pixel_size_um == segmentation.pixel_size_um == 0.5
        assert field.field_id == segmentation.field_id == f"sim-{index:06d}"
        assert Channel.PROTEIN in field.missing
        assert not any(field.image[channel].any() for channel in field.missing)
        nuclei = segmentation.nuclei
        np.testing.assert_array_equal(nuclei[nuclei > 0], segmentation.cells[nuclei > 0])
        assert len(varied.cell_labels) == len(segmentation.cell_ids)
        assert varied.cell_labels[:, NEGATIVE].all()


def test_fields_differ_in_all_ways(stream: list[SimulatedField]) -> None:
    num_cells = [len(varied.segmentation.cell_ids) for varied in stream]
    assert min(num_cells) < 5
    assert max(num_cells) > 20
    assert {varied.field.image.dtype for varied in stream} == {np.dtype("uint8"), np.dtype("uint16")}
    assert len({varied.cell_line for varied in stream}) > 4
    brightness = [varied.field.image.mean() / varied.field.max_value for varied in stream]
    assert max(brightness) > 10 * min(brightness)


@pytest.mark.parametrize("kind", ["empty_share", "debris_only_share"])
def test_fields_without_cells(kind: str) -> None:
    variety = Variety(
        side_px=160, um_per_px=0.5, **({"empty_share": 0.0, "debris_only_share": 0.0} | {kind: 1.0})
    )
    for index in range(4):
        varied = vary(variety, index)
        assert not varied.segmentation.cells.any()
        assert varied.cell_labels.shape == (0, 19)


def test_missing_channels_are_black_and_dead_ones_show_noise_only() -> None:
    shares = {"missing_share": 0.0, "dead_share": 0.0, "gain_share": 0.0}
    kinds = SMALL | shares | {"nuclei_only_share": 1.0, "fewest_photons": 20.0, "most_photons": 20.0}
    missing = dead = 0
    for index in range(8):
        varied = vary(Variety(**kinds), index)
        image = varied.field.image.astype(float)
        missing += Channel.ER in varied.field.missing
        dead += Channel.ER not in varied.field.missing
        for channel in (Channel.MICROTUBULES, Channel.ER):
            cells = varied.segmentation.cells > 0
            if channel in varied.field.missing:
                assert not image[channel].any()
            else:
                spread = image[channel].std()
                assert abs(image[channel][cells].mean() - image[channel][~cells].mean()) < spread
        assert image[Channel.NUCLEUS].any()
    assert missing
    assert dead


def test_gains_multiply_and_clip() -> None:
    plain = SMALL | {"gain_share": 1.0, "sixteen_bit_share": 0.0, "highest_background": 0.0}
    dark, bright = (
        vary(Variety(**plain, lowest_gain=gain, highest_gain=gain), 2).field.image[Channel.NUCLEUS]
        for gain in (0.2, 5.0)
    )
    assert dark.max() <= 0.45 * 255
    assert (bright == 255).mean() > 0.01
    assert dark.mean() < 0.3 * bright.mean()


def test_given_outlines_are_used_as_often_as_asked_for() -> None:
    cells = np.zeros((80, 80), dtype=np.int32)
    cells[10:70, 10:70] = 5
    layout = RealLayout(cells=cells, nuclei=None, pixel_size_um=1.0)
    always, never = (Variety(**SMALL, layout_share=share) for share in (1.0, 0.0))
    for index in range(3):
        segmentation = vary(always, index, [layout]).segmentation
        # One square cell of 60 um, and mirror images of it.
        largest = np.bincount(segmentation.cells.ravel())[1:].max() * 0.25
        assert largest > 1200
        with_layout, without = (vary(never, index, given).segmentation for given in ([layout], None))
        np.testing.assert_array_equal(with_layout.cells, without.cells)
        np.testing.assert_array_equal(
            vary(always, index, []).segmentation.cells, vary(never, index).segmentation.cells
        )
