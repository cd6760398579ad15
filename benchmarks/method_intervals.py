"""How sure the comparison of methods is: over seeds of the training and over the test fields.

python benchmarks/weak_supervision.py SIM OUT
python benchmarks/method_intervals.py SIM OUT                       # how much of the gap from naive to oracle closes
python benchmarks/method_intervals.py SIM OUT --fields 300          # of the methods that learned from 300 fields
python benchmarks/method_intervals.py SIM OUT --method "cell_cam, shipped"

Intervals over seeds alone, as weak_supervision.py prints, tell what another training on the same fields would give,
read by the same test fields. Here both are drawn again, with replacement: fields as a whole, since cells of one field
are alike, and then seeds. All methods see the same draws, so that what is said of ratios and differences is of pairs.
Means are over the classes with at least ten true cells. Everything is simulated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from weak_supervision import LEAST_TRUTHS, MASKS, METHODS, Places

from hpa_cells.metrics import (
    CHALLENGE_IOU,
    average_precision_on_fields,
    match_detections,
    overlapping_cells,
)
from hpa_cells.table import CellTable, Column, read_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("simulated", type=Path, metavar="SIM", help="what `hpa-cells simulate` wrote")
    parser.add_argument("out", type=Path, help="that of weak_supervision.py")
    parser.add_argument("--method", default="second round, shipped", choices=list(METHODS))
    parser.add_argument(
        "--worse", default="naive, shipped", choices=list(METHODS), help="where the gap begins"
    )
    parser.add_argument("--better", default="oracle, shipped", choices=list(METHODS), help="where it ends")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--fields", type=int, dest="num_fields", help="number learned from (default: all)")
    parser.add_argument("--draws", type=int, default=1000, help="default: %(default)s")
    arguments = parser.parse_args()
    places = Places(fields=arguments.simulated, out=arguments.out, num_fields=arguments.num_fields)
    truth = read_table(places.fields / "truth_test")
    draws = drawn_fields(len(truth.fields), arguments.draws)
    for masks in MASKS:
        of_method = {
            name: np.stack(
                [
                    precisions(read_table(places.run(name, seed, masks)), truth, draws)
                    for seed in seeds_of(name, arguments.seeds)
                ]
            )
            for name in (arguments.worse, arguments.method, arguments.better)
        }
        show(masks, of_method)


def seeds_of(method: str, seeds: list[int]) -> list[int]:
    """The seeds of its runs; what is not trained has one, which counts as often."""
    has_one = METHODS[method].settings is None and METHODS[method].model_of is None
    return seeds[:1] * len(seeds) if has_one else seeds


def drawn_fields(num_fields: int, num_draws: int) -> NDArray[np.float64]:
    """(1 + B, F), how often each field counts: once, and in B draws with replacement."""
    draws = np.random.default_rng(0).multinomial(
        num_fields, np.full(num_fields, 1 / num_fields), size=num_draws
    )
    return np.vstack([np.ones(num_fields), draws])


def precisions(table: CellTable, truth: CellTable, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + B,), the mean of the common classes by the 2021 metric, in each draw."""
    overlaps = overlapping_cells(table, truth, iou_threshold=CHALLENGE_IOU)
    numbers = pd.Series(range(len(truth.fields)), index=truth.fields[Column.FIELD_ID])
    field_of_cell, field_of_truth = (
        np.asarray(numbers.loc[rows[Column.FIELD_ID]], dtype=np.int64) for rows in (table.cells, truth.cells)
    )
    of_classes = [
        average_precision_on_fields(
            confidences,
            match_detections(overlaps, confidences, is_truth),
            field_of_detection=field_of_cell,
            num_truths=np.bincount(field_of_truth[is_truth], minlength=draws.shape[1]),
            field_weights=draws,
        )
        for confidences, is_truth in zip(
            table.probabilities().T, (truth.probabilities() > 0.5).T, strict=True
        )
        if is_truth.sum() >= LEAST_TRUTHS
    ]
    # A draw may hold no true cell of a class: it says nothing of it.
    return np.asarray(np.nanmean(of_classes, axis=0))


def show(masks: str, of_method: dict[str, NDArray[np.float64]]) -> None:
    """One row a figure, of three methods (S, 1 + B) in the order worse, in question, better."""
    num_seeds, num_draws = next(iter(of_method.values())).shape
    seeds = np.random.default_rng(1).integers(num_seeds, size=(num_seeds, num_draws))
    # The first is no draw: all fields once, all seeds.
    seeds[:, 0] = np.arange(num_seeds)
    means = {
        name: np.take_along_axis(values, seeds, axis=0).mean(axis=0) for name, values in of_method.items()
    }
    worse, method, better = means
    figures = means | {
        f"{method} / {better}": means[method] / means[better],
        f"{method} - {worse}": means[method] - means[worse],
        f"share of the gap from {worse} to {better}": (means[method] - means[worse])
        / (means[better] - means[worse]),
    }
    table = Table(title=f"2021 metric on {masks} masks, simulated", title_justify="left")
    for column in ("", "", "95 % over fields and seeds"):
        table.add_column(column, justify="left" if not table.columns else "right")
    for name, (value, *drawn) in figures.items():
        low, high = np.quantile(drawn, [0.025, 0.975])
        table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
