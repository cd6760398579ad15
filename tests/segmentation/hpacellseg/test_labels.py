from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation.hpacellseg.labels import label_cell, label_nuclei, label_predictions
from hpa_cells.types import Segmentation

MADE_UP = run_path(str(Path(__file__).with_name("made_up_predictions.py")))
made_up_predictions, enlarged = MADE_UP["made_up_predictions"], MADE_UP["enlarged"]

both_modes = pytest.mark.parametrize("exact", [False, True])
Labels = NDArray[np.int32]


def num_ids(labels: Labels) -> int:
    return len(np.unique(labels[labels > 0]))


def f1(labels: Labels, others: Labels, iou_threshold: float = 0.9) -> float:
    return float(score_instances([(labels, others)], iou_thresholds=[iou_threshold])["f1"].item())


def tiled_squares(rows: int, columns: int, side_px: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Square cells that touch, with sure borders of 2 px between them, each with a square nucleus."""
    tile = np.zeros((side_px, side_px, 3), dtype=np.uint8)
    nucleus, cell = tile.copy(), tile.copy()
    quarter = side_px // 4
    nucleus[quarter:-quarter, quarter:-quarter, 2] = 255
    cell[..., 1] = 255
    cell[1:-1, 1:-1] = [0, 0, 255]
    return np.tile(nucleus, (rows, columns, 1)), np.tile(cell, (rows, columns, 1))


@pytest.mark.parametrize("spacing_px", [24.0, 37.0, 60.0])
def test_default_labels_are_nearly_the_exact_ones(spacing_px: float) -> None:
    nuclei_pred, cell_pred = (
        enlarged(each, 4) for each in made_up_predictions(160, 200, spacing_px=spacing_px)
    )
    nuclei, cells = label_cell(nuclei_pred, cell_pred)
    exact_nuclei, exact_cells = label_cell(nuclei_pred, cell_pred, exact=True)
    assert num_ids(exact_cells) > 6
    assert f1(cells, exact_cells) >= 0.98
    assert f1(nuclei, exact_nuclei) >= 0.98
    assert f1(label_nuclei(nuclei_pred), label_nuclei(nuclei_pred, exact=True)) >= 0.98


@both_modes
@pytest.mark.parametrize("shape", [(200, 330), (330, 200), (1, 40), (32, 32)])
def test_labels_are_of_the_shape_of_the_predictions(shape: tuple[int, int], exact: bool) -> None:
    predictions = made_up_predictions(*shape, spacing_px=100.0)
    for labels in (*label_cell(*predictions, exact=exact), label_nuclei(predictions[0], exact=exact)):
        assert labels.shape == shape
        assert labels.dtype == np.int32


@both_modes
def test_labels_of_a_turned_field_are_turned(exact: bool) -> None:
    predictions = made_up_predictions(240, 400, spacing_px=110.0)
    _, cells = label_cell(*predictions, exact=exact)
    _, turned = label_cell(*(np.rot90(each) for each in predictions), exact=exact)
    assert num_ids(cells) > 3
    assert f1(np.rot90(turned, -1), cells, 0.8) == 1


@both_modes
def test_nuclei_have_the_ids_of_their_cells(exact: bool) -> None:
    nuclei, cells = label_cell(*made_up_predictions(300, 420, spacing_px=110.0), exact=exact)
    assert num_ids(nuclei) > 3
    assert set(np.unique(cells)) == set(range(1 + num_ids(cells)))
    np.testing.assert_array_equal(nuclei[nuclei > 0], cells[nuclei > 0])
    Segmentation(field_id="field", cells=cells, nuclei=nuclei, pixel_size_um=0.08)


@both_modes
def test_no_cell_is_lost_above_8_bits(exact: bool) -> None:
    # Each touches the cell that is 256 further, of the same id in 8 bits.
    nuclei, cells = label_cell(*tiled_squares(3, 256, 28), exact=exact, pixel_size_um=0.32)
    assert num_ids(cells) == 3 * 256
    assert num_ids(nuclei) == 3 * 256
    areas_px = np.bincount(cells.ravel())[1:]
    assert areas_px.min() >= 24 * 24
    assert areas_px.max() <= 30 * 30


def touching_nuclei(border: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two cells side by side whose nuclei touch; `border` is how sure either network is of that, in 255ths."""
    nuclei_pred, cell_pred = (np.zeros((160, 320, 3), dtype=np.uint8) for _ in range(2))
    nuclei_pred[40:120, 80:240, 2] = 250
    cell_pred[20:140, 40:280, 2] = 250
    nuclei_pred[40:120, 156:164, 1:] = [border, 110]
    cell_pred[20:140, 156:164, 1:] = [border, 100]
    return nuclei_pred, cell_pred


@both_modes
@pytest.mark.parametrize("border", [122, 127, 128, 140, 145])
def test_a_border_of_which_both_networks_are_sure_parts_nuclei(border: int, exact: bool) -> None:
    nuclei, cells = label_cell(*touching_nuclei(border), exact=exact)
    assert num_ids(cells) == num_ids(nuclei) == 2


@both_modes
def test_a_faint_border_does_not_part_nuclei(exact: bool) -> None:
    assert num_ids(label_cell(*touching_nuclei(100), exact=exact)[1]) == 1


@both_modes
def test_probabilities_are_what_their_255ths_are(exact: bool) -> None:
    predictions = made_up_predictions(200, 300, spacing_px=100.0)
    expected = label_cell(*predictions, exact=exact)
    for dtype in (np.float32, np.float64):
        found = label_cell(*((each / 255).astype(dtype) for each in predictions), exact=exact)
        np.testing.assert_array_equal(found, expected)


@both_modes
def test_any_trace_of_a_nucleus_counts_in_8_bits_only(exact: bool) -> None:
    nuclei_pred = np.zeros((100, 200, 3), dtype=np.uint8)
    nuclei_pred[20:80, 20:80, 2] = 1
    nuclei_pred[20:80, 120:180, 2] = 200
    assert num_ids(label_nuclei(nuclei_pred, exact=exact)) == 2
    assert num_ids(label_nuclei(nuclei_pred / 255, exact=exact)) == 1


@both_modes
def test_sizes_are_scaled_with_the_pixels(exact: bool) -> None:
    predictions = made_up_predictions(192, 240, spacing_px=40.0)
    num_cells = num_ids(label_cell(*(enlarged(each, 4) for each in predictions), exact=exact)[1])
    assert num_cells > 20
    assert num_ids(label_cell(*predictions, exact=exact, pixel_size_um=0.32)[1]) == num_cells
    assert num_ids(label_cell(*predictions, exact=exact)[1]) < num_cells


@pytest.mark.parametrize("shape", [(128, 128), (97, 160)])
def test_default_labels_are_those_at_the_resolution_of_the_networks_enlarged(shape: tuple[int, int]) -> None:
    predictions = made_up_predictions(*shape, spacing_px=35.0)
    expected = label_predictions(*predictions, um_per_px=0.32)
    found = label_cell(*(enlarged(each, 4) for each in predictions))
    np.testing.assert_array_equal(found, [enlarged(each, 4) for each in expected])


@both_modes
def test_a_cell_within_another_is_part_of_it(exact: bool) -> None:
    nuclei_pred, cell_pred = (np.zeros((500, 500, 3), dtype=np.uint8) for _ in range(2))
    cell_pred[40:460, 40:460, 2] = 255
    cell_pred[180:320, 180:320, 1:] = [255, 0]
    cell_pred[188:312, 188:312, 1:] = [0, 255]
    nuclei_pred[80:140, 80:400, 2] = nuclei_pred[220:280, 220:280, 2] = 255
    nuclei, cells = label_cell(nuclei_pred, cell_pred, exact=exact)
    assert num_ids(cells) == 1
    assert cells[250, 250] == nuclei[250, 250] == 1


@both_modes
@pytest.mark.parametrize("value", [0, 20, 255])
def test_a_field_of_one_value_has_at_most_one_cell(value: int, exact: bool) -> None:
    prediction = np.full((120, 160, 3), value, dtype=np.uint8)
    nuclei, cells = label_cell(prediction, prediction, exact=exact)
    assert not cells.any()
    assert not nuclei.any()
    assert label_nuclei(prediction, exact=exact).max() <= 1


@both_modes
def test_a_nucleus_may_fill_the_field(exact: bool) -> None:
    interior = np.zeros((200, 300, 3), dtype=np.uint8)
    interior[..., 2] = 255
    for labels in (*label_cell(interior, interior, exact=exact), label_nuclei(interior, exact=exact)):
        assert (labels == 1).all()


@both_modes
def test_a_cell_needs_a_nucleus(exact: bool) -> None:
    nuclei_pred, cell_pred = made_up_predictions(200, 300, spacing_px=100.0)
    nuclei, cells = label_cell(np.zeros_like(nuclei_pred), cell_pred, exact=exact)
    assert not cells.any()
    assert not nuclei.any()


@both_modes
def test_predictions_are_left_as_they_are(exact: bool) -> None:
    predictions = made_up_predictions(120, 180, spacing_px=100.0)
    before = [each.copy() for each in predictions]
    for each in predictions:
        each.flags.writeable = False
    label_cell(*predictions, exact=exact)
    label_nuclei(predictions[0], exact=exact)
    np.testing.assert_array_equal(predictions, before)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5, 200.0])
def test_floats_that_are_no_probabilities_are_refused(wrong: float) -> None:
    good = np.full((40, 50, 3), 0.5)
    bad = good.copy()
    bad[3, 4, 2] = wrong
    with pytest.raises(ValueError, match=r"nuclei_pred has 1 values that are no probabilities, such as"):
        label_nuclei(bad)
    with pytest.raises(ValueError, match=r"cell_pred has 1 values that are no probabilities, such as"):
        label_cell(good, bad)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 2), (40, 50, 4), (0, 50, 3), (1, 40, 50, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    prediction = np.zeros(shape, dtype=np.uint8)
    for call in (label_nuclei, lambda each: label_cell(each, each)):
        with pytest.raises(ValueError, match=r"nuclei_pred has the shape .* expected \(H, W, 3\)"):
            call(prediction)


def test_predictions_of_two_fields_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cell_pred \(50, 40, 3\): give those of one field"):
        label_cell(np.zeros((40, 50, 3), dtype=np.uint8), np.zeros((50, 40, 3), dtype=np.uint8))


def test_predictions_may_be_lists_and_tensors() -> None:
    predictions = made_up_predictions(100, 160, spacing_px=80.0)
    expected, expected_nuclei = label_cell(*predictions), label_nuclei(predictions[0])
    assert num_ids(expected[1]) > 0
    assert num_ids(expected_nuclei) > 0
    tensors = [torch.from_numpy(each) for each in predictions]
    np.testing.assert_array_equal(label_cell(*tensors), expected)
    np.testing.assert_array_equal(label_nuclei(tensors[0]), expected_nuclei)
    np.testing.assert_array_equal(label_cell(*((each / 255).tolist() for each in predictions)), expected)
    np.testing.assert_array_equal(
        label_nuclei((predictions[0] / 255).tolist()), label_nuclei(predictions[0] / 255)
    )
    with pytest.raises(TypeError, match="nuclei_pred is int64: give uint8"):
        label_nuclei(predictions[0].tolist())


@pytest.mark.parametrize(
    ("prediction", "found"),
    [([[[0, 0, 0]], [[0, 0]]], "list"), (torch.zeros(40, 50, 3, requires_grad=True), "Tensor")],
)
def test_what_makes_no_array_is_refused(prediction: Any, found: str) -> None:
    with pytest.raises(TypeError, match=f"nuclei_pred is a {found} that numpy makes no array of"):
        label_nuclei(prediction)
    with pytest.raises(TypeError, match=f"cell_pred is a {found} that numpy makes no array of"):
        label_cell(np.zeros((40, 50, 3)), prediction)


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.bool_])
def test_other_types_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="give uint8, or floats from 0 to 1"):
        label_nuclei(np.zeros((40, 50, 3), dtype=dtype))


@both_modes
@pytest.mark.parametrize("pixel_size_um", [0.0, -1.0, np.nan, 1e-6, 100.0])
def test_pixels_without_a_sound_size_are_refused(pixel_size_um: float, exact: bool) -> None:
    prediction = np.zeros((40, 50, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="pixel size"):
        label_cell(prediction, prediction, exact=exact, pixel_size_um=pixel_size_um)
    with pytest.raises(ValueError, match="pixel size"):
        label_nuclei(prediction, exact=exact, pixel_size_um=pixel_size_um)
