from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hpa_cells.metrics import (
    IOU_THRESHOLDS,
    InstanceOverlaps,
    instance_overlaps,
    label_images,
    match_instances,
    score_instances,
)
from hpa_cells.table import CellTable

Labels = NDArray[np.int32]
IDS = [0, 0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1]
RATIOS = ["precision", "recall", "f1", "ap", "panoptic_quality", "mean_matched_iou"]

image_pairs = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.int32, shape, elements=st.sampled_from(IDS)) for _ in "pt"))
)


def slow_iou(predicted: Labels, truth: Labels) -> dict[tuple[int, int], float]:
    """IoU of each pair of ids that share a pixel, one pair at a time."""
    found = {}
    for predicted_id in set(predicted.ravel().tolist()) - {0}:
        for truth_id in set(truth.ravel().tolist()) - {0}:
            a, b = predicted == predicted_id, truth == truth_id
            if (a & b).any():
                found[predicted_id, truth_id] = float((a & b).sum() / (a | b).sum())
    return found


def slow_matches(iou: dict[tuple[int, int], float], threshold: float) -> tuple[int, float]:
    """Number of matches and their sum of IoU: every way to pair the objects is tried."""
    predicted_ids, truth_ids = (sorted({pair[side] for pair in iou}) for side in (0, 1))
    padded = [*truth_ids, *[None] * len(predicted_ids)]
    best = (0, 0.0)
    for chosen in set(permutations(padded, len(predicted_ids))):
        values = [iou.get(pair, 0) for pair in zip(predicted_ids, chosen, strict=True)]
        values = [value for value in values if value >= threshold]
        best = max(best, (len(values), sum(values)))
    return best


def as_dict(overlaps: InstanceOverlaps) -> dict[tuple[int, int], float]:
    pairs = zip(overlaps.predicted_ids.tolist(), overlaps.truth_ids.tolist(), strict=True)
    return dict(zip(pairs, overlaps.iou.tolist(), strict=True))


@given(image_pairs)
@settings(deadline=None, max_examples=200)
def test_overlaps_equal_those_of_the_pixels(images: tuple[Labels, Labels]) -> None:
    overlaps = instance_overlaps(*images)
    assert as_dict(overlaps) == slow_iou(*images)
    assert overlaps.num_predicted == len(set(images[0].ravel().tolist()) - {0})
    assert overlaps.num_truths == len(set(images[1].ravel().tolist()) - {0})


@given(
    hnp.arrays(np.int32, (4, 5), elements=st.sampled_from([0, 1, 2, 70000])),
    hnp.arrays(np.int32, (4, 5), elements=st.sampled_from([0, 3, 4, 70000])),
    st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5, 0.6, 1.0]),
)
@settings(deadline=None, max_examples=300)
def test_matching_is_the_best_of_all_ways(predicted: Labels, truth: Labels, threshold: float) -> None:
    matches = match_instances(instance_overlaps(predicted, truth), iou_threshold=threshold)
    assert len(set(matches.predicted_ids)) == len(set(matches.truth_ids)) == len(matches.iou)
    expected = slow_matches(slow_iou(predicted, truth), threshold)
    assert (len(matches.iou), float(matches.iou.sum())) == pytest.approx(expected)


@given(
    st.lists(image_pairs, max_size=3),
    st.lists(st.sampled_from([0.51, 0.6, 0.75, 1.0]), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=100)
def test_scores_equal_a_plain_count(images: list[tuple[Labels, Labels]], thresholds: list[float]) -> None:
    scores = score_instances(images, iou_thresholds=thresholds)
    for row, threshold in zip(scores.to_dict("records"), thresholds, strict=True):
        matched = [value for pair in images for value in slow_iou(*pair).values() if value >= threshold]
        num_predicted, num_truths = (
            sum(len(set(pair[side].ravel().tolist()) - {0}) for pair in images) for side in (0, 1)
        )
        tp, fp, fn = len(matched), num_predicted - len(matched), num_truths - len(matched)
        expected = {
            "iou_threshold": threshold,
            "precision": tp / (tp + fp) if tp + fp else np.nan,
            "recall": tp / (tp + fn) if tp + fn else np.nan,
            "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan,
            "ap": tp / (tp + fp + fn) if tp + fp + fn else np.nan,
            "panoptic_quality": sum(matched) / (tp + fp / 2 + fn / 2) if tp + fp + fn else np.nan,
            "mean_matched_iou": np.mean(matched) if matched else np.nan,
            "num_matched": tp,
            "num_predicted": num_predicted,
            "num_truths": num_truths,
        }
        assert row == pytest.approx(expected, nan_ok=True)


@given(image_pairs)
@settings(deadline=None, max_examples=60)
def test_turning_and_renumbering_change_nothing(images: tuple[Labels, Labels]) -> None:
    scores = score_instances([images])
    turned = score_instances([tuple(np.rot90(image)[:, ::-1] for image in images)])
    renumbered = score_instances([tuple(np.where(image, 90_000 - image % 80_000, 0) for image in images)])
    swapped = score_instances([images[::-1]])
    np.testing.assert_allclose(turned, scores)
    np.testing.assert_allclose(renumbered, scores)
    np.testing.assert_array_equal(swapped[["f1", "ap", "num_matched"]], scores[["f1", "ap", "num_matched"]])
    np.testing.assert_array_equal(swapped["precision"], scores["recall"])


@pytest.mark.parametrize("seed", range(20))
def test_panoptic_quality_is_that_of_torchmetrics(seed: int) -> None:
    import torch
    from torchmetrics.functional.detection import panoptic_quality

    rng = np.random.default_rng(seed)
    truth = np.kron(rng.permutation(20).reshape(4, 5), np.ones((5, 5))).astype(np.int32)
    predicted = np.roll(truth, 1, axis=1) * 3
    predicted[rng.random(truth.shape) < 0.2] = 0
    # Pixel by pixel a category, 1 for a cell and 0 for background, and the number of the object.
    both = [
        torch.from_numpy(np.stack([image > 0, image], axis=-1).astype(np.int64))
        for image in (predicted, truth)
    ]
    expected = panoptic_quality(
        both[0][None], both[1][None], things={1}, stuffs={0}, return_per_class=True, return_sq_and_rq=True
    )[0]
    # There, an IoU of exactly 0.5 is no match.
    scores = score_instances([(predicted, truth)], iou_thresholds=[float(np.nextafter(0.5, 1))]).iloc[0]
    ours = [scores["panoptic_quality"], scores["mean_matched_iou"], scores["f1"]]
    assert 0 < scores["f1"] < 1
    assert ours == pytest.approx(expected.tolist(), abs=1e-6)


def test_an_image_agrees_with_itself() -> None:
    rows, columns = np.indices((600, 601)) // 2
    labels = (1 + 301 * rows + columns).astype(np.int32)
    scores = score_instances([(labels, labels)])
    assert scores["num_truths"][0] == labels.max() > 65_535
    assert (scores[RATIOS] == 1).all(axis=None)
    assert scores["iou_threshold"].tolist() == list(IOU_THRESHOLDS)


def test_a_split_cell_at_exactly_half() -> None:
    truth = np.ones((2, 4), np.int32)
    halves = np.array([[1, 1, 2, 2]] * 2, np.int32)
    matches = match_instances(instance_overlaps(halves, truth), iou_threshold=0.5)
    assert (len(matches.iou), matches.num_predicted, matches.num_truths) == (1, 2, 1)


def test_nothing_and_one_side_empty() -> None:
    empty, full = np.zeros((3, 5), np.int32), np.ones((3, 5), np.int32)
    assert score_instances([(empty, empty)])[RATIOS].isna().all(axis=None)
    assert score_instances([])[RATIOS].isna().all(axis=None)
    assert score_instances([(np.zeros((0, 5), np.int32),) * 2])[RATIOS].isna().all(axis=None)
    missed = score_instances([(empty, full)], iou_thresholds=[0.5]).iloc[0]
    assert (missed["f1"], missed["recall"], missed["panoptic_quality"]) == (0, 0, 0)
    assert missed[["precision", "mean_matched_iou"]].isna().all()


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 5\), true ones \(5, 3\)"):
        instance_overlaps(np.zeros((3, 5), np.int32), np.zeros((5, 3), np.int32))
    overlaps = instance_overlaps(*np.ones((2, 3, 5), np.int32))
    for threshold in (0, 1.1):
        with pytest.raises(ValueError, match=f"IoU threshold is {threshold}"):
            match_instances(overlaps, iou_threshold=threshold)


def test_label_images_of_tables(make_table: Callable[..., CellTable]) -> None:
    first = {"a": np.array([[0, 7, 7], [3, 3, 0]], np.int32), "b": np.zeros((2, 2), np.int32)}
    second = {"a": np.array([[9, 9, 9], [3, 3, 0]], np.int32), "b": np.full((2, 2), 70_000, np.int32)}
    tables = make_table(first, np.zeros((2, 1))), make_table(second, np.zeros((3, 1)))
    images = list(label_images(*tables))
    for (predicted, truth), field_id in zip(images, ["a", "b"], strict=True):
        np.testing.assert_array_equal(predicted, first[field_id])
        np.testing.assert_array_equal(truth, second[field_id])


def test_the_official_segmenter_against_hand_checked_masks(real_data: Path) -> None:
    """Its masks of 162 fields: 34 needed correction, in the others every cell is as the network drew it."""
    folder = real_data / "cell_labels"

    def read(path: Path) -> Labels:
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32)

    corrected = sorted((folder / "masks_hpacellseg").glob("*.png"))
    pairs = ((read(path), read(folder / "masks" / path.name)) for path in corrected)
    scores = score_instances(pairs, iou_thresholds=[0.6, 0.9])
    assert scores["num_matched"].tolist() == [454, 342]
    assert scores["f1"].tolist() == pytest.approx([0.8656, 0.6521], abs=1e-4)

    num_unchanged = len(pd.read_csv(folder / "cell_labels.csv")) - scores["num_truths"]
    all_cells = scores["num_predicted"] + scores["num_truths"] + 2 * num_unchanged
    f1 = 2 * (scores["num_matched"] + num_unchanged) / all_cells
    assert f1.tolist() == pytest.approx([0.969, 0.920], abs=1e-3)
