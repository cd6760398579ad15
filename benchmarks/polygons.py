"""Outlines of 100,000 cells, and GeoJSON of them, beside OpenCV and shapely a cell at a time, in one run.

python benchmarks/polygons.py                               # simulated label images of 2,048 px, 100 cells each
python benchmarks/polygons.py --cells 10000 --cells-a-field 20

Ours is `trace_masks`, from the run lengths of a field's cells to exact and valid polygons. The peers begin with the
same run lengths, painted as a label image, and take its cells one by one, cut out at their boxes: `cv2.findContours`,
which goes through the centres of the outermost pixels, so that areas come out too small; and shapely, which joins a
rectangle a run. Beside the time is what is true of the polygons of a field: how many are valid, and the least IoU with
the mask, by the pixels whose centres are inside.

The lower table is `write_geojson` and `read_geojson` of whole tables, with nuclei and 19 probabilities a cell, and the
command with two processes, from its start.
Times are CPU time of one thread; medians over fields, times their number.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import find_objects
from scipy.spatial import KDTree

import hpa_cells
from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.export import read_geojson, write_geojson
from hpa_cells.masks import encode_labels, fill_polygons, paint_labels, pairwise_iou, simplified, trace_masks
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

# More say nothing new of reading, and of fewer corners.
FEW_FIELDS = 50
CLASSES = get_class_set("hpa2021")
Found = list[Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=100_000, help="that ours traces (default: %(default)s)")
    parser.add_argument("--cells-a-field", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=2048, help="of a field, in px (default: %(default)s)")
    parser.add_argument("--layouts", type=int, default=6, help="different fields (default: %(default)s)")
    parser.add_argument("--peer-fields", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)

    side, per_field = arguments.side, arguments.cells_a_field
    num_fields = -(-arguments.cells // per_field)
    layouts = [label_image(side, per_field, seed) for seed in range(arguments.layouts)]
    counts = [encode_labels(labels)[1] for labels in layouts]
    console = Console(width=120)
    outlines = Table(
        title=f"Outlines of {num_fields} fields of {side} px, {per_field} cells each", title_justify="left"
    )
    for column in (
        "",
        "fields",
        "ms a field",
        f"s for {arguments.cells:,}",
        "corners a cell",
        "valid",
        "least IoU",
    ):
        outlines.add_column(column, justify="right" if column else "left")
    rows: list[tuple[str, Callable[[list[bytes]], Found], int]] = [
        ("ours, exact", lambda each: ours(each, side, 0.0), num_fields),
        ("ours, tolerance 1 px", lambda each: ours(each, side, 1.0), min(num_fields, FEW_FIELDS)),
        ("cv2.findContours a cell", lambda each: opencv(each, side), arguments.peer_fields),
        ("shapely, rectangles joined", lambda each: joined(each, side), arguments.peer_fields),
    ]
    for name, work, number in rows:
        console.print(f"Tracing {number} fields: {name} ...", style="dim")
        outlines.add_row(name, *traced(work, counts, number, num_fields, side))
    console.print(outlines)

    console.print("Writing and reading GeoJSON ...", style="dim")
    console.print(whole_files(layouts, num_fields))


def label_image(side: int, number: int, seed: int) -> NDArray[np.int32]:
    """Cells that touch, with wavy borders."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, side, (number, 2))
    waves = [
        cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 6) * 40 for _ in "yx"
    ]
    pixels = np.stack(np.indices((side, side)), axis=-1) + np.stack(waves, axis=-1)
    nearest = KDTree(points).query(pixels.reshape(-1, 2), distance_upper_bound=0.6 * side / np.sqrt(number))[
        1
    ]
    return np.where(nearest < number, nearest + 1, 0).astype(np.int32).reshape(side, side)


def ours(counts: list[bytes], side: int, tolerance_px: float) -> list[list[list[NDArray[np.int32]]]]:
    return [simplified(each, tolerance_px) for each in trace_masks(counts, side, side).polygons()]


def opencv(counts: list[bytes], side: int) -> list[list[list[NDArray[np.int32]]]]:
    """A shell and its holes as OpenCV's hierarchy has them."""
    found = []
    for mask, left, top in cut_out(counts, side):
        contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        moved = [each[:, 0] + (left, top) for each in contours]
        shells = [index for index in range(len(moved)) if hierarchy[0][index][3] < 0]
        found.append(
            [
                [moved[shell], *(moved[i] for i in range(len(moved)) if hierarchy[0][i][3] == shell)]
                for shell in shells
            ]
        )
    return found


def joined(counts: list[bytes], side: int) -> list[shapely.Geometry]:
    """A rectangle for each run along a row, all of a cell joined."""
    found = []
    for mask, left, top in cut_out(counts, side):
        edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        rows, starts = np.nonzero(edges == 1)
        stops = np.nonzero(edges == -1)[1]
        boxes = shapely.box(starts + left, rows + top, stops + left, rows + top + 1)
        found.append(shapely.union_all(boxes))
    return found


def cut_out(counts: list[bytes], side: int) -> list[tuple[NDArray[np.uint8], int, int]]:
    """The mask of each cell in its box, from a label image."""
    labels = paint_labels(range(1, len(counts) + 1), counts, side, side)
    return [
        (np.ascontiguousarray(labels[box] == number, dtype=np.uint8), box[1].start, box[0].start)
        for number, box in enumerate(find_objects(labels), start=1)
    ]


def traced(
    work: Callable[[list[bytes]], Found],
    counts: list[list[bytes]],
    number: int,
    num_fields: int,
    side: int,
) -> tuple[str, ...]:
    """The row of the table after its name."""
    times_s = []
    found: Found = []
    for index in range(number):
        start_s = time.thread_time()
        found = work(counts[index % len(counts)])
        times_s.append(time.thread_time() - start_s)
    masks = counts[(number - 1) % len(counts)]
    geometries = [as_geometry(each) for each in found]
    rings = [[np.asarray(ring.coords) for ring in rings_of(each)] for each in geometries]
    filled = fill_polygons(rings, side, side)
    pairs = [(a, b) for a, b in zip(masks, filled, strict=True) if b]
    iou = [pairwise_iou([a], [b], side, side)[0, 0] for a, b in pairs]
    median_s = statistics.median(times_s)
    return (
        str(number),
        f"{1e3 * median_s:.1f}",
        f"{median_s * num_fields:.1f}",
        f"{np.mean([sum(map(len, each)) for each in rings]):.0f}",
        f"{np.mean([each.is_valid for each in geometries]):.1%}",
        f"{min(iou):.4f}",
    )


def as_geometry(found: object) -> shapely.Geometry:
    if isinstance(found, shapely.Geometry):
        return found
    assert isinstance(found, list)
    polygons = [[ring for ring in polygon if len(ring) > 2] for polygon in found]
    return shapely.MultiPolygon([(rings[0], rings[1:]) for rings in polygons if rings])


def rings_of(geometry: shapely.Geometry) -> list[shapely.LinearRing]:
    polygons = getattr(geometry, "geoms", [geometry])
    return [ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]


def whole_files(layouts: list[NDArray[np.int32]], num_fields: int) -> Table:
    table = Table(title="GeoJSON", title_justify="left")
    for column in ("", "cells", "s of CPU", "s", "MB"):
        table.add_column(column, justify="right" if column else "left")
    with tempfile.TemporaryDirectory() as folder:
        cells = cell_table(layouts, num_fields, Path(folder, "run"))
        exact, fewer = Path(folder, "exact"), Path(folder, "fewer")
        spent = timed(lambda: write_geojson(cells, exact))
        table.add_row("write, exact", f"{len(cells.cells):,}", *spent, megabytes(exact))
        told = {"table": Path(folder, "run"), "format": "geojson", "overrides": ["workers=2"]}
        spent = timed(lambda: hpa_cells.export(out=Path(folder, "two"), **told))
        row = ("export, workers=2", f"{len(cells.cells):,}", "", spent[1], megabytes(Path(folder, "two")))
        table.add_row(*row)
        shutil.rmtree(Path(folder, "two"))
        some = of_fields(cells, FEW_FIELDS)
        spent = timed(lambda: write_geojson(some, fewer, tolerance_px=1.0))
        table.add_row("write, tolerance 1 px", f"{len(some.cells):,}", *spent, megabytes(fewer))
        shutil.rmtree(fewer)
        for path in sorted(exact.iterdir())[FEW_FIELDS:]:
            path.unlink()
        read: list[int] = []
        spent = timed(lambda: read.extend(len(read_geojson(path).cells) for path in exact.iterdir()))
        table.add_row("read, exact", f"{sum(read):,}", *spent, megabytes(exact))
    return table


def of_fields(table: CellTable, number: int) -> CellTable:
    """The first fields of a table."""
    fields = table.fields.iloc[:number]
    is_of_them = table.cells[Column.FIELD_ID].isin(fields[Column.FIELD_ID])
    return replace(table, cells=table.cells[is_of_them].reset_index(drop=True), fields=fields)


def megabytes(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.0f}"


def timed(work: Callable[[], object]) -> tuple[str, str]:
    """CPU seconds of the process, and seconds."""
    start_cpu_s, start_s = time.process_time(), time.perf_counter()
    work()
    return f"{time.process_time() - start_cpu_s:.1f}", f"{time.perf_counter() - start_s:.1f}"


def cell_table(layouts: list[NDArray[np.int32]], num_fields: int, folder: Path) -> CellTable:
    """The layouts in turn, each cell with a nucleus and random probabilities."""
    rng = np.random.default_rng(0)
    with TableWriter(
        folder, provenance=Provenance(version="0", class_set=CLASSES.name, source="benchmark")
    ) as writer:
        rows = []
        for labels in layouts:
            inner = cv2.erode((labels > 0).astype(np.uint8), np.ones((41, 41), np.uint8))
            nuclei = np.where(inner, labels, 0).astype(np.int32)
            found = Segmentation(
                field_id="f",
                cells=labels,
                nuclei=nuclei,
                pixel_size_um=0.08,
            )
            num = len(found.cell_ids)
            scores = CellScores(
                field_id="f",
                class_set=CLASSES,
                cell_ids=found.cell_ids,
                probabilities=rng.random((num, len(CLASSES)), dtype=np.float32),
                field_probabilities=rng.random(len(CLASSES), dtype=np.float32),
                embeddings=np.zeros((num, 0), dtype=np.float32),
            )
            rows.append((cell_rows(found, scores), field_row(found, scores)))
        for index in range(num_fields):
            cells, own = rows[index % len(rows)]
            name = {"field_id": f"field{index:06d}"}
            writer.add(cells=cells.assign(**name), field_row=own | name)
    return read_table(folder)


if __name__ == "__main__":
    main()
