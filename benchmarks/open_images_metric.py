"""Scoring the 2021 metric on simulated tables: ours on all fields, COCOeval and a plain loop on some of them.

python benchmarks/open_images_metric.py --fields 1776 --cells 40
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table
from scipy.spatial import KDTree

from hpa_cells.classes import get_class_set
from hpa_cells.masks import encode_labels
from hpa_cells.metrics import CHALLENGE_IOU, challenge_average_precision
from hpa_cells.table import CellTable, Column, Provenance

CLASSES = get_class_set("hpa2021")
NUM_LAYOUTS = 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fields", type=int, default=1776, help="fields that ours scores (default: %(default)s)"
    )
    parser.add_argument("--cells", type=int, default=40, help="cells a field (default: %(default)s)")
    parser.add_argument(
        "--side", type=int, default=2048, help="side of a field, in px (default: %(default)s)"
    )
    parser.add_argument(
        "--peer-fields", type=int, default=40, help="fields that the peers score (default: %(default)s)"
    )
    arguments = parser.parse_args()

    layouts = [field_layout(arguments.side, arguments.cells, seed) for seed in range(NUM_LAYOUTS)]
    tables = simulated_tables(layouts, arguments.fields, arguments.side)
    few = simulated_tables(layouts, arguments.peer_fields, arguments.side)
    rows: list[tuple[str, int, Callable[[], NDArray[np.float64]]]] = [
        ("ours", arguments.fields, lambda: ours(*tables)),
        ("ours, ties averaged", arguments.fields, lambda: ours(*tables, ties="average")),
        ("ours", arguments.peer_fields, lambda: ours(*few)),
        ("COCOeval", arguments.peer_fields, lambda: coco_eval(*few)),
        ("plain loop", arguments.peer_fields, lambda: plain_loop(*few)),
    ]
    table = Table(title=f"{arguments.cells} cells a field, {len(CLASSES)} classes; process CPU time")
    for column in ("", "fields", "s", "ms a field", "mAP"):
        table.add_column(column, justify="right" if column else "left")
    console = Console()
    for name, num_fields, work in rows:
        console.print(f"Scoring {num_fields} fields: {name} ...", style="dim")
        start_s = time.process_time()
        ap_K = work()
        spent_s = time.process_time() - start_s
        table.add_row(
            name, str(num_fields), f"{spent_s:.2f}", f"{1e3 * spent_s / num_fields:.2f}", f"{ap_K.mean():.9f}"
        )
    console.print(table)


def field_layout(side: int, num_cells: int, seed: int) -> tuple[list[str], list[str]]:
    """Masks of predicted and of true cells of a field; the predicted ones are off by some px."""
    points = np.random.default_rng(seed).uniform(0, side, (num_cells, 2))
    pixels = np.stack(np.indices((side, side)), axis=-1).reshape(-1, 2)
    reach = 0.8 * side / np.sqrt(num_cells)
    nearest = KDTree(points).query(pixels, distance_upper_bound=reach)[1]
    truth = np.where(nearest < num_cells, nearest + 1, 0).astype(np.int32).reshape(side, side)
    predicted = np.roll(truth, (side // 64, side // 48), axis=(0, 1))
    masks_of_both = ([each.decode() for each in encode_labels(labels)[1]] for labels in (predicted, truth))
    predicted_masks, truth_masks = masks_of_both
    return predicted_masks, truth_masks


def simulated_tables(
    layouts: list[tuple[list[str], list[str]]], num_fields: int, side: int
) -> tuple[CellTable, CellTable]:
    """A prediction and a truth: masks from the layouts in turn, labels and confidences at random."""
    rng = np.random.default_rng(0)
    chosen = [layouts[index % len(layouts)] for index in range(num_fields)]
    tables = []
    for is_truth in (False, True):
        masks = [layout[is_truth] for layout in chosen]
        probabilities = rng.random((sum(map(len, masks)), len(CLASSES)), dtype=np.float32)
        tables.append(cell_table(masks, (probabilities < 0.1) if is_truth else probabilities, side))
    return tables[0], tables[1]


def cell_table(masks: list[list[str]], probabilities: NDArray[np.generic], side: int) -> CellTable:
    """A cell table with the columns that scoring reads."""
    names = [f"field{index:05d}" for index in range(len(masks))]
    cells = pd.DataFrame(
        {
            Column.FIELD_ID: np.repeat(names, [len(each) for each in masks]),
            Column.CELL_ID: np.concatenate([np.arange(1, len(each) + 1) for each in masks]),
            Column.CELL_RLE: [mask for each in masks for mask in each],
        }
    )
    scores = pd.DataFrame(probabilities.astype(np.float32), columns=Column.probabilities(CLASSES))
    fields = pd.DataFrame({Column.FIELD_ID: names, Column.HEIGHT_PX: side, Column.WIDTH_PX: side})
    provenance = Provenance(version="benchmark", class_set=CLASSES.name, source="simulation")
    return CellTable(
        cells=pd.concat([cells, scores], axis=1), fields=fields, class_set=CLASSES, provenance=provenance
    )


def ours(predicted: CellTable, truth: CellTable, **options: str) -> NDArray[np.float64]:
    """AP a class of hpa_cells."""
    return challenge_average_precision(predicted, truth, **options)["ap"].to_numpy()


def coco_eval(predicted: CellTable, truth: CellTable) -> NDArray[np.float64]:
    """AP a class of pycocotools, at all recalls (see ``tests/metrics/test_open_images.py``)."""
    image_ids = {name: index + 1 for index, name in enumerate(truth.fields[Column.FIELD_ID])}
    side = int(truth.fields[Column.HEIGHT_PX].iloc[0])
    annotations: dict[bool, list[dict[str, object]]] = {False: [], True: []}
    for is_truth, table in ((False, predicted), (True, truth)):
        cells = zip(
            table.cells[Column.FIELD_ID], table.cells[Column.CELL_RLE], table.probabilities(), strict=True
        )
        for field_id, rle, scores in cells:
            mask = {"size": [side, side], "counts": rle.encode()}
            shared = {"image_id": image_ids[field_id], "segmentation": mask, "area": 1, "iscrowd": 0}
            for class_index in np.flatnonzero(scores > (0.5 if is_truth else -1)):
                one = shared | {"category_id": int(class_index) + 1, "score": float(scores[class_index])}
                annotations[is_truth].append(one | {"id": len(annotations[is_truth]) + 1})
    images = [{"id": index, "height": side, "width": side} for index in image_ids.values()]
    categories = [{"id": index + 1} for index in range(len(CLASSES))]
    areas = []
    with contextlib.redirect_stdout(io.StringIO()):
        both = [COCO(), COCO()]
        for coco, is_truth in zip(both, (True, False), strict=True):
            coco.dataset = {"images": images, "categories": categories, "annotations": annotations[is_truth]}
            coco.createIndex()
        evaluation = COCOeval(*both, "segm")
        evaluation.params.iouThrs = np.array([CHALLENGE_IOU])
        evaluation.params.maxDets = [10**9]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        for category in range(len(CLASSES)):
            num_truths = int((truth.probabilities()[:, category] > 0.5).sum())
            evaluation.params.recThrs = np.arange(1, num_truths + 1) / num_truths
            evaluation.accumulate()
            areas.append(evaluation.eval["precision"][0, :, category, 0, 0].mean())
    return np.array(areas)


def plain_loop(predicted: CellTable, truth: CellTable) -> NDArray[np.float64]:
    """AP a class, one detection at a time, with the IoU of pycocotools."""
    side = int(truth.fields[Column.HEIGHT_PX].iloc[0])
    areas = []
    for column in Column.probabilities(CLASSES):
        pooled: list[tuple[float, bool]] = []
        num_truths = 0
        for field_id in truth.fields[Column.FIELD_ID]:
            found = predicted.cells[predicted.cells[Column.FIELD_ID] == field_id].sort_values(
                column, ascending=False
            )
            true = truth.cells[(truth.cells[Column.FIELD_ID] == field_id) & (truth.cells[column] == 1)]
            num_truths += len(true)
            masks = [
                [{"size": [side, side], "counts": rle.encode()} for rle in rows[Column.CELL_RLE]]
                for rows in (found, true)
            ]
            iou = np.asarray(coco_mask.iou(*masks, [False] * len(true))).reshape(len(found), len(true))
            free = set(range(len(true)))
            for overlaps, confidence in zip(iou, found[column], strict=True):
                best = int(overlaps.argmax()) if len(true) else -1
                is_match = best in free and overlaps[best] >= CHALLENGE_IOU
                free -= {best} if is_match else set()
                pooled.append((confidence, is_match))
        pooled.sort(key=lambda each: -each[0])
        areas.append(plain_area([is_match for _, is_match in pooled], num_truths))
    return np.array(areas)


def plain_area(is_match: list[bool], num_truths: int) -> float:
    """Area under the envelope of precision over recall."""
    precision = np.cumsum(is_match) / (1 + np.arange(len(is_match)))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[np.array(is_match)].sum() / num_truths)


if __name__ == "__main__":
    main()
