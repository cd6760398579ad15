"""What a model that knows simulated cells only says of the real fields at hand: where their labels rank.

HPA_CELLS_REAL_DATA=DIR python benchmarks/real_fields.py OUT                 # the model in the package
HPA_CELLS_REAL_DATA=DIR python benchmarks/real_fields.py OUT --model MODEL

Four fields of the 2021 challenge and a public one (DIR/hpa2021/fields, DIR/hpa_public/fields). The rank of a label is
that of its score among all 19 classes, by the field's score and by the mean over the field's cells. A field counts if
all its labels are among the first three, or as many as it has labels, if more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import read_label_table
from hpa_cells.table import Column, read_table

PLACES = ("hpa2021", "hpa_public")
FIRST = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the cell tables")
    parser.add_argument("--model", default="shipped")
    parser.add_argument("--real", type=Path, default=os.environ.get("HPA_CELLS_REAL_DATA"), help="real data")
    arguments = parser.parse_args()
    if arguments.real is None:
        parser.error("set HPA_CELLS_REAL_DATA or give --real DIR, the folder of real fields")
    rows = [row for place in PLACES for row in ranks(arguments.real / place, arguments)]
    show(pd.DataFrame(rows))


def ranks(folder: Path, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row a field and label."""
    out = arguments.out / folder.name
    program = "from hpa_cells.commands.app import main; main()"
    settings = (f"fields={folder / 'fields'}", f"model={arguments.model}", f"out={out}")
    subprocess.run([sys.executable, "-c", program, "predict", *settings], check=True)
    table, given = read_table(out), read_label_table(folder / "fields.csv")
    columns = Column.probabilities(table.class_set)
    of_cells = table.cells.groupby(Column.FIELD_ID)[columns].mean()
    rows: list[dict[str, object]] = []
    for field_id, labels in zip(given.field_ids, given.labels, strict=True):
        [field] = np.flatnonzero(table.fields[Column.FIELD_ID] == field_id)
        by_field = rank(table.field_probabilities()[field])
        by_cells = rank(of_cells.loc[field_id].to_numpy())
        rows += [
            {
                "field": field_id,
                "label": table.class_set.names[label],
                "by_field": by_field[label],
                "by_cells": by_cells[label],
                "num_labels": labels.sum(),
            }
            for label in np.flatnonzero(labels)
        ]
    return rows


def rank(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Place of each score, 1 for the highest."""
    return np.argsort(np.argsort(-scores)) + 1


def show(rows: pd.DataFrame) -> None:
    table = Table("field", "label", "rank by field", "rank by its cells")
    for row in rows.itertuples():
        table.add_row(str(row.field)[:8], str(row.label), str(row.by_field), str(row.by_cells))
    console = Console()
    console.print(table)
    for column in ("by_field", "by_cells"):
        inside = rows[column] <= np.maximum(FIRST, rows["num_labels"])
        fields = inside.groupby(rows["field"]).all()
        console.print(
            f"{column}: {inside.sum()} of {len(rows)} labels, all of {fields.sum()} of {len(fields)} fields"
        )


if __name__ == "__main__":
    main()
