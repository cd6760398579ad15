"""Encoding a label image as one COCO mask a cell: ours in one pass against pycocotools, a cell at a time.

python benchmarks/rle.py --masks DIR     # label images to measure on, besides made-up ones
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.table import Table
from scipy.spatial import KDTree

from hpa_cells.masks import encode_labels, paint_labels

Labels = NDArray[np.int32]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--masks", type=Path, default=default_masks(), help="folder of label images (default: %(default)s)"
    )
    parser.add_argument(
        "--side", type=int, default=2048, help="side of made-up label images, in px (default: %(default)s)"
    )
    parser.add_argument(
        "--cells",
        type=int,
        nargs="*",
        default=[10, 100, 1000, 10000],
        help="cells of made-up ones (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs of each; the median counts (default: %(default)s)"
    )
    arguments = parser.parse_args()

    table = Table(title="Process CPU time, median", title_justify="left")
    for column in ("label image", "size, px", "cells", "ours, ms", "pycocotools, ms", "ratio", "back, ms"):
        table.add_column(column, justify="left" if column == "label image" else "right")
    console = Console(width=100)
    for name, labels in label_images(arguments):
        console.print(f"Measuring {name} ...", style="dim")
        table.add_row(name, *measure(labels, arguments.repeats))
    console.print(table)


def default_masks() -> Path | None:
    """The real masks, where the environment names a folder of real data."""
    folder = os.environ.get("HPA_CELLS_REAL_DATA")
    return Path(folder, "hpa2021", "masks") if folder else None


def label_images(arguments: argparse.Namespace) -> list[tuple[str, Labels]]:
    """Real label images where there are any, then Voronoi ones of each number of cells."""
    paths = sorted(arguments.masks.glob("*_cells.png")) if arguments.masks else []
    real = [
        (f"real, {path.name[:8]}", cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32))
        for path in paths
    ]
    return real + [(f"made up, {number}", voronoi(arguments.side, number)) for number in arguments.cells]


def voronoi(side: int, num_cells: int) -> Labels:
    """(side, side) int32, cells around random points, ids from 1, with background where no point is near."""
    points = np.random.default_rng(num_cells).uniform(0, side, (num_cells, 2))
    pixels = np.stack(np.indices((side, side)), axis=-1).reshape(-1, 2)
    reach = 0.8 * side / np.sqrt(num_cells)
    nearest = KDTree(points).query(pixels, distance_upper_bound=reach)[1]
    return np.where(nearest < num_cells, nearest + 1, 0).astype(np.int32).reshape(side, side)


def measure(labels: Labels, repeats: int) -> list[str]:
    """One row of the table, after a check that both give the same bytes."""
    ids, counts = encode_labels(labels)
    # Beyond a few hundred cells the peer takes minutes and is linear in their number: measured on a sample.
    sample = ids[:: max(1, len(ids) // 200)]
    peer = one_by_one(labels, sample)
    if peer != [counts[index] for index in np.searchsorted(ids, sample)]:
        raise AssertionError("Our counts differ from those of pycocotools.")
    ours_s = median_s(lambda: encode_labels(labels), repeats)
    peer_s = median_s(lambda: one_by_one(labels, sample), min(repeats, 3)) * len(ids) / len(sample)
    back_s = median_s(lambda: paint_labels(ids, counts, *labels.shape), repeats)
    size = f"{labels.shape[0]}x{labels.shape[1]}"
    return [
        size,
        str(len(ids)),
        f"{1e3 * ours_s:.1f}",
        f"{1e3 * peer_s:.0f}",
        f"{peer_s / ours_s:.0f}",
        f"{1e3 * back_s:.1f}",
    ]


def one_by_one(labels: Labels, ids: NDArray[np.int32]) -> list[bytes]:
    """The counts of each cell as pycocotools gives them; the label image is laid out for it only once."""
    by_columns = np.asfortranarray(labels)
    return [coco_mask.encode((by_columns == cell_id).view(np.uint8))["counts"] for cell_id in ids]


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of this process over some runs, in s."""
    times_s = []
    for _ in range(repeats):
        start_s = time.process_time()
        work()
        times_s.append(time.process_time() - start_s)
    return statistics.median(times_s)


if __name__ == "__main__":
    main()
