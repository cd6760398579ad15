"""The figures that tie the labels of simulated cells to those of real ones.

python benchmarks/simulation_labels.py
HPA_CELLS_REAL_DATA=DIR python benchmarks/simulation_labels.py      # with DIR/cell_labels/cell_labels.csv

The second table draws the labels of the very fields of which the cells were labelled by hand, so that it compares what
cells show given their field and not how the fields were chosen.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hpa_cells.metrics import average_precision_of_matches
from hpa_cells.presence import PRESENCE
from hpa_cells.simulation import Recipe, simulate_labels
from hpa_cells.simulation.labels import draw_cell_labels
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE

Labels = NDArray[np.bool_]

REPEATS = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=os.environ.get("HPA_CELLS_REAL_DATA"), help="real data")
    arguments = parser.parse_args()
    console = Console(width=140)
    console.print(challenge_table())
    console.print(presence_table())
    if arguments.real:
        console.print(co_occurrence_table(Path(arguments.real) / "cell_labels" / "cell_labels.csv"))


def challenge_table() -> Table:
    """The field's labels given to every cell, on true masks, for five seeds of the default recipe."""
    table = Table(
        "seed", "mAP", "differ", "Negative", title="Every cell gets its field's labels; 1,200 fields"
    )
    for seed in range(5):
        labels = simulate_labels(Recipe(seed=seed), 1200)
        given, shown = labels.field_labels[labels.field_index], labels.cell_labels
        precisions = [
            average_precision_of_matches(
                np.ones(given[:, index].sum()),
                shown[given[:, index], index],
                int(shown[:, index].sum()),
                ties="average",
            )
            for index in range(len(CLASS_SET))
        ]
        table.add_row(
            str(seed),
            f"{np.mean(precisions):.3f}",
            f"{(given != shown).any(axis=1).mean():.3f}",
            f"{shown[:, NEGATIVE].mean():.3f}",
        )
    table.add_row("real", "0.575", "0.52", "0.103")
    return table


def presence_table() -> Table:
    """P(cell shows it | field has it) over five data sets of 4,000 fields, beside that of 5,090 real cells."""
    table = Table("class", "simulated", "real", "difference", title="P(cell shows it | field has it)")
    found = np.zeros((5, len(CLASS_SET)))
    for seed in range(5):
        labels = simulate_labels(Recipe(seed=seed, label_noise=0.0, mitotic_share=0.0), 4000)
        given = labels.field_labels[labels.field_index]
        found[seed] = (given & labels.cell_labels).sum(axis=0) / given.sum(axis=0)
    for key, simulated in zip(CLASS_SET.keys, found.mean(axis=0), strict=True):
        table.add_row(key, f"{simulated:.3f}", f"{PRESENCE[key]:.3f}", f"{simulated - PRESENCE[key]:+.3f}")
    return table


def co_occurrence_table(path: Path) -> Table:
    """Share of cells that show two classes together; the pairs that differ most."""
    cells = pd.read_csv(path, dtype=str)
    given, real = (label_matrix(cells[column]) for column in ("image_labels", "cell_labels"))
    drawn = draw_for_fields(cells["field_id"].to_numpy(), given)
    together_real, together_drawn = (together(each) for each in (real[None], drawn))
    difference = np.triu(together_drawn - together_real)
    worst = np.dstack(np.unravel_index(np.argsort(-np.abs(difference), axis=None)[:6], difference.shape))[0]
    table = Table(
        "classes",
        "simulated",
        "real",
        "difference",
        title=f"Of {len(cells):,} cells show both: where that differs most",
    )
    for one, other in worst:
        name = CLASS_SET.keys[one] + ("" if one == other else f", {CLASS_SET.keys[other]}")
        values = together_drawn[one, other], together_real[one, other], difference[one, other]
        table.add_row(name, f"{values[0]:.3f}", f"{values[1]:.3f}", f"{values[2]:+.3f}")
    return table


def label_matrix(column: pd.Series) -> Labels:
    """(N, K) bool of class numbers separated by semicolons."""
    matrix = np.zeros((len(column), len(CLASS_SET)), dtype=bool)
    for row, numbers in zip(matrix, column, strict=True):
        row[[int(number) for number in numbers.split(";")]] = True
    return matrix


def draw_for_fields(field_ids: NDArray[np.object_], given: Labels) -> Labels:
    """(repeats, N, K): what simulated cells of these fields show, drawn again and again."""
    rng = np.random.default_rng(0)
    drawn = np.zeros((REPEATS, *given.shape), dtype=bool)
    for field_id in np.unique(field_ids):
        rows = np.flatnonzero(field_ids == field_id)
        for repeat in range(REPEATS):
            drawn[repeat, rows] = draw_cell_labels(Recipe(), given[rows[0]], len(rows), rng)
    drawn[:, :, NEGATIVE] = ~np.delete(drawn, NEGATIVE, axis=2).any(axis=2)
    return drawn


def together(labels: Labels) -> NDArray[np.float64]:
    """(K, K) share of cells that show both classes; on the diagonal those that show the one."""
    flat = labels.reshape(-1, labels.shape[-1]).astype(np.float64)
    return flat.T @ flat / len(flat)


if __name__ == "__main__":
    main()
