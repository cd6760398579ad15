from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hpa_cells.masks import encode_labels, pairwise_iou

BoolArray = NDArray[np.bool_]


def slow_iou(masks_a: list[BoolArray], masks_b: list[BoolArray]) -> list[list[float]]:
    """Pixel by pixel."""
    return [[float((a & b).sum() / (a | b).sum()) for b in masks_b] for a in masks_a]


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
        lambda shape: st.tuples(
            *(hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 5, 70000])) for _ in "ab")
        )
    )
)
@settings(deadline=None, max_examples=200)
def test_iou_is_that_of_the_pixels(images: tuple[NDArray[np.int32], NDArray[np.int32]]) -> None:
    (ids_a, counts_a), (ids_b, counts_b) = (encode_labels(image) for image in images)
    iou = pairwise_iou(counts_a, counts_b, *images[0].shape)
    assert iou.shape == (len(ids_a), len(ids_b))
    masks_a, masks_b = ([image == i for i in ids] for image, ids in zip(images, (ids_a, ids_b), strict=True))
    assert iou.tolist() == slow_iou(masks_a, masks_b)


def test_empty_masks_overlap_nothing() -> None:
    assert pairwise_iou([b"6"], [b"6", b"06"], 2, 3).tolist() == [[0, 0]]
    assert pairwise_iou([], [b"06"], 2, 3).shape == (0, 1)
    assert pairwise_iou([b"06"], [], 2, 3).shape == (1, 0)
