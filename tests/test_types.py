import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa_cells.classes import get_class_set
from hpa_cells.label_images import CoarseLabels
from hpa_cells.types import (
    CellCrops,
    CellScores,
    Channel,
    Field,
    Segmentation,
    label_ids,
)

HPA2021 = get_class_set("hpa2021")


def make_field(**changes: Any) -> Field:
    return Field(
        **{"field_id": "a", "image": np.zeros((4, 6, 9), dtype=np.uint8), "pixel_size_um": 0.08} | changes
    )


def make_segmentation(cells: Any, nuclei: Any, **changes: Any) -> Segmentation:
    arrays = {"cells": np.array(cells, dtype=np.int32), "nuclei": np.array(nuclei, dtype=np.int32)}
    return Segmentation(**({"field_id": "a", "pixel_size_um": 0.08} | arrays | changes))


def make_scores(**changes: Any) -> CellScores:
    values = {
        "field_id": "a",
        "class_set": HPA2021,
        "cell_ids": np.array([3, 9], dtype=np.int32),
        "probabilities": np.full((2, 19), 0.5, dtype=np.float32),
        "field_probabilities": np.full(19, np.nan, dtype=np.float32),
        "embeddings": np.zeros((2, 0), dtype=np.float32),
    }
    return CellScores(**values | changes)


def test_channels_have_the_order_and_names_of_the_files() -> None:
    assert [channel.color for channel in Channel] == ["red", "green", "blue", "yellow"]
    assert [channel.name for channel in Channel] == ["MICROTUBULES", "PROTEIN", "NUCLEUS", "ER"]


@given(
    hnp.arrays(
        np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0), elements=st.integers(0, 70_000)
    )
)
def test_label_ids_are_those_of_unique(labels: np.ndarray) -> None:
    ids = label_ids(labels)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, np.setdiff1d(labels, [0]))


@pytest.mark.parametrize(
    "largest", [255, 256, 65_535, 65_536, 1 << 24, (1 << 24) + 1, np.iinfo(np.int32).max]
)
def test_label_ids_of_any_size(largest: int) -> None:
    labels = np.array([[0, largest], [1, largest]], dtype=np.int32)
    ids = label_ids(labels)
    assert ids.dtype == np.int32
    assert ids.tolist() == [1, largest]


def test_field_knows_its_shape_and_range() -> None:
    field = make_field(image=np.zeros((4, 6, 9), dtype=np.uint16), missing=frozenset({Channel.ER}))
    assert (field.height_px, field.width_px, field.max_value) == (6, 9, 65_535)
    assert make_field().max_value == 255


@pytest.mark.parametrize("shape", [(3, 6, 9), (6, 9), (4, 0, 9), (4, 6, 9, 1)])
def test_field_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Field a: image is .*, expected \(4, H, W\)"):
        make_field(image=np.zeros(shape, dtype=np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_field_of_another_type(dtype: type) -> None:
    with pytest.raises(TypeError, match=r"Field a: image is .*, expected uint8 or uint16"):
        make_field(image=np.zeros((4, 6, 9), dtype=dtype))


@pytest.mark.parametrize("pixel_size_um", [0, -0.08, math.nan, math.inf])
def test_pixel_size_is_a_positive_number(pixel_size_um: float) -> None:
    with pytest.raises(ValueError, match=r"Field a: pixel size is .* um, expected a positive number"):
        make_field(pixel_size_um=pixel_size_um)
    with pytest.raises(ValueError, match="Field a: pixel size is"):
        make_segmentation([[1]], [[1]], pixel_size_um=pixel_size_um)


def test_segmentation_keeps_ids_that_are_not_contiguous() -> None:
    segmentation = make_segmentation([[7, 0, 300], [7, 0, 70_000]], [[7, 0, 0], [0, 0, 70_000]])
    assert segmentation.cell_ids.tolist() == [7, 300, 70_000]


def test_segmentation_without_cells() -> None:
    assert make_segmentation([[0, 0]], [[0, 0]]).cell_ids.tolist() == []


def test_a_nucleus_without_cell_is_refused_by_id() -> None:
    with pytest.raises(ValueError, match=r"Field a: 2 nuclei have no cell of the same id \(2, 300\)"):
        make_segmentation([[1, 1, 1]], [[1, 2, 300]])


def test_segmentation_of_two_shapes() -> None:
    with pytest.raises(ValueError, match=r"cells have shape \(1, 2\), nuclei \(2, 1\)"):
        make_segmentation([[1, 1]], [[1], [1]])


def test_segmentation_of_another_type_or_sign() -> None:
    with pytest.raises(TypeError, match=r"Field a: nuclei are uint8 \(1, 1\), expected int32"):
        Segmentation(
            field_id="a",
            cells=np.ones((1, 1), np.int32),
            nuclei=np.ones((1, 1), np.uint8),
            pixel_size_um=0.08,
        )
    with pytest.raises(ValueError, match=r"Field a: cells has a negative id \(-1\)"):
        make_segmentation([[-1]], [[0]])


def test_crops_fit_their_ids() -> None:
    ids, border = np.array([3, 9], dtype=np.int32), np.zeros(2, dtype=np.bool_)
    crops, areas = np.zeros((2, 4, 8, 8), dtype=np.uint8), np.ones(2)
    fitting = CellCrops(field_id="a", cell_ids=ids, images=crops, touches_border=border, areas_um2=areas)
    assert fitting.images is crops
    with pytest.raises(ValueError, match=r"crops are \(1, 4, 8, 8\), expected \(2, 4, S, S\)"):
        replace(fitting, images=crops[:1])
    with pytest.raises(ValueError, match="Field a: 1 border marks for 2 cells"):
        replace(fitting, touches_border=border[:1])
    with pytest.raises(ValueError, match=r"Field a: areas_um2 has shape \(1,\), expected \(2,\)"):
        replace(fitting, areas_um2=areas[:1])


def test_scores_may_lack_a_field_score_and_an_embedding() -> None:
    assert make_scores().embeddings.shape == (2, 0)


def test_scores_of_a_field_without_cells() -> None:
    empty = {
        name: np.zeros((0, size), dtype=np.float32)
        for name, size in (("probabilities", 19), ("embeddings", 5))
    }
    assert len(make_scores(cell_ids=np.zeros(0, dtype=np.int32), **empty).cell_ids) == 0


@pytest.mark.parametrize(
    ("name", "shape"), [("probabilities", (2, 18)), ("field_probabilities", (18,)), ("embeddings", (1, 4))]
)
def test_scores_of_another_shape_are_named(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"Field a: {name} has shape"):
        make_scores(**{name: np.zeros(shape, dtype=np.float32)})


@pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
def test_a_cell_probability_is_a_probability(value: float) -> None:
    with pytest.raises(ValueError, match=r"Field a: a cell probability is outside \[0, 1\] or not finite"):
        make_scores(probabilities=np.full((2, 19), value, dtype=np.float32))


def test_arrows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        make_field().field_id = "b"  # type: ignore[misc]


def make_enlarged() -> Segmentation:
    cells, nuclei = np.array([[7, 0], [7, 70_000]], np.int32), np.array([[7, 0], [0, 0]], np.int32)
    coarse = CoarseLabels(
        cells=cells, nuclei=nuclei, rows=np.array([0, 0, 1]), columns=np.array([0, 0, 0, 1, 1])
    )
    return Segmentation.enlarged(coarse, field_id="a", pixel_size_um=0.08)


def test_cells_of_a_coarser_scale_are_enlarged_when_they_are_asked_for() -> None:
    found = make_enlarged()
    assert found.shape == (3, 5)
    assert found.cell_ids.tolist() == [7, 70_000]
    assert found.cells.tolist() == [[7, 7, 7, 0, 0], [7, 7, 7, 0, 0], [7, 7, 7, 70_000, 70_000]]
    assert found.nuclei.tolist() == [[7, 7, 7, 0, 0], [7, 7, 7, 0, 0], [0, 0, 0, 0, 0]]
    assert found.cells is found.cells
    with pytest.raises(AttributeError, match="Segmentation has no attribute 'cell'"):
        found.cell  # type: ignore[attr-defined]  # noqa: B018


def test_a_copy_of_cells_of_a_coarser_scale_is_the_same() -> None:
    for copy in (pickle.loads(pickle.dumps(make_enlarged())), replace(make_enlarged(), field_id="b")):
        np.testing.assert_array_equal(copy.cells, make_enlarged().cells)
        np.testing.assert_array_equal(copy.nuclei, make_enlarged().nuclei)
        assert copy.shape == (3, 5)


def test_what_a_pixel_of_the_field_shows() -> None:
    ids = make_enlarged().coarse.cells_at(np.array([-1, 2, 3]), np.array([-2, 0, 4, 5]))
    assert ids.tolist() == [[0, 0, 0, 0], [0, 7, 70_000, 0], [0, 0, 0, 0]]


def test_coarse_labels_are_checked_as_any() -> None:
    cells = np.zeros((1, 1), np.int32)
    coarse = CoarseLabels(cells=cells, nuclei=cells + 3, rows=np.zeros(2, int), columns=np.zeros(2, int))
    with pytest.raises(ValueError, match=r"Field a: 1 nuclei have no cell of the same id \(3\)"):
        Segmentation.enlarged(coarse, field_id="a", pixel_size_um=0.08)
