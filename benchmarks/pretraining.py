"""What an encoder should learn first: the true labels of simulated cells, to be like itself in another view, or both.

hpa-cells simulate out=SIM recipe=varied fields=3000 test_fields=0
hpa-cells simulate out=UNSEEN recipe=unseen fields=750 test_fields=300
python benchmarks/pretraining.py SIM UNSEEN OUT                # 1,000 steps each, three seeds of the heads
python benchmarks/pretraining.py SIM UNSEEN OUT --steps 2500   # as the model in the package

Each encoder learns from the cells of SIM, from the same random weights and for the same number of steps (one seed), and
then stays as it is (frozen_encoder=true): heads learn from the labels of the first 300 fields of UNSEEN, a setting kept
out of SIM, and beside it from the true labels of their cells. What these heads say of its test fields is measured on
true masks. `as it is` is what the encoder's own heads say, where they have learned. VICReg embeds every cell twice, so
that its steps cost about twice as much. Everything is simulated.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from ablation import SHARED, heads_say
from rich.console import Console
from rich.table import Table
from weak_supervision import Places, find_cells, hpa_cells, interval, of_common_classes, places_of, scored

from hpa_cells.metrics import ScoreColumn
from hpa_cells.table import CellTable, read_table

# What the cells of SIM teach the encoder.
OBJECTIVES = {
    "true labels": ("cell_labels={truth}",),
    "true labels and VICReg": ("cell_labels={truth}", "self_supervision=vicreg"),
    "VICReg alone": ("method=self_supervised", "cell_labels=null"),
}
# What the heads learn of UNSEEN.
LABELS = {
    "labels of fields": ("method=naive",),
    "true labels of cells": ("method=oracle", "cell_labels={truth}"),
}
AS_IT_IS = "as it is"


def main() -> None:
    arguments = parse_arguments()
    arguments.wrong_labels, arguments.fields = 0.0, arguments.unseen
    places = places_of(arguments)
    find_cells(places)
    logging.getLogger("hpa_cells").setLevel(logging.WARNING)
    rows = []
    for objective in OBJECTIVES:
        encoder = pretrain(arguments, objective)
        said = embed(places, encoder)
        rows += [
            scores.assign(objective=objective) for scores in read(places, encoder, said, arguments.seeds)
        ]
    scores = pd.concat(rows, ignore_index=True)
    scores.to_csv(places.out / f"pretraining-{arguments.steps}_steps.csv", index=False)
    show(scores)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", type=Path, metavar="SIM", help="simulated fields for the encoders")
    parser.add_argument("unseen", type=Path, metavar="UNSEEN", help="simulated fields for the heads")
    parser.add_argument("out", type=Path, help="folder for masks, models and scores")
    parser.add_argument("--steps", type=int, default=1000, help="of each encoder (default: %(default)s)")
    parser.add_argument(
        "--fields", type=int, dest="num_fields", default=300, help="that the heads learn from"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the heads")
    return parser.parse_args()


def pretrain(arguments: argparse.Namespace, objective: str) -> Path:
    """Train an encoder, if that is not done."""
    out = arguments.out / "encoders" / f"{objective.replace(' ', '_')}-{arguments.steps}"
    truth = arguments.cells / "truth"
    start = time.perf_counter()
    hpa_cells(
        *("train", "experiment=pretraining", f"out={out}", f"data.root={arguments.cells}"),
        *(f"segmenter.folder={truth}", f"crop_store={arguments.out / 'crops'}"),
        *(f"trainer.max_steps={arguments.steps}", f"trainer.val_check_interval={arguments.steps}"),
        *(each.format(truth=truth) for each in OBJECTIVES[objective]),
    )
    if not (out / "seconds.json").exists():
        (out / "seconds.json").write_text(json.dumps(time.perf_counter() - start))
    return out


def embed(places: Places, encoder: Path) -> CellTable:
    """What an encoder and its own heads say of the test cells."""
    out = places.out / "embedded" / encoder.name
    hpa_cells(
        *("predict", f"model={encoder}", f"fields={places.fields / 'test'}", f"out={out}"),
        *("segmenter=cell_table", f"segmenter.folder={places.fields / 'truth_test'}"),
    )
    return read_table(out)


def read(places: Places, encoder: Path, said: CellTable, seeds: list[int]) -> Iterator[pd.DataFrame]:
    """AP of each class, by the encoder's own heads where they have learned and by others on its embeddings."""
    timed = {"seconds": json.loads((encoder / "seconds.json").read_text())}
    if not encoder.name.startswith("VICReg"):
        own = scored(places, said, said.probabilities(), AS_IT_IS, "true")
        yield own.assign(seed=0, **timed)
    for labels, settings in LABELS.items():
        for seed in seeds:
            out = places.out / "heads" / f"{encoder.name}-{labels.replace(' ', '_')}-{seed}"
            hpa_cells(
                *("train", *SHARED, f"init={encoder}", f"out={out}", f"seed={seed}", f"data.fold={seed % 5}"),
                *(f"data.root={places.fields}", f"data.labels=[{places.labels}]"),
                *(f"segmenter.folder={places.masks('train')}", f"crop_store={places.out / 'crops'}"),
                f"embedding_store={places.out / 'embeddings'}",
                *(each.format(truth=places.truth) for each in settings),
            )
            heads = heads_say(out, said)
            yield scored(places, heads, heads.probabilities(), labels, "true").assign(seed=seed, **timed)


def show(scores: pd.DataFrame) -> None:
    """One row an objective: mAP with its 95 % interval over the seeds of the heads."""
    table = Table(title="2021 metric on true masks, simulated", title_justify="left")
    for column in (
        "",
        *(name for label in LABELS for name in (label, "of common classes")),
        AS_IT_IS,
        "minutes",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for objective, own in scores.groupby("objective", sort=False):
        cells = [str(objective)]
        for label in (*LABELS, AS_IT_IS):
            of_label = own[own.method == label]
            means = (
                rows.groupby("seed")[ScoreColumn.AP].mean()
                for rows in (of_label, of_common_classes(of_label))
            )
            shown = [interval(mean) if len(mean) else "" for mean in means]
            cells += shown if label != AS_IT_IS else shown[:1]
        table.add_row(*cells, f"{own['seconds'].median() / 60:.1f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
