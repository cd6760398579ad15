"""What each part of learning from labels of fields gives, alone and together, on the same simulated fields.

hpa-cells simulate out=SIM recipe=benchmark fields=750 test_fields=300
python benchmarks/ablation.py SIM OUT                       # all parts, three seeds
python benchmarks/ablation.py SIM OUT --parts base losses   # some
python benchmarks/ablation.py SIM OUT --fields 300          # learning from the first 300 fields

Each row changes one thing of the base, `method=naive` with the encoder of the model in the package as it is
(frozen_encoder=true): heads and pooling learn in seconds, so that every part can be tried with every seed. Heads start
from random weights, or a row would tell how far it leads away from heads that know true labels of cells; those of the
part `kept` go on from them. A seed is also another fifth of the training fields to choose by. The test fields are for
these figures only. What is said of differences is said of pairs of the same seed. OUT may be that of
weak_supervision.py. Everything is simulated.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from weak_supervision import (
    RARE,
    Places,
    beside_earlier,
    find_cells,
    hpa_cells,
    interval,
    of_common_classes,
    parse_arguments,
    places_of,
    scored,
)

from hpa_cells.commands import train
from hpa_cells.commands.settings import compose
from hpa_cells.fields import assign_folds, merge_label_tables, read_label_table
from hpa_cells.metrics import ScoreColumn
from hpa_cells.models import load_checkpoint
from hpa_cells.prediction import AreaWeight, Fusion
from hpa_cells.prediction.fusion import NEGATIVE_RULES
from hpa_cells.table import CellTable, Column, TableWriter, read_table

SHARED = (
    "experiment=weak_supervision",
    "data.unmatched=drop",
    "segmenter=precomputed",
    "frozen_encoder=true",
    "init=shipped",
    "init_heads=false",
    "callbacks.averaging=null",
    "trainer.max_steps=600",
    "optimizer.lr=1.0e-2",
    "bags.cells_per_field=16",
    "logger=none",
    "threads=1",
)
BASE = ("method=naive",)
# Fields alone teach, through what is pooled; the heads are those of cells.
POOLED = ("method=naive", "method.field_weight=1.0", "method.cell_weight=0.0")
# What is mixed shows in what fields learn, and both heads must be one for cells to feel that: `dual_head`, whose two
# share the encoder alone, would be `naive` here.
WITH_FIELD = (*BASE, "method.field_weight=1.0")
MIXED = (*WITH_FIELD, "pooling=log_sum_exp")
# By validation the best rates are 0.01 for heads from random weights (of 0.001, 0.003, 0.01) and 0.001 for these (of
# 0.0003, 0.001, 0.003).
KEPT = ("init_heads=true", "optimizer.lr=1.0e-3")
# Of a teacher.
NUM_FOLDS = 3


@dataclass(frozen=True)
class Part:
    """One row.

    Attributes
    ----------
    settings
        Overrides of `SHARED`, after those of the base.
    teacher
        Who labels the cells: ``folds``, three models of the base, each asked of what it has not seen; ``shipped``;
        ``shipped-4``, the same less sure of every class by so much; ``truth``; another row, whose folds are asked;
        the mean of several, joined by ``+``; None, the labels of fields alone.
    """

    settings: tuple[str, ...] = BASE
    teacher: str | None = None


def poolings() -> Iterator[tuple[str, Part]]:
    names = ("mean", "log_sum_exp", "top_k", "noisy_and", "noisy_or", "max", "gated_attention", "by_class")
    for name in names:
        yield f"field alone, {name}", Part((*POOLED, f"pooling={name}"))
    for name in names:
        yield f"cells and field, {name}", Part((*WITH_FIELD, f"pooling={name}"))


LOSSES = {
    "focal": "loss=focal",
    "asymmetric": "loss=asymmetric",
    "weights 1 - share": "loss.class_weights=one_minus_share",
    "weights inverse root": "loss.class_weights=inverse_root",
    "weights effective number": "loss.class_weights=effective_number",
    "positives count (n/p)^0.5": "loss.positive_power=0.5",
    "smoothing 0.1": "loss.smoothing=0.1",
    "smoothing 0.1 to frequencies": "loss.smoothing=0.1 loss.smoothing_prior=frequency",
    "fields weigh equally": "loss.weigh_equally=fields",
    "no balance": "bags.balance=0.0",
    "full balance": "bags.balance=1.0",
    "rare classes 4 times": "+bags.repeats.mitotic_spindle=4 +bags.repeats.centrosome=4 +bags.repeats.nuclear_bodies=4",
    "small cells count less": "area_weight.border_um2=512 area_weight.inner_um2=204.8",
    "batches of 256 fields": "bags.fields_per_batch=256",
}
# The model in the package as it may be on fields unlike those it knows: all its logits but that of Negative lower.
UNSURE = "shipped-"
RULES = ("as_they_are", "probabilities", "calibrated", "levels", "posterior")
PARTS: dict[str, dict[str, Part]] = {
    "base": {"naive": Part(), "oracle": Part(("method=oracle",), "truth")},
    "kept": {
        "naive, heads kept": Part((*BASE, *KEPT)),
        "second round by folds, heads kept": Part(
            ("method=oracle", "soft_labels=probabilities", *KEPT), "naive, heads kept"
        ),
        "second round by shipped, heads kept": Part(
            ("method=oracle", "soft_labels=probabilities", *KEPT), "shipped"
        ),
        "oracle, heads kept": Part(("method=oracle", *KEPT), "truth"),
    },
    "poolings": dict(poolings()),
    "losses": {name: Part((*BASE, *settings.split())) for name, settings in LOSSES.items()},
    # Beside "cells and field, log_sum_exp".
    "mixing": {
        f"{kind} {share}": Part((*MIXED, f"bags.{kind}={share}"))
        for kind in ("mosaic", "cutmix")
        for share in (0.25, 0.5)
    },
    "unsure": {
        f"second round by shipped, unsure by {shift}, {rule}": Part(
            ("method=oracle", f"soft_labels={rule}"), f"{UNSURE}{shift}"
        )
        for shift in (2, 4)
        for rule in ("probabilities", "calibrated")
    },
    "rounds": {
        f"second round by {teacher}, {rule}": Part(("method=oracle", f"soft_labels={rule}"), teacher)
        for teacher in ("folds", "shipped")
        for rule in RULES
    }
    | {
        "third round, probabilities": Part(
            ("method=oracle", "soft_labels=probabilities"), "second round by folds, probabilities"
        ),
        "second round by folds of log_sum_exp, probabilities": Part(
            ("method=oracle", "soft_labels=probabilities"), "cells and field, log_sum_exp"
        ),
        "second round by folds of four, probabilities": Part(
            ("method=oracle", "soft_labels=probabilities"),
            "folds+cells and field, log_sum_exp+cells and field, top_k+no balance",
        ),
        "two teachers, probabilities": Part(("method=oracle", "soft_labels=probabilities"), "folds+shipped"),
        "second round by folds, probabilities, field too": Part(
            ("method=oracle", "soft_labels=probabilities", "method.field_weight=0.1"), "folds"
        ),
    },
}
ROWS = {name: part for rows in PARTS.values() for name, part in rows.items()}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where everything lies, and what the encoder says of all cells, computed once."""

    places: Places
    test: dict[str, CellTable]
    training: CellTable

    def folder(self, *parts: object) -> Path:
        """Under ``OUT/ablation``."""
        name = "-".join(re.sub(r"\W+", "_", str(part)) for part in parts)
        return self.places.out / f"ablation{self.places.subset}" / name


def main() -> None:
    arguments = parse_arguments(__doc__, parts=list(PARTS))
    bench = prepare(places_of(arguments))
    logging.getLogger("hpa_cells").setLevel(logging.WARNING)
    rows = []
    names = [name for part in arguments.parts for name in PARTS[part]]
    for seed in arguments.seeds:
        rows += list(without_training(bench, seed))
        for name in names:
            model = trained(bench, name, seed, tuple(arguments.settings))
            rows += list(measured(bench, model, name, seed))
    show(beside_earlier(pd.concat(rows, ignore_index=True), bench.folder("scores").with_suffix(".csv")))


def prepare(places: Places) -> Bench:
    """Find the cells and let the encoder see them."""
    find_cells(places)
    tables = {}
    for name, part, segmenter, folder in (
        ("true", "test", "cell_table", places.fields / "truth_test"),
        ("found", "test", "precomputed", places.masks("test")),
        ("training", "train", "precomputed", places.masks("train")),
    ):
        out = places.out / "embedded" / name
        hpa_cells(
            *("predict", "model=shipped", f"fields={places.fields / part}", f"out={out}"),
            *(f"segmenter={segmenter}", f"segmenter.folder={folder}"),
        )
        tables[name] = read_table(out)
    return Bench(places=places, training=tables.pop("training"), test=tables)


def trained(bench: Bench, name: str, seed: int, settings: tuple[str, ...], *, fold: str = "") -> Path:
    """Train a row, or with `fold` one of its three folds, if that is not done."""
    part, out, places = ROWS[name], bench.folder(name, seed, *([fold] if fold else [])), bench.places
    own = [*part.settings]
    if part.teacher is not None:
        own.append(f"cell_labels={labels_by(bench, part.teacher, seed, settings)}")
    # Another seed is another fifth to choose by, and the third of a fold is asked of it afterwards.
    own += [f"data.fold={fold}", f"data.num_folds={NUM_FOLDS}"] if fold else [f"data.fold={seed % 5}"]
    cfg = compose(
        "train",
        [
            *SHARED,
            *(f"out={out}", f"data.root={places.fields}", f"data.labels=[{places.labels}]", f"seed={seed}"),
            *(f"segmenter.folder={places.masks('train')}", f"crop_store={places.out / 'crops'}"),
            *(f"embedding_store={places.out / 'embeddings'}", *own, *settings),
        ],
    )
    train.run(cfg)
    return out


def labels_by(bench: Bench, teacher: str, seed: int, settings: tuple[str, ...]) -> Path:
    """The cell table that a teacher wrote of the training fields."""
    if teacher == "truth":
        return bench.places.truth
    if teacher == "shipped":
        return bench.places.out / "embedded" / "training"
    out = bench.folder("labels", teacher, seed)
    if teacher.startswith(UNSURE):
        said = less_sure(bench.training, float(teacher.removeprefix(UNSURE)))
        write(with_probabilities(bench.training, said, bench.training.field_probabilities()), out)
        return out
    tables = [
        bench.training if each == "shipped" else out_of_fold(bench, each, seed, settings)
        for each in teacher.split("+")
    ]
    said = np.mean([table.probabilities() for table in tables], axis=0)
    write(with_probabilities(bench.training, said, tables[0].field_probabilities()), out)
    return out


def less_sure(table: CellTable, shift: float) -> NDArray[np.floating]:
    """The probabilities of cells with lower logits, but for Negative."""
    probabilities = np.clip(table.probabilities(), 1e-6, 1 - 1e-6).astype(np.float64)
    logits = np.log(probabilities / (1 - probabilities)) - shift
    lower = 1 / (1 + np.exp(-logits))
    negative = table.class_set.index("negative")
    lower[:, negative] = probabilities[:, negative]
    return lower


def out_of_fold(bench: Bench, name: str, seed: int, settings: tuple[str, ...]) -> CellTable:
    """What the folds of a row say of the fields that they have not seen."""
    name = "naive" if name == "folds" else name
    cells = np.zeros_like(bench.training.probabilities())
    fields = np.zeros_like(bench.training.field_probabilities())
    for fold in range(NUM_FOLDS):
        model = trained(bench, name, seed, settings, fold=str(fold))
        said = heads_say(model, bench.training)
        unseen = bench.training.fields[Column.FIELD_ID].isin(validation_fields(bench, model)).to_numpy()
        of_cell = bench.training.cells[Column.FIELD_ID].isin(bench.training.fields[Column.FIELD_ID][unseen])
        cells[of_cell] = said.probabilities()[of_cell]
        fields[unseen] = said.field_probabilities()[unseen]
    return with_probabilities(bench.training, cells, fields)


def validation_fields(bench: Bench, model: Path) -> list[str]:
    """The fields that a training has not learned from, as its own settings dealt them out."""
    settings = json.loads((model / "training" / "settings.json").read_text())["data"]
    table = merge_label_tables([read_label_table(bench.places.labels)], bench.training.class_set)
    folds = assign_folds(table, num_folds=settings["num_folds"], seed=settings["fold_seed"])
    return [field_id for field_id, own in zip(table.field_ids, folds, strict=True) if own == settings["fold"]]


def heads_say(model: Path, table: CellTable) -> CellTable:
    """The table with the probabilities of other heads on the same embeddings."""
    classifier = load_checkpoint(model).model.eval()
    embeddings = torch.from_numpy(np.stack(table.cells[Column.EMBEDDING].to_list()))
    ids, bags = np.unique(table.cells[Column.FIELD_ID], return_inverse=True)
    with torch.inference_mode():
        outputs = classifier.classify(embeddings, torch.from_numpy(bags))
    fields = np.full_like(table.field_probabilities(), np.nan)
    rows = pd.Index(table.fields[Column.FIELD_ID]).get_indexer(pd.Index(ids))
    fields[rows] = outputs.field_logits.sigmoid().numpy()
    return with_probabilities(table, outputs.cell_logits.sigmoid().numpy(), fields)


def with_probabilities(
    table: CellTable, cells: NDArray[np.floating], fields: NDArray[np.floating]
) -> CellTable:
    columns = Column.probabilities(table.class_set)

    def put(rows: pd.DataFrame, values: NDArray[np.floating]) -> pd.DataFrame:
        return rows.assign(**dict(zip(columns, values.T.astype(np.float32), strict=True)))

    return replace(table, cells=put(table.cells, cells), fields=put(table.fields, fields))


def write(table: CellTable, out: Path) -> None:
    """Write a table whose cells learn from it; it needs no embeddings."""
    cells_of = dict(list(table.cells.drop(columns=Column.EMBEDDING).groupby(Column.FIELD_ID)))
    with TableWriter(out, provenance=table.provenance) as writer:
        for row in table.fields.to_dict("records"):
            if row[Column.FIELD_ID] in cells_of and row[Column.FIELD_ID] not in writer.finished:
                writer.add(cells=cells_of[row[Column.FIELD_ID]], field_row=row)


def measured(bench: Bench, model: Path, name: str, seed: int) -> Iterator[pd.DataFrame]:
    """The cell's own score, and for two rows every way to combine it with the field's."""
    for masks, table in bench.test.items():
        said = heads_say(model, table)
        yield scored(bench.places, said, said.probabilities(), name, masks).assign(seed=seed)
        if name in PARTS["base"]:
            for rule, confidences in fusions(said):
                yield scored(bench.places, said, confidences, f"{name}: {rule}", masks).assign(seed=seed)


def fusions(said: CellTable) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Confidences by each rule; of the cell's own score the rules for Negative and for cells half in view too."""
    rules = {
        "times the field's": Fusion(rule="product"),
        "0.7 cell, 0.3 field": Fusion(cell_weight=0.7),
        "mean with the field's": Fusion(cell_weight=0.5),
        "the field's": Fusion(cell_weight=0.0),
    } | {f"negative {rule}": Fusion(negative=rule) for rule in NEGATIVE_RULES if rule != "own"}
    field_of = pd.Index(said.fields[Column.FIELD_ID]).get_indexer(said.cells[Column.FIELD_ID])
    cells, fields = said.probabilities(), said.field_probabilities()
    for name, fusion in rules.items():
        combined = np.empty_like(cells)
        for field in np.unique(field_of):
            own = field_of == field
            combined[own] = fusion.combine(cells[own], fields[field], said.class_set)
        yield name, combined
    weight = AreaWeight(border_um2=512.0, inner_um2=204.8)
    areas = said.cells[Column.AREA_UM2].to_numpy(), said.cells[Column.TOUCHES_BORDER].to_numpy()
    yield "small cells count less", cells * weight.weights(*areas)[:, None]


def without_training(bench: Bench, seed: int) -> Iterator[pd.DataFrame]:
    """The model in the package as it is."""
    for masks, table in bench.test.items():
        yield scored(bench.places, table, table.probabilities(), "shipped", masks).assign(seed=seed)


def show(scores: pd.DataFrame) -> None:
    """One row a part: mAP with its 95 % interval over seeds, and the difference to the base, seed by seed."""
    for masks, own in scores.groupby("masks", sort=False):
        table = Table(title=f"2021 metric on {masks} masks, simulated", title_justify="left")
        for column in ("", "mAP", "of common classes", "these above the base", *RARE):
            table.add_column(column, justify="left" if not column else "right", no_wrap=True)
        of_all, of_seed = (
            rows.groupby(["method", "seed"], sort=False)[ScoreColumn.AP].mean().unstack("seed")
            for rows in (own, of_common_classes(own))
        )
        for name, values in of_seed.iterrows():
            per_class = own[own.method == name].groupby(ScoreColumn.CLASS_KEY)[ScoreColumn.AP].mean()
            gain = values - of_seed.loc["naive"] if "naive" in of_seed.index else values * np.nan
            table.add_row(
                str(name),
                interval(of_all.loc[name]),
                interval(values),
                interval(gain),
                *(f"{per_class[key]:.3f}" for key in RARE),
            )
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
