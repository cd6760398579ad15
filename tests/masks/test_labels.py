from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from hpa_cells.masks import counts_area, counts_boxes, decode_counts, encode_labels, paint_labels

Labels = NDArray[np.int32]

small_images = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.sampled_from([0, 0, 1, 2, 3, 255, 256, 65535, 65536, 70000, 2**31 - 1]),
)


def one_by_one(labels: Labels) -> tuple[list[int], list[bytes]]:
    """Ids and counts as pycocotools gives them, a cell at a time."""
    ids = [int(cell_id) for cell_id in np.unique(labels) if cell_id != 0]
    return ids, [coco_mask.encode(np.asfortranarray(labels == i).view(np.uint8))["counts"] for i in ids]


def blocks(height: int, width: int, block: int) -> Labels:
    """Square cells with ids 1, 2, 3, ... that fill an image."""
    columns = -(-width // block)
    rows, cols = np.indices((height, width)) // block
    return (1 + rows * columns + cols).astype(np.int32)


@given(small_images, st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None, max_examples=400)
def test_counts_are_the_bytes_of_pycocotools(labels: Labels, stretch_y: int, stretch_x: int) -> None:
    labels = np.kron(labels, np.ones((stretch_y, stretch_x), dtype=np.int32))
    ids, counts = encode_labels(labels)
    assert (ids.tolist(), counts) == one_by_one(labels)
    assert ids.dtype == np.int32


@given(small_images, st.data())
@settings(deadline=None, max_examples=400)
def test_labels_of_a_coarser_scale_give_the_counts_of_the_enlarged(
    labels: Labels, data: st.DataObject
) -> None:
    rows, columns = (
        np.repeat(np.arange(side), data.draw(hnp.arrays(np.int64, side, elements=st.integers(1, 4))))
        for side in labels.shape
    )
    ids, counts = encode_labels(labels, rows=rows, columns=columns)
    assert (ids.tolist(), counts) == one_by_one(labels[np.ix_(rows, columns)])


@given(small_images)
@settings(deadline=None, max_examples=300)
def test_the_way_back(labels: Labels) -> None:
    ids, counts = encode_labels(labels)
    height, width = labels.shape
    painted = paint_labels(ids, counts, height, width)
    assert painted.dtype == np.int32
    assert painted.flags.c_contiguous
    np.testing.assert_array_equal(painted, labels)
    for cell_id, each in zip(ids, counts, strict=True):
        decoded = decode_counts(each, height, width)
        assert decoded.dtype == np.bool_
        np.testing.assert_array_equal(decoded, labels == cell_id)


@given(small_images)
@settings(deadline=None, max_examples=200)
def test_areas_and_boxes_are_those_of_pycocotools(labels: Labels) -> None:
    _, counts = encode_labels(labels)
    height, width = labels.shape
    masks = [{"size": [height, width], "counts": each} for each in counts]
    assert counts_area(counts, height, width).tolist() == [int(coco_mask.area(mask)) for mask in masks]
    assert counts_boxes(counts, height, width).tolist() == [coco_mask.toBbox(mask).tolist() for mask in masks]


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((5, 9), np.int32),
        np.ones((5, 9), np.int32),
        np.ones((1, 1), np.int32),
        np.array([[0, 0, 4]], np.int32),
        np.array([[4], [0], [0]], np.int32),
        np.array([[0, 0], [0, 9]], np.int32),
        np.arange(12, dtype=np.int32).reshape(3, 4).T,
        blocks(40, 60, 2),
        (blocks(30, 70, 7) * 40_000) % 99_991,
    ],
    ids=["empty", "full", "pixel", "row", "column", "last", "transposed", "600 cells", "scattered ids"],
)
def test_edges(labels: Labels) -> None:
    ids, counts = encode_labels(labels)
    assert (ids.tolist(), counts) == one_by_one(labels)
    np.testing.assert_array_equal(paint_labels(ids, counts, *labels.shape), labels)


def test_an_image_without_pixels_has_no_cells() -> None:
    ids, counts = encode_labels(np.zeros((0, 7), np.int32))
    assert ids.tolist() == []
    assert ids.dtype == np.int32
    assert counts == []


def test_seventy_thousand_cells() -> None:
    labels = blocks(800, 802, 3)[::-1, ::-1]
    ids, counts = encode_labels(labels)
    assert len(ids) == labels.max() > 70_000
    np.testing.assert_array_equal(paint_labels(ids, counts, 800, 802), labels)
    for index in np.random.default_rng(0).choice(len(ids), 60, replace=False):
        mask = np.asfortranarray(labels == ids[index]).view(np.uint8)
        assert counts[index] == coco_mask.encode(mask)["counts"]


def test_the_later_of_overlapping_masks_is_seen() -> None:
    left, right = np.zeros((2, 3, 4), np.int32)
    left[:, :3], right[:, 1:] = 1, 1
    counts = [encode_labels(each)[1][0] for each in (left, right)]
    np.testing.assert_array_equal(
        paint_labels([5, 3], counts, 3, 4), np.where(right, 3, np.where(left, 5, 0))
    )


def test_no_masks_paint_background() -> None:
    assert paint_labels([], [], 2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert counts_boxes([], 2, 3).shape == (0, 4)
    assert counts_area([], 2, 3).shape == (0,)


def test_an_empty_mask_has_no_area_and_no_box() -> None:
    assert not decode_counts(b"6", 2, 3).any()
    assert counts_area([b"6", b"06"], 2, 3).tolist() == [0, 6]
    assert counts_boxes([b"6", b"06"], 2, 3).tolist() == [[0, 0, 0, 0], [0, 0, 3, 2]]


def test_errors_name_the_mask() -> None:
    with pytest.raises(ValueError, match=r"Mask of cell 9 covers 7 px, but its image has 6"):
        paint_labels([4, 9], [b"231", b"232"], 2, 3)
    with pytest.raises(ValueError, match=r"There are 1 ids for 2 masks"):
        paint_labels([4], [b"231", b"231"], 2, 3)
    with pytest.raises(ValueError, match=r"Mask b'2 1' is not a COCO run-length mask"):
        decode_counts(b"2 1", 2, 3)
    with pytest.raises(ValueError, match=r"Mask b'1{24}\.\.\.' covers"):
        decode_counts(b"1" * 60, 2, 3)


def test_real_masks(real_data: Path) -> None:
    paths = sorted((real_data / "hpa2021" / "masks").glob("*_cells.png"))
    assert paths
    for path in paths[:2]:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32)
        ids, counts = encode_labels(labels)
        assert (ids.tolist(), counts) == one_by_one(labels)
        np.testing.assert_array_equal(paint_labels(ids, counts, *labels.shape), labels)


@pytest.mark.parametrize("size", [(100_000, 100_000), (1, 40_000), (-1, 4)])
def test_an_absurd_size_is_refused_before_memory_is_taken(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at most 32768 px a side are painted"):
        paint_labels([], [], *size)
    with pytest.raises(ValueError, match="at most 32768 px a side are painted"):
        decode_counts(b"0", *size)
