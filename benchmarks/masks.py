"""From label images to what the table holds of masks, beside pycocotools and the original's way, in one run.

python benchmarks/masks.py                                  # made-up cells, of 1,024 to 8,192 px
python benchmarks/masks.py --masks DIR                      # label images of cells too
python benchmarks/masks.py --original CHECKOUT              # of CellProfiling/HPA-Cell-Segmentation

Ours is `mask_rows`: boxes, middles, areas, marks of the border and COCO run lengths of all cells and nuclei, of a label
image as it was found, at a quarter of the field's scale, and of the same enlarged. The peer is pycocotools, a cell at a
time: run lengths, areas and boxes. The original finds cells by its `label_cell`, from predictions made from the same
cells, and then needs pycocotools: it is beside our `label_cell` (of `segmenter=hpacellseg`) and `mask_rows`.

Before it is timed all is checked: both of ours for equality, and run lengths, areas and boxes by pycocotools.
Times are CPU time of one thread, medians of runs in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.table import Table
from scipy.spatial import KDTree

from hpa_cells.cells import MaskRows, mask_rows
from hpa_cells.cells.resizing import nearest_pixels
from hpa_cells.label_images import CoarseLabels
from hpa_cells.masks import paint_labels
from hpa_cells.table import Column
from hpa_cells.types import Segmentation

Labels = NDArray[np.int32]

FACTOR = 4
# Beyond this the peer takes minutes, and is linear in their number: measured on a sample.
MOST_OF_PEER = 50
# The original's predictions are made a cell at a time.
MOST_OF_ORIGINAL = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--masks", type=Path, default=default_masks(), help="folder of label images (default: %(default)s)"
    )
    parser.add_argument("--original", type=Path, help="checkout with hpacellseg/")
    parser.add_argument(
        "--original-side", type=int, default=2048, help="side up to which it is run (default: %(default)s)"
    )
    sides, numbers = [1024, 2048, 4096, 8192], [10, 100, 1000, 10000]
    parser.add_argument("--sides", type=int, nargs="*", default=sides, help="in px (default: %(default)s)")
    parser.add_argument("--cells", type=int, nargs="*", default=numbers, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)

    table = Table(title="CPU ms, medians", title_justify="left")
    columns = ("px", "cells", "as found", "enlarged", "pycocotools", "by ours", "way back")
    if arguments.original:
        columns += ("label_cell", "original's", "all by ours")
    for column in ("label image", *columns):
        table.add_column(column, justify="left" if column == "label image" else "right")
    console = Console(width=140)
    for name, labels in label_images(arguments):
        console.print(f"Measuring {name} of {len(labels) * FACTOR} px ...", style="dim")
        is_run = arguments.original and len(labels) * FACTOR <= arguments.original_side
        table.add_row(name, *measure(labels, arguments.repeats, arguments.original if is_run else None))
    console.print(table)


def default_masks() -> Path | None:
    """The real masks, where the environment names a folder of real data."""
    folder = os.environ.get("HPA_CELLS_REAL_DATA")
    return Path(folder, "hpa2021", "masks") if folder else None


def label_images(arguments: argparse.Namespace) -> Iterator[tuple[str, Labels]]:
    """At a quarter of the field's scale: real ones where there are any, then made-up ones."""
    for path in sorted(arguments.masks.glob("*_cells.png")) if arguments.masks else []:
        large = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32)
        yield (
            f"real, {path.name[:8]}",
            np.ascontiguousarray(large[FACTOR // 2 :: FACTOR, FACTOR // 2 :: FACTOR]),
        )
    for side in arguments.sides:
        for number in arguments.cells:
            yield "made up", voronoi(side // FACTOR, number)


def voronoi(side: int, num_cells: int) -> Labels:
    """(side, side) int32, cells around random points, ids from 1, with background where no point is near."""
    points = np.random.default_rng(num_cells).uniform(0, side, (num_cells, 2))
    pixels = np.stack(np.indices((side, side)), axis=-1).reshape(-1, 2)
    reach = 0.8 * side / np.sqrt(num_cells)
    nearest = KDTree(points).query(pixels, distance_upper_bound=reach)[1]
    return np.where(nearest < num_cells, nearest + 1, 0).astype(np.int32).reshape(side, side)


def measure(labels: Labels, repeats: int, original: Path | None) -> list[str]:
    """One row of the table."""
    rows, columns = (nearest_pixels(side, FACTOR * side) for side in labels.shape)
    coarse = CoarseLabels(cells=labels, nuclei=inner(labels), rows=rows, columns=columns)
    cells, nuclei = coarse.enlarged(coarse.cells), coarse.enlarged(coarse.nuclei)

    def as_found() -> MaskRows:
        return mask_rows(Segmentation.enlarged(coarse, field_id="f", pixel_size_um=0.08))

    def enlarged() -> MaskRows:
        return mask_rows(Segmentation(field_id="f", cells=cells, nuclei=nuclei, pixel_size_um=0.08))

    found = as_found()
    sample = found.cell_ids[:: max(1, len(found.cell_ids) // MOST_OF_PEER)]
    check(found, enlarged(), cells, nuclei, sample)
    counts = [each.encode() for each in found.cells[Column.CELL_RLE]]
    found_s, enlarged_s, peer_s, back_s = medians_s(
        as_found,
        enlarged,
        lambda: (one_by_one(cells, sample), one_by_one(nuclei, sample)),
        lambda: paint_labels(found.cell_ids, counts, *cells.shape),
        repeats=repeats,
    )
    peer_s *= len(found.cell_ids) / len(sample)
    row = [
        str(len(cells)),
        str(len(found.cell_ids)),
        *(f"{1e3 * each:.1f}" for each in (found_s, enlarged_s)),
        f"{1e3 * peer_s:.0f}",
        f"{peer_s / found_s:.0f}",
        f"{1e3 * back_s:.1f}",
    ]
    if original is None or len(found.cell_ids) > MOST_OF_ORIGINAL:
        return row
    ours_s, theirs_s = label_cells_s(original, cells)
    ratio = (theirs_s + peer_s) / (ours_s + found_s)
    return [*row, f"{1e3 * ours_s:.0f}", f"{1e3 * theirs_s:.0f}", f"{ratio:.0f}"]


def inner(labels: Labels) -> Labels:
    """`labels` less the pixels that are not their own all around: as if these were nuclei."""
    around = np.ones((5, 5), dtype=np.uint8)
    values = labels.astype(np.float32)
    own = (cv2.erode(values, around) == values) & (cv2.dilate(values, around) == values)
    return np.where(own, labels, 0).astype(np.int32)


def check(found: MaskRows, enlarged: MaskRows, cells: Labels, nuclei: Labels, sample: Labels) -> None:
    """Refuse to time what is not equal."""
    for name, values in enlarged.cells.items():
        np.testing.assert_array_equal(found.cells[name], values, err_msg=name)
    places = np.searchsorted(found.cell_ids, sample)
    box_columns = (Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX)
    boxes = np.stack([found.cells[each] for each in box_columns], axis=1)
    for place, (counts, area, box) in zip(places, one_by_one(cells, sample), strict=True):
        assert counts.decode() == found.cells[Column.CELL_RLE][place]
        assert area == found.cells[Column.AREA_PX][place]
        assert box == boxes[place].tolist()
    for place, (counts, area, _) in zip(places, one_by_one(nuclei, sample), strict=True):
        assert area == found.cells[Column.NUCLEUS_AREA_PX][place]
        assert not area or counts.decode() == found.cells[Column.NUCLEUS_RLE][place]


def one_by_one(labels: Labels, ids: Labels) -> list[tuple[bytes, int, list[float]]]:
    """Counts, area and box of each cell by pycocotools; the label image is laid out for it only once."""
    by_columns = np.asfortranarray(labels)
    masks = [coco_mask.encode((by_columns == cell_id).view(np.uint8)) for cell_id in ids]
    return [(each["counts"], int(coco_mask.area(each)), coco_mask.toBbox(each).tolist()) for each in masks]


def label_cells_s(checkout: Path, cells: Labels) -> tuple[float, float]:
    """CPU seconds of our and of the original's `label_cell`."""
    import hpacellseg_labels

    theirs = hpacellseg_labels.load_original(checkout, overflows=True)
    [small] = hpacellseg_labels.from_labels([cells])
    size = cells.shape[::-1]
    predictions: list[Any] = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in small]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours_s, theirs_s = medians_s(
            lambda: hpacellseg_labels.label_cell(*predictions),
            lambda: theirs.label_cell(*predictions),
            repeats=1,
        )
    return ours_s, theirs_s


def medians_s(*works: Callable[[], object], repeats: int) -> list[float]:
    """Median CPU seconds of each, run in turn."""
    times_s: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, seconds in zip(works, times_s, strict=True):
            start_s = time.thread_time()
            work()
            seconds.append(time.thread_time() - start_s)
    return [statistics.median(each) for each in times_s]


if __name__ == "__main__":
    main()
