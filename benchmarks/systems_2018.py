"""Systems as in the challenge of 2018, on simulated fields with its labels: with cells, and with squares of fields.

hpa-cells simulate out=SIM recipe=benchmark class_set=hpa2018 fields=750 test_fields=300
python benchmarks/systems_2018.py SIM OUT                                     # all systems, three seeds
python benchmarks/systems_2018.py SIM OUT --systems "squares, max" --seeds 0  # some
python benchmarks/systems_2018.py SIM OUT trainer.max_steps=200               # with other settings of the trainings

A fifth of the training fields chooses weights and thresholds, the test fields are for these figures only. All systems
but two have the same encoder, random first weights and steps, of as many pixels each
(conf/experiment/weak_supervision.yaml); the embeddings are those of the model in the package, which has learned from
other simulated cells with their true labels, and the last system starts from it and takes half the steps. Cells are
those of the truth. Macro F1 is over the classes that a test field shows, for one threshold of 0.5, those tuned on
validation fields, and those by which each class is called as often as it is in the training fields. Finished trainings
are not repeated. Everything is simulated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

SCRATCH = ("experiment=weak_supervision",)
# As many pixels a step as cells have there: 4 crops of 96 px a field.
SQUARES = ("view=squares", "view.um_per_px=0.32", "view.size_px=192", "bags.cells_per_field=1")
# How each system is trained. The squares of both poolings learn the same: what differs is how a field is made of them.
SYSTEMS = {
    "embeddings, one vs rest": (
        "experiment=ovr_embeddings_2018",
        "encoder=small",
        "init=shipped",
        "trainer=cpu",
    ),
    "squares, max": (*SCRATCH, *SQUARES, "method=naive", "pooling=max"),
    "squares, mean": (*SCRATCH, *SQUARES, "method=naive", "pooling=mean"),
    "naive cells": (*SCRATCH, "method=naive"),
    # Its heads start anew, for other classes.
    "naive cells, shipped": (*SCRATCH, "method=naive", "init=shipped", "trainer.max_steps=300"),
}
RULES = ("fixed", "tuned", "ratio")
PRECISION = "macro AP"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, metavar="SIM", help="what `hpa-cells simulate` wrote")
    parser.add_argument("out", type=Path, help="folder for models, runs and scores")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("settings", nargs="*", help="of all trainings from random weights")
    arguments = parser.parse_intermixed_args()
    rows = []
    for seed in arguments.seeds:
        for system in arguments.systems:
            name = f"{system.replace(', ', '-').replace(' ', '_')}-{seed}"
            train(arguments.fields, arguments.out, system, name, ["seed=" + str(seed), *arguments.settings])
            rows.append({"system": system, "seed": seed} | score(arguments.fields, arguments.out, name))
    scores = pd.DataFrame(rows)
    scores.to_csv(arguments.out / "scores.csv", index=False)
    show(scores)


def hpa_cells(*arguments: object) -> None:
    program = "from hpa_cells.commands.app import main; main()"
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def train(fields: Path, out: Path, system: str, name: str, settings: list[str]) -> None:
    """Train a system and read the test fields; squares do not look at the masks that are named."""
    # Of heads on an encoder that stays as it is, steps and the like are no settings with effect.
    own = settings[:1] if system.startswith("embeddings") else settings
    hpa_cells(
        *("train", *SYSTEMS[system], "data=hpa2018", f"data.root={fields}", f"out={out / 'models' / name}"),
        *("segmenter=cell_table", f"segmenter.folder={fields / 'truth'}", f"crop_store={out / 'crops'}"),
        *own,
    )
    hpa_cells(
        *(
            "predict",
            f"fields={fields / 'test'}",
            f"model={out / 'models' / name}",
            f"out={out / 'runs' / name}",
        ),
        *("segmenter=cell_table", f"segmenter.folder={fields / 'truth_test'}", "embeddings=false"),
    )


def score(fields: Path, out: Path, name: str) -> dict[str, float]:
    """Macro F1 by each rule of thresholds, and the macro average precision of fields."""
    folder = out / "scores" / name
    hpa_cells(
        *("evaluate", f"table={out / 'runs' / name}", f"truth={fields / 'test.csv'}", f"out={folder}"),
        *("thresholds=ratio", f"thresholds.labels={fields / 'train.csv'}"),
    )
    [run] = json.loads((folder / "scores.json").read_text())["runs"].values()
    precisions = pd.read_csv(folder / "per_class.csv")["field_ap"]
    return {rule: run["field_f1_by_rule"][rule] for rule in RULES} | {PRECISION: float(precisions.mean())}


def show(scores: pd.DataFrame) -> None:
    """One row a system: mean and 95 % interval (Student's t) over seeds."""
    table = Table(title="28 classes of 2018, test fields, simulated", title_justify="left")
    for column in ("", *(f"macro F1, {rule}" for rule in RULES), PRECISION):
        table.add_column(column, justify="left" if not column else "right")
    for system, rows in scores.groupby("system", sort=False):
        table.add_row(str(system), *(interval(rows[column]) for column in (*RULES, PRECISION)))
    Console(width=120).print(table)


def interval(values: pd.Series) -> str:
    if len(values) < 2:
        return f"{values.mean():.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
