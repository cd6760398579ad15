"""`label_cell` and `label_nuclei` beside the original's own code, in one run.

python benchmarks/hpacellseg_labels.py CHECKOUT                   # of CellProfiling/HPA-Cell-Segmentation
python benchmarks/hpacellseg_labels.py CHECKOUT --masks DIR       # also label images of cells, DIR/*_cells.png
python benchmarks/hpacellseg_labels.py CHECKOUT --record          # writes the recorded cases of the tests

Predictions are made from the true cells and nuclei of simulated fields: soft at the edges, noisy, with faint
borders and with holes, at 512 px, and then enlarged to 2048 px as the original does. The original is changed in two
ways so that it runs on today's libraries: the type ``np.bool`` and the name of the argument for small areas. Where
it differs from the exact mode, it is run again with its 8-bit sums and casts replaced: then it must not differ.

Times are of the CPU, on one thread.
"""

from __future__ import annotations

import argparse
import re
import runpy
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation.hpacellseg import label_cell, label_nuclei
from hpa_cells.simulation import Recipe, simulate_field

TESTS = Path(__file__).parents[1] / "tests" / "segmentation" / "hpacellseg"
RECORD = TESTS / "recorded_labels.png"
MADE_UP = runpy.run_path(str(TESTS / "made_up_predictions.py"))
SIDE_PX, UM_PER_PX, FACTOR = 512, 0.32, 4
MIN_F1, MIN_TIMES_FASTER = 0.98, 25

# What the original does in 8 bits, and the same without.
OVERFLOWS = {
    "(nuclei_pred[..., 1] + cell_pred[..., 1])": "(nuclei_pred[..., 1].astype(int) + cell_pred[..., 1])",
    "cell_label = remove_small_objects(cell_label, max_size=5500 - 1).astype(np.uint8)": (
        "cell_label = remove_small_objects(cell_label, max_size=5500 - 1)"
    ),
}

Labels = NDArray[np.int32]
Prediction = NDArray[np.uint8]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="folder with hpacellseg/")
    parser.add_argument("--fields", type=int, default=50, help="simulated fields (default: %(default)s)")
    parser.add_argument("--masks", type=Path, help="folder of label images of real cells at 0.08 um a pixel")
    parser.add_argument(
        "--record", action="store_true", help=f"write {RECORD.name} from the original's labels"
    )
    arguments = parser.parse_args()
    original = load_original(arguments.checkout, overflows=True)
    if arguments.record:
        return record(original)
    cv2.setNumThreads(1)
    without_overflows = load_original(arguments.checkout, overflows=False)
    passed = report("simulated", simulated(arguments.fields), arguments.fields, original, without_overflows)
    if arguments.masks is not None:
        paths = sorted(arguments.masks.glob("*_cells.png"))
        passed &= report("from masks", from_masks(paths), len(paths), original, without_overflows)
    return int(not passed)


def load_original(checkout: Path, *, overflows: bool) -> Any:
    text = (checkout / "hpacellseg" / "utils.py").read_text(encoding="utf-8")
    text = re.sub(r"\bnp\.bool\b", "bool", text)
    # "smaller than" of then is "at most one less" of now
    text = re.sub(
        r"(?m)^(?!\s*#)(.*remove_small_(?:objects|holes)\()(\w+), (\w+)\)", r"\1\2, max_size=\3 - 1)", text
    )
    for found, wanted in OVERFLOWS.items() if not overflows else ():
        if found not in text:
            raise ValueError(f"{checkout} is another version of the original: it lacks {found!r}.")
        text = text.replace(found, wanted)
    module = types.ModuleType("hpacellseg_utils")
    exec(compile(text, str(checkout), "exec"), module.__dict__)
    return module


def simulated(num_fields: int) -> Iterator[tuple[Prediction, Prediction]]:
    """Predictions for nuclei and cells, at the resolution of the networks."""
    recipe = Recipe(seed=11, height_px=SIDE_PX, width_px=SIDE_PX, pixel_size_um=UM_PER_PX)
    for index in range(num_fields):
        truth = simulate_field(recipe, index).segmentation
        rng = np.random.default_rng(index)
        yield soft_prediction(truth.nuclei, rng), soft_prediction(truth.cells, rng)


def from_masks(paths: list[Path]) -> Iterator[tuple[Prediction, Prediction]]:
    """The same from label images of cells; for the nucleus, the inner part of each cell."""
    yield from from_labels([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths])


def from_labels(images: list[NDArray[Any]]) -> Iterator[tuple[Prediction, Prediction]]:
    for index, cells in enumerate(images):
        side = tuple(round(px / FACTOR) for px in cells.shape[::-1])
        cells = cv2.resize(cells, side, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)
        rng = np.random.default_rng(index)
        yield soft_prediction(inner_parts(cells), rng), soft_prediction(cells, rng)


def inner_parts(cells: Labels) -> Labels:
    nuclei = np.zeros_like(cells)
    for cell_id in np.unique(cells[cells > 0]):
        depth = cv2.distanceTransform((cells == cell_id).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        nuclei[depth > 0.4 * depth.max()] = cell_id
    return nuclei


def soft_prediction(labels: Labels, rng: np.random.Generator) -> Prediction:
    """(h, w, 3) uint8 from label images (h, w), as a network that is sure of most would give it."""
    ids = labels.astype(np.float32)
    square = np.ones((3, 3), dtype=np.uint8)
    highest = cv2.dilate(ids, square)
    lowest = cv2.erode(np.where(ids > 0, ids, np.inf).astype(np.float32), square)
    is_border = (highest != lowest) & (highest > 0) & np.isfinite(lowest)
    inside = (labels > 0) & ~is_border

    def blurred(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0))

    def noise(blur_px: float) -> NDArray[np.float32]:
        rough = rng.standard_normal(labels.shape).astype(np.float32)
        smooth = np.asarray(cv2.GaussianBlur(rough, (0, 0), blur_px))
        return smooth / smooth.std()

    faint, holes = np.clip(noise(12) - 0.8, 0, 1.5), np.clip(noise(4) - 3, 0, 1)
    borders = 16 * blurred(is_border) - 8 + noise(2) - 4 * faint
    interiors = 18 * blurred(inside) - 9 + 1.5 * noise(3) - 14 * holes
    logits = np.stack([np.zeros_like(borders), borders, interiors], axis=-1)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    prediction: Prediction = np.rint(255 * odds / odds.sum(axis=-1, keepdims=True)).astype(np.uint8)
    prediction[..., 0] = 0
    return prediction


@dataclass(kw_only=True, slots=True)
class Comparison:
    """Labels of one function over all fields."""

    times_s: dict[str, list[float]] = field(
        default_factory=lambda: {"original": [], "exact": [], "default": []}
    )
    default_and_exact: list[tuple[Labels, Labels]] = field(default_factory=list)
    exact_and_original: list[tuple[Labels, Labels]] = field(default_factory=list)
    num_fields_changed: int = 0
    num_fields_unexplained: int = 0

    def add(
        self,
        ours: Callable[..., Any],
        theirs: Callable[..., Any],
        theirs_without_overflows: Callable[..., Any],
        predictions: list[Prediction],
    ) -> None:
        """Run all of them on the predictions of a field."""
        original = self._timed("original", lambda: theirs(*predictions))
        exact = self._timed("exact", lambda: ours(*predictions, exact=True))
        default = self._timed("default", lambda: ours(*predictions))
        if not same(exact, original):
            self.num_fields_changed += 1
            self.num_fields_unexplained += not same(exact, theirs_without_overflows(*predictions))
        self.default_and_exact.append((default, exact))
        self.exact_and_original.append((exact, original))

    def _timed(self, name: str, function: Callable[[], Any]) -> Labels:
        """The label image of the cells, or of the nuclei where there is no other."""
        start_s = time.process_time()
        result = function()
        self.times_s[name].append(time.process_time() - start_s)
        return np.asarray(result[-1] if isinstance(result, tuple) else result, dtype=np.int32)


def same(labels: Labels, others: Any) -> bool:
    return np.array_equal(labels, others[-1] if isinstance(others, tuple) else others)


def report(
    name: str,
    predictions: Iterator[tuple[Prediction, Prediction]],
    num_fields: int,
    original: Any,
    without_overflows: Any,
) -> bool:
    compared = {"label_cell": Comparison(), "label_nuclei": Comparison()}
    for pair in track(predictions, description=name, total=num_fields):
        large = [cv2.resize(each, None, fx=FACTOR, fy=FACTOR, interpolation=cv2.INTER_AREA) for each in pair]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            args = (original.label_cell, without_overflows.label_cell, large)
            compared["label_cell"].add(label_cell, *args)
            args = (original.label_nuclei, without_overflows.label_nuclei, large[:1])
            compared["label_nuclei"].add(label_nuclei, *args)
    table = Table(
        f"{num_fields} fields, {name}", "cells", "median CPU s", "times faster", "F1 at 0.9", "F1 at 0.99"
    )
    passed = [add_rows(table, function, each) for function, each in compared.items()]
    Console(width=110).print(table)
    return all(passed)


def add_rows(table: Table, function: str, compared: Comparison) -> bool:
    median_s = {name: statistics.median(each) for name, each in compared.times_s.items()}
    num_cells = sum(len(np.unique(theirs)) - 1 for _, theirs in compared.exact_and_original)
    table.add_row(f"{function}, original", str(num_cells), f"{median_s['original']:.3f}", "1")
    f1 = {}
    for name, other, pairs in (
        ("exact", "original", compared.exact_and_original),
        ("default", "exact", compared.default_and_exact),
    ):
        f1[name] = score_instances(pairs, iou_thresholds=(0.9, 0.99))["f1"].tolist()
        table.add_row(
            f"{function}, {name} (F1 against {other})",
            str(sum(len(np.unique(ours)) - 1 for ours, _ in pairs)),
            f"{median_s[name]:.3f}",
            f"{median_s['original'] / median_s[name]:.1f}",
            *(f"{each:.4f}" for each in f1[name]),
        )
    table.add_row(f"  fields where exact is not the original: {compared.num_fields_changed}")
    table.add_row(
        f"  of these not by its overflows alone: {compared.num_fields_unexplained}", end_section=True
    )
    times_faster = median_s["original"] / median_s["default"]
    return (
        compared.num_fields_unexplained == 0
        and f1["default"][0] >= MIN_F1
        and times_faster >= MIN_TIMES_FASTER
    )


def record(original: Any) -> int:
    """Write a picture of the original's labels: a row a case; nuclei, cells, and nuclei alone."""
    rows = []
    for case in MADE_UP["RECORDED_CASES"]:
        nuclei_pred, cell_pred = MADE_UP["made_up_predictions"](**case)
        labels = (*original.label_cell(nuclei_pred, cell_pred), original.label_nuclei(nuclei_pred))
        rows.append(np.hstack([each.astype(np.uint8) for each in labels]))
    cv2.imwrite(str(RECORD), np.vstack(rows), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    Console().print(f"{RECORD}: {RECORD.stat().st_size} bytes, up to {max(row.max() for row in rows)} cells")
    return 0


if __name__ == "__main__":
    sys.exit(main())
