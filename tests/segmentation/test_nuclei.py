from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.segmentation.nuclei import merge_wide_necks, nucleus_mask, split_at_necks
from hpa_cells.types import label_ids

FRACTIONS = {"blur_px": 1.5, "window_px": 24.0, "global_fraction": 0.6, "local_fraction": 0.95}
SPLITTING = {"blur_px": 1.5, "min_distance_px": 3.0, "neck": 0.6}


def ellipse(shape: tuple[int, int], x: float, y: float, a: float, b: float) -> NDArray[np.bool_]:
    rows, columns = np.indices(shape)
    return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1


def test_bright_and_dim_nuclei_are_found() -> None:
    bright, dim = ellipse((120, 200), 50, 60, 20, 20), ellipse((120, 200), 150, 60, 20, 20)
    stain = np.random.default_rng(0).normal(5, 1, (120, 200))
    stain += 150 * bright + 60 * dim
    mask = nucleus_mask(stain.astype(np.float32), **FRACTIONS)
    for nucleus in (bright, dim):
        assert mask[nucleus].mean() > 0.9
    assert mask[~bright & ~dim].mean() < 0.03


@pytest.mark.parametrize("level", [0, 3, 255])
def test_a_flat_channel_has_no_nuclei(level: float) -> None:
    assert not nucleus_mask(np.full((50, 60), level, dtype=np.float32), **FRACTIONS).any()


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_nuclei(seed: int) -> None:
    stain = np.random.default_rng(seed).poisson(4, (200, 300)).astype(np.float32)
    assert nucleus_mask(stain, **FRACTIONS).mean() < 1e-3


def test_two_touching_discs_are_two_nuclei() -> None:
    left, right = ellipse((80, 120), 40, 40, 20, 20), ellipse((80, 120), 77, 40, 20, 20)
    nuclei = split_at_necks(left | right, **SPLITTING)
    assert label_ids(nuclei).tolist() == [1, 2]
    assert nuclei[40, 40] != nuclei[40, 77]
    assert ((nuclei > 0) == (left | right)).all()


@pytest.mark.parametrize(("a", "b"), [(30, 12), (20, 20), (12, 35)])
def test_one_ellipse_is_one_nucleus(a: float, b: float) -> None:
    assert label_ids(split_at_necks(ellipse((80, 120), 60, 40, a, b), **SPLITTING)).tolist() == [1]


def test_a_nucleus_cut_by_the_edge_is_not_split() -> None:
    for x, y in ((0, 40), (119, 40), (60, 0), (60, 79), (0, 0)):
        assert label_ids(split_at_necks(ellipse((80, 120), x, y, 25, 20), **SPLITTING)).tolist() == [1]


def test_a_neck_of_0_joins_all_that_touches() -> None:
    left, right = ellipse((80, 120), 40, 40, 20, 20), ellipse((80, 120), 77, 40, 20, 20)
    assert split_at_necks(left | right, **SPLITTING | {"neck": 0.0}).max() == 1


def test_an_empty_mask_has_no_nuclei() -> None:
    assert not split_at_necks(np.zeros((20, 30), dtype=np.bool_), **SPLITTING).any()


def test_necks_are_judged_by_the_shallower_part() -> None:
    parts = np.array([[1, 1, 2, 2, 3, 3]], dtype=np.int32)
    depth = np.array([[9, 5, 5, 6, 2, 4]], dtype=np.float32)
    # 1 and 2 meet at 5 of 6; 2 and 3 at 2 of 4.
    assert merge_wide_necks(parts, depth, 0.8).tolist() == [[1, 1, 1, 1, 2, 2]]
    assert merge_wide_necks(parts, depth, 0.9).tolist() == [[1, 1, 2, 2, 3, 3]]
    assert merge_wide_necks(parts, depth, 0.5).tolist() == [[1, 1, 1, 1, 1, 1]]
