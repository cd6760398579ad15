from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.segmentation.representations.frontiers import join_over_weak_frontiers
from hpa_cells.types import label_ids


def stripes(ids: list[int], depths: list[float]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Regions side by side, four pixels wide each, and the depth of every column."""
    labels = np.repeat(np.array([ids], dtype=np.int32), 4, axis=1).repeat(6, axis=0)
    return labels, np.tile(np.array(depths, dtype=np.float32), (6, 1))


def test_only_weak_frontiers_are_joined() -> None:
    labels, depth = stripes([1, 2, 3, 0, 4], [1, 1, 1, 0.1, 0.1, *[1] * 3, 0.9, *[1] * 11])
    joined = join_over_weak_frontiers(labels, depth, valley=0.5)
    assert label_ids(joined).tolist() == [1, 2, 4]
    assert (joined[labels == 3] == 2).all()


@pytest.mark.parametrize("height", [0.1, 1.0, 10.0])
def test_a_valley_is_one_beside_its_hills(height: float) -> None:
    """Small things are parted by what would be no valley among large ones."""
    labels, depth = stripes([1, 2, 3], [1, 1, 1, 0.3, 0.3, 1, 1, 1, 1, 1, 1, 0.6])
    joined = join_over_weak_frontiers(labels, depth * np.float32(height), valley=0.5)
    assert label_ids(joined).tolist() == [1, 2]


def test_joining_goes_through_chains() -> None:
    labels, depth = stripes([4, 3, 2, 1], [1.0] * 16)
    assert label_ids(join_over_weak_frontiers(labels, depth, valley=0.5)).tolist() == [1]


def test_a_sliver_is_no_bridge() -> None:
    """Between two cells lies a shallow region: each of its frontiers is weak, that of the cells is not."""
    labels, depth = stripes([1, 3, 2], [1, 1, 0.9, 0.25, 0.25, 0.3, 0.3, 0.2, 0.2, 0.9, 1, 1])
    joined = join_over_weak_frontiers(labels, depth, valley=0.5)
    assert label_ids(joined).tolist() == [1, 2]
    assert (joined[labels == 3] == 1).all()


def test_joined_frontiers_count_by_their_length() -> None:
    """Half of the frontier to the third region is deep for two pixels, the other low for six: together it is one."""
    labels = np.zeros((8, 8), dtype=np.int32)
    labels[:2, :4], labels[2:, :4], labels[:, 4:] = 1, 2, 3
    depth = np.ones(labels.shape, dtype=np.float32)
    depth[:2, 3:5], depth[2:, 3:5] = 0.6, 0.1
    joined = join_over_weak_frontiers(labels, depth, valley=0.5)
    assert label_ids(joined).tolist() == [1, 3]


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_regions_are_only_ever_joined(seed: int, valley: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 9, (6, 7)), np.ones((3, 3))).astype(np.int32)
    depth = rng.random(labels.shape, dtype=np.float32)
    joined = join_over_weak_frontiers(labels, depth, valley=valley)
    assert ((joined > 0) == (labels > 0)).all()
    for each in label_ids(labels):
        assert len(np.unique(joined[labels == each])) == 1
    for each in label_ids(joined):
        assert labels[joined == each].min() == each
    # What has no deep neighbour has been left alone, what is left is parted by valleys.
    once_more = join_over_weak_frontiers(joined, depth, valley=valley)
    np.testing.assert_array_equal(once_more, joined)


def test_nothing_to_join() -> None:
    empty = np.zeros((5, 5), dtype=np.int32)
    assert not join_over_weak_frontiers(empty, np.zeros((5, 5), dtype=np.float32), valley=0.5).any()
