from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hpa_cells.metrics import (
    Overlaps,
    average_precision_of_matches,
    challenge_average_precision,
    match_detections,
    mean_average_precision,
    tie_share,
)
from hpa_cells.metrics.pairing import paired_fields
from hpa_cells.table import CellTable, Column

MakeTable = Callable[..., CellTable]
Labels = NDArray[np.int32]
NUM_CLASSES = 19


def plain_area(is_match: list[bool], num_truths: int) -> float:
    """The envelope's area as the VOC 2010 development kit computes it."""
    if num_truths == 0:
        return float("nan")
    recall, precision, num_matches = [0.0], [0.0], 0
    for number, matched in enumerate(is_match, start=1):
        num_matches += matched
        recall.append(num_matches / num_truths)
        precision.append(num_matches / number)
    recall.append(1.0)
    precision.append(0.0)
    for index in range(len(precision) - 2, -1, -1):
        precision[index] = max(precision[index], precision[index + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def plain_average_precision(
    predicted: CellTable,
    truth: CellTable,
    images: dict[str, tuple[Labels, Labels]],
    *,
    verified_only: bool = False,
) -> list[float]:
    """The metric one detection at a time, on pixels."""
    areas = []
    for column in Column.probabilities(truth.class_set):
        pooled: list[tuple[float, bool]] = []
        num_truths = 0
        for field_id, (predicted_labels, truth_labels) in images.items():
            found = predicted.cells[predicted.cells[Column.FIELD_ID] == field_id].dropna(subset=column)
            true = truth.cells[(truth.cells[Column.FIELD_ID] == field_id) & (truth.cells[column] >= 0.5)]
            num_truths += len(true)
            if verified_only and true.empty:
                continue
            free = set(true[Column.CELL_ID])
            in_turn = sorted(
                zip(-found[column], found[Column.CELL_ID], strict=True), key=lambda each: each[0]
            )
            for minus_confidence, cell_id in in_turn:
                mask = predicted_labels == cell_id
                best_id, best_iou = -1, -1.0
                for truth_id in true[Column.CELL_ID]:
                    other = truth_labels == truth_id
                    iou = (mask & other).sum() / (mask | other).sum()
                    if iou > best_iou:
                        best_id, best_iou = truth_id, iou
                is_match = best_iou >= 0.6 and best_id in free
                free -= {best_id} if is_match else set()
                pooled.append((minus_confidence, is_match))
        pooled.sort(key=lambda each: each[0])
        areas.append(plain_area([is_match for _, is_match in pooled], num_truths))
    return areas


def coco_average_precision(predicted: CellTable, truth: CellTable) -> list[float]:
    """The metric by COCOeval: with recalls at 1/n, 2/n ... 1, the mean precision is the envelope's area."""
    fields = truth.fields.set_index(Column.FIELD_ID)
    numbers = {field_id: number for number, field_id in enumerate(fields.index, start=1)}
    annotations: dict[str, list[dict[str, Any]]] = {"predicted": [], "truth": []}
    for name, table in (("predicted", predicted), ("truth", truth)):
        cells = zip(
            table.cells[Column.FIELD_ID], table.cells[Column.CELL_RLE], table.probabilities(), strict=True
        )
        for field_id, rle, scores in cells:
            mask = {"size": fields.loc[field_id].tolist(), "counts": rle.encode()}
            shared = {"image_id": numbers[field_id], "segmentation": mask, "area": 1, "iscrowd": 0}
            for class_index, score in enumerate(scores):
                if np.isnan(score) if name == "predicted" else score < 0.5:
                    continue
                number = len(annotations[name]) + 1
                own = {"category_id": class_index + 1, "score": float(score), "id": number}
                annotations[name].append(shared | own)
    cocos = {}
    areas = []
    with contextlib.redirect_stdout(io.StringIO()):
        for name, rows in annotations.items():
            cocos[name] = COCO()
            sizes = fields.loc[list(numbers)].itertuples()
            images = [
                {"id": numbers[name], "height": height, "width": width} for name, height, width in sizes
            ]
            categories = [{"id": 1 + index} for index in range(NUM_CLASSES)]
            cocos[name].dataset = {"images": images, "categories": categories, "annotations": rows}
            cocos[name].createIndex()
        evaluation = COCOeval(cocos["truth"], cocos["predicted"], "segm")
        evaluation.params.iouThrs = np.array([0.6])
        evaluation.params.maxDets = [10**6]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        for class_index in range(NUM_CLASSES):
            num_truths = sum(each["category_id"] == class_index + 1 for each in annotations["truth"])
            if num_truths == 0:
                areas.append(float("nan"))
                continue
            evaluation.params.recThrs = np.arange(1, num_truths + 1) / num_truths
            evaluation.accumulate()
            # -1 marks a class that is nowhere detected.
            areas.append(max(evaluation.eval["precision"][0, :, class_index, 0, 0].mean(), 0.0))
    return areas


def grid(height: int, width: int, block: int) -> Labels:
    """Square cells with ids that have gaps."""
    rows, cols = np.indices((height, width)) // block
    return (3 + 7 * (rows * -(-width // block) + cols)).astype(np.int32)


def random_fields(rng: np.random.Generator) -> dict[str, tuple[Labels, Labels]]:
    """Predicted and true label images: a grid, and the same shifted, with cells lost and renumbered."""
    images = {}
    for index in range(rng.integers(1, 6)):
        height, width = rng.integers(10, 31, 2)
        truth = grid(height, width, int(rng.integers(5, 9)))
        truth[np.isin(truth, rng.choice(np.unique(truth), 2))] = 0
        predicted = np.roll(truth, rng.integers(-1, 2, 2), (0, 1))
        present = np.unique(predicted)
        renumbered = rng.permutation(np.arange(len(present)) * 5)
        renumbered[rng.random(len(present)) < 0.1] = 0
        predicted = renumbered[np.searchsorted(present, predicted)].astype(np.int32)
        images[f"field{index}"] = (predicted, truth)
    return images


def random_tables(
    rng: np.random.Generator, make_table: MakeTable
) -> tuple[CellTable, CellTable, dict[str, tuple[Labels, Labels]]]:
    """Tables with many ties, some classes without truths, some cells without a confidence."""
    images = random_fields(rng)
    num_predicted, num_truths = (
        sum(len(np.setdiff1d(pair[side], 0)) for pair in images.values()) for side in (0, 1)
    )
    confidences = rng.choice([2, 8, 1000]) ** -1.0 * rng.integers(0, 8, (num_predicted, NUM_CLASSES))
    confidences = np.where(rng.random(confidences.shape) < 0.05, np.nan, confidences)
    confidences[:, rng.random(NUM_CLASSES) < 0.05] = np.nan
    labels = rng.random((num_truths, NUM_CLASSES)) < rng.choice([0.0, 0.1, 0.3, 0.9], NUM_CLASSES)
    predicted = make_table({name: pair[0] for name, pair in images.items()}, confidences)
    truth = make_table({name: pair[1] for name, pair in images.items()}, labels)
    return predicted, truth, images


@pytest.mark.parametrize("seed", range(200))
def test_equals_cocoeval_on_random_tables(seed: int, make_table: MakeTable) -> None:
    predicted, truth, _ = random_tables(np.random.default_rng(seed), make_table)
    ours = challenge_average_precision(predicted, truth)["ap"]
    np.testing.assert_allclose(ours, coco_average_precision(predicted, truth), atol=1e-12)


@pytest.mark.parametrize("verified_only", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_equals_a_plain_loop_on_random_tables(seed: int, verified_only: bool, make_table: MakeTable) -> None:
    predicted, truth, images = random_tables(np.random.default_rng(seed), make_table)
    scores = challenge_average_precision(predicted, truth, verified_only=verified_only)
    plain = plain_average_precision(predicted, truth, images, verified_only=verified_only)
    np.testing.assert_allclose(scores["ap"], plain, atol=1e-12)
    assert (scores["ap_worst"].dropna() <= scores["ap"].dropna()).all()
    assert (scores["ap"].dropna() <= scores["ap_best"].dropna()).all()


def random_overlaps(rng: np.random.Generator) -> tuple[NDArray[np.float64], Overlaps]:
    """Any IoU of predicted and true cells of one field, as of masks that may overlap, and those above 0.3."""
    iou = rng.integers(0, 8, rng.integers(1, 9, 2)) / 8
    rows, columns = np.nonzero(iou >= 0.3)
    return iou, Overlaps(predicted_rows=rows, truth_rows=columns, iou=iou[rows, columns])


@pytest.mark.parametrize("seed", range(200))
def test_matching_equals_a_plain_loop_where_masks_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    iou, overlaps = random_overlaps(rng)
    confidences = np.where(rng.random(len(iou)) < 0.1, np.nan, rng.integers(0, 4, len(iou)) / 4)
    is_truth = rng.random(iou.shape[1]) < 0.7
    expected = np.zeros(len(iou), dtype=bool)
    free = is_truth.copy()
    for row in np.argsort(-confidences, kind="stable"):
        best = int(np.argmax(np.where(is_truth, iou[row], -1)))
        if not np.isnan(confidences[row]) and free[best] and iou[row, best] >= 0.3:
            expected[row], free[best] = True, False
    assert match_detections(overlaps, confidences, is_truth).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(60))
def test_area_and_ties_equal_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(0, 12))
    confidences, is_match = rng.integers(0, 6, number) / 8, rng.random(number) < 0.5
    num_truths = int(is_match.sum() + rng.integers(0, 3))

    def area(order: NDArray[np.int64]) -> float:
        return plain_area(is_match[order].tolist(), num_truths)

    orders = [rng.permutation(number) for _ in range(400)]
    areas = [area(order[np.argsort(-confidences[order], kind="stable")]) for order in orders]
    by_ties = {
        ties: average_precision_of_matches(confidences, is_match, num_truths, ties=ties)
        for ties in ("order", "worst", "best", "average")
    }
    if num_truths == 0:
        assert np.isnan(list(by_ties.values())).all()
        return
    assert by_ties["order"] == pytest.approx(area(np.argsort(-confidences, kind="stable")), abs=1e-12)
    assert by_ties["worst"] <= min(areas) + 1e-12
    assert by_ties["best"] >= max(areas) - 1e-12
    spread = np.std(areas)
    assert by_ties["average"] == pytest.approx(np.mean(areas), abs=1e-12 + 5 * spread / np.sqrt(20))
    tied = [
        any(confidences == confidence) and len({*is_match[confidences == confidence].tolist()}) == 2
        for confidence in confidences
    ]
    assert (tie_share(confidences, is_match) == pytest.approx(np.mean(tied))) if number else True


def one_class(values: list[float]) -> NDArray[np.float64]:
    """(N, 1), confidences of the first class alone; the others are 0."""
    return np.array(values)[:, None]


def test_the_most_confident_duplicate_is_the_match(make_table: MakeTable) -> None:
    whole, most = np.ones((10, 10), np.int32), np.ones((10, 10), np.int32)
    most[:2] = 0
    truth = make_table({"a": whole}, [[1]])
    left_out = {"a": np.where(most == 1, 1, 2).astype(np.int32)}
    predicted = make_table(left_out, one_class([0.4, 0.9]))
    # IoU 0.8 for cell 1, 0.2 for cell 2: the confident one is a false positive.
    assert challenge_average_precision(predicted, truth)["ap"][0] == 0.5
    twice = predicted.cells.iloc[[0, 0]].assign(p_nucleoplasm=[0.4, 0.9], cell_id=[1, 3])
    scores = challenge_average_precision(
        CellTable(
            cells=twice.reset_index(drop=True),
            fields=predicted.fields,
            class_set=predicted.class_set,
            provenance=predicted.provenance,
        ),
        truth,
    )
    assert scores["ap"][0] == 1
    assert scores["num_detections"][0] == 2


@pytest.mark.parametrize(("rows", "expected"), [(6, 1.0), (5, 0.0)])
def test_an_iou_of_exactly_the_threshold_is_a_match(
    rows: int, expected: float, make_table: MakeTable
) -> None:
    part = np.zeros((10, 7), np.int32)
    part[:rows] = 300
    truth = make_table({"a": np.full((10, 7), 2, np.int32)}, [[1]])
    assert challenge_average_precision(make_table({"a": part}, [[0.3]]), truth)["ap"][0] == expected


def test_there_is_no_second_choice() -> None:
    """Both detections overlap truth 0 most; the weaker one would also match truth 1 but may not take it."""
    overlaps = Overlaps(
        predicted_rows=np.array([0, 1, 1]), truth_rows=np.array([0, 0, 1]), iou=np.array([0.7, 0.9, 0.65])
    )
    assert match_detections(overlaps, np.array([0.9, 0.8]), np.array([True, True])).tolist() == [True, False]
    # Where truth 0 lacks the class, truth 1 is the one of highest IoU.
    assert match_detections(overlaps, np.array([0.9, 0.8]), np.array([False, True])).tolist() == [False, True]


def test_classes_without_truths_or_detections(make_table: MakeTable) -> None:
    images = {"a": grid(12, 18, 6), "b": grid(6, 6, 6)}
    labels, confidences = np.zeros((7, NUM_CLASSES)), np.full((7, NUM_CLASSES), 0.5)
    labels[:, 0], labels[:6, 1] = 1, 1
    confidences[:, 1] = np.nan
    scores = challenge_average_precision(make_table(images, confidences), make_table(images, labels))
    assert scores["ap"][:2].tolist() == [1, 0]
    assert scores["ap"][2:].isna().all()
    assert scores["num_truths"].tolist() == [7, 6, *[0] * 17]
    assert scores["num_detections"].tolist() == [7, 0, *[7] * 17]
    assert np.isnan(scores["tie_share"][1])
    assert scores["class_key"].tolist() == list(make_table(images, labels).class_set.keys)
    assert mean_average_precision(scores) == 0.5


def test_nothing_true_gives_no_mean(make_table: MakeTable) -> None:
    images = {"a": grid(6, 12, 6)}
    scores = challenge_average_precision(make_table(images, [[0.5], [0.5]]), make_table(images, [[0], [0]]))
    assert np.isnan(mean_average_precision(scores))


@pytest.mark.parametrize("verified_only", [False, True])
def test_fields_without_cells(verified_only: bool, make_table: MakeTable) -> None:
    empty, full = np.zeros((6, 12), np.int32), grid(6, 12, 6)
    truth = make_table({"a": full, "b": empty, "c": empty}, [[1], [1]])
    predicted = make_table({"a": empty, "b": full, "c": empty}, [[0.9], [0.9]])
    scores = challenge_average_precision(predicted, truth, verified_only=verified_only)
    assert scores["ap"][0] == 0
    assert scores["num_detections"][0] == (0 if verified_only else 2)
    nobody = challenge_average_precision(*[make_table({"b": empty}, np.zeros((0, 1)))] * 2)
    assert nobody["ap"].isna().all()


def test_only_ranks_across_fields_matter(make_table: MakeTable) -> None:
    rng = np.random.default_rng(5)
    predicted, truth, _ = random_tables(rng, make_table)
    columns = Column.probabilities(predicted.class_set)
    monotone = predicted.cells.assign(**{column: predicted.cells[column] ** 3 for column in columns})
    same = CellTable(
        cells=monotone,
        fields=predicted.fields,
        class_set=predicted.class_set,
        provenance=predicted.provenance,
    )
    np.testing.assert_array_equal(
        challenge_average_precision(predicted, truth)["ap"], challenge_average_precision(same, truth)["ap"]
    )


def test_a_constant_confidence_depends_on_the_order_of_ties(make_table: MakeTable) -> None:
    images = {"a": grid(60, 60, 3)}
    labels = np.arange(400)[:, None] < 40
    predicted, truth = make_table(images, np.full((400, 1), 0.5)), make_table(images, labels)
    scores = challenge_average_precision(predicted, truth).iloc[0]
    assert (scores["ap"], scores["ap_best"], scores["tie_share"]) == (1, 1, 1)
    assert scores["ap_worst"] == pytest.approx(40 / 400)
    average = challenge_average_precision(predicted, truth, ties="average")["ap"][0]
    assert average == pytest.approx(0.1, abs=0.05)
    assert average == challenge_average_precision(predicted, truth, ties="average")["ap"][0]


def test_tables_that_do_not_fit_are_refused(make_table: MakeTable) -> None:
    wide, tall, names = grid(6, 12, 6), grid(12, 6, 6), [f"f{index}" for index in range(7)]
    table, cells = make_table({"a": wide}, [[1], [1]]), [[1]] * 14
    with pytest.raises(ValueError, match=r"7 predicted fields have no truth \(f0, f1, f2, f3, f4, \.\.\.\)"):
        challenge_average_precision(make_table(dict.fromkeys(names, wide), cells), table)
    with pytest.raises(ValueError, match=r"1 fields of the truth were not predicted \(b\)"):
        challenge_average_precision(table, make_table({"a": wide, "b": wide}, [[1]] * 4))
    with pytest.raises(ValueError, match=r"1 fields have another height or width than in the truth \(a\)"):
        challenge_average_precision(make_table({"a": tall}, [[1], [1]]), table)
    with pytest.raises(ValueError, match=r"classes of hpa2018, the truth those of hpa2021"):
        challenge_average_precision(make_table({"a": wide}, [[1], [1]], "hpa2018"), table)
    with pytest.raises(ValueError, match=r"IoU threshold is 0, expected above 0"):
        challenge_average_precision(table, table, iou_threshold=0)


def test_missing_fields_may_count_as_missed(make_table: MakeTable) -> None:
    wide = grid(6, 12, 6)
    predicted, truth = make_table({"a": wide}, [[1], [1]]), make_table({"a": wide, "b": wide}, [[1]] * 4)
    scores = challenge_average_precision(predicted, truth, missing_fields="no_cells")
    assert scores["ap"][0] == 0.5
    pairs = paired_fields(predicted, truth, missing_fields="no_cells")
    assert [(pair.field_id, len(pair.predicted_rows), len(pair.truth_rows)) for pair in pairs] == [
        ("a", 2, 2),
        ("b", 0, 2),
    ]
