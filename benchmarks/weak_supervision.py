"""What single cells are worth that were learned from labels of fields: every method on the same simulated fields.

hpa-cells simulate out=SIM recipe=benchmark fields=750 test_fields=300
python benchmarks/weak_supervision.py SIM OUT                                  # all methods, three seeds
python benchmarks/weak_supervision.py SIM OUT --methods naive oracle --seeds 0 # some
python benchmarks/weak_supervision.py SIM OUT --fields 300                     # learning from the first 300 fields
python benchmarks/weak_supervision.py SIM OUT --wrong-labels 0.1               # a tenth has the labels of others
python benchmarks/weak_supervision.py SIM OUT trainer.max_steps=200            # with other settings of every training

A fifth of the training fields chooses weights and thresholds, the test fields are for these figures only. All methods
have the same encoder and as many cells a step (conf/experiment/weak_supervision.yaml); those that start from the
model in the package take the same 300 steps, those from random weights the same 600. Cells are found by the default
segmenter, in training too; the oracle's true labels are moved to the cells found: each has the labels of the true cell
it covers most, or Negative. Finished trainings are not repeated. Everything is simulated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from label_review import first_fields, swap_labels
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from hpa_cells.cells import cell_rows, field_row, mask_rows
from hpa_cells.fields import merge_label_tables, read_label_table, write_label_table
from hpa_cells.masks import paint_labels
from hpa_cells.metrics import (
    CHALLENGE_IOU,
    ScoreColumn,
    average_precision_per_class,
    challenge_average_precision,
    overlapping_cells,
)
from hpa_cells.segmentation.storage import read_segmentation
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores


@dataclass(frozen=True)
class Method:
    """How a method is trained.

    Attributes
    ----------
    settings
        Overrides of `experiment=weak_supervision`; None for the model in the package as it is.
    teacher
        A method whose scores of the training fields are the cell labels, see the setting of that name of `train`.
    cross_fit
        Number of folds to train one model each of; 0 trains one model in all.
    model_of
        The method whose models are read, if it is not this one, which then trains none.
    ensemble
        Whether the models of all seeds answer as one.
    reading
        Overrides of `predict`.
    """

    settings: tuple[str, ...] | None = None
    teacher: str | None = None
    cross_fit: int = 0
    model_of: str | None = None
    ensemble: bool = False
    reading: tuple[str, ...] = ()


# What is known already is forgotten at the rate, and in the time, that suit random weights.
FROM_SHIPPED = ("init=shipped", "optimizer.lr=1.0e-3", "trainer.max_steps=300")
# A step sees as many cells as one of crops does.
WHOLE_FIELDS = ("bags.fields_per_batch=8",)
SECOND_ROUND = ("method=second_round",)
METHODS = {
    "naive": Method(("method=naive",)),
    "naive, made-up cells": Method(("method=naive", "made_up.share=0.15")),
    "dual_head": Method(("method=dual_head",)),
    "folds of naive": Method(("method=naive",), cross_fit=3),
    "second round": Method(SECOND_ROUND, teacher="folds of naive"),
    "oracle": Method(("method=oracle", "cell_labels={truth}")),
    "shipped": Method(),
    "one_vs_rest, shipped": Method(("heads=one_vs_rest", "method=dual_head", "init=shipped")),
    "naive, shipped": Method(("method=naive", *FROM_SHIPPED)),
    "naive, made-up cells, shipped": Method(("method=naive", "made_up.share=0.15", *FROM_SHIPPED)),
    "dual_head, shipped": Method(("method=dual_head", *FROM_SHIPPED)),
    "mask_pooled, shipped": Method(("method=mask_pooled", *WHOLE_FIELDS, *FROM_SHIPPED)),
    "cell_cam, shipped": Method(("method=cell_cam", *WHOLE_FIELDS, *FROM_SHIPPED)),
    "second round, shipped": Method((*SECOND_ROUND, *FROM_SHIPPED), teacher="shipped"),
    "second round, shipped, no balance": Method(
        (*SECOND_ROUND, *FROM_SHIPPED, "bags.balance=0.0"), teacher="shipped"
    ),
    "second round, shipped, no augmentation": Method(
        (*SECOND_ROUND, *FROM_SHIPPED, "augmentation=none"), teacher="shipped"
    ),
    "second round, shipped, no averaging": Method(
        (*SECOND_ROUND, *FROM_SHIPPED, "callbacks.averaging=null"), teacher="shipped"
    ),
    "oracle, shipped": Method(("method=oracle", "cell_labels={truth}", *FROM_SHIPPED)),
    "second round of whole fields, shipped": Method(
        (*SECOND_ROUND, "view=field", *WHOLE_FIELDS, *FROM_SHIPPED), teacher="shipped"
    ),
    "oracle of whole fields, shipped": Method(
        ("method=oracle", "view=field", "cell_labels={truth}", *WHOLE_FIELDS, *FROM_SHIPPED)
    ),
    "second round, shipped, flips": Method(model_of="second round, shipped", reading=("tta=flips",)),
    "second round, shipped, d4": Method(model_of="second round, shipped", reading=("tta=d4",)),
    "second round, shipped, all seeds": Method(model_of="second round, shipped", ensemble=True),
}
# Of a cell beside its field, as in the 10th place of 2021 and `fusion=weighted`.
CELL_WEIGHT = 0.7
MASKS = ("true", "found")
RARE = ("mitotic_spindle", "centrosome", "nuclear_bodies")
# Of a class with fewer true cells one cell decides; the second mean leaves it out.
LEAST_TRUTHS = 10


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where everything lies."""

    fields: Path
    out: Path
    num_fields: int | None = None
    wrong_share: float = 0.0

    @property
    def subset(self) -> str:
        """What sets these labels apart from those of all fields as they are."""
        few = "" if self.num_fields is None else f"-{self.num_fields}_fields"
        return few + (f"-{self.wrong_share}_wrong" if self.wrong_share else "")

    @property
    def labels(self) -> Path:
        """Labels of the fields to learn from and to choose by."""
        return self.out / f"labels{self.subset}.csv" if self.subset else self.fields / "train.csv"

    @property
    def truth(self) -> Path:
        """The true labels of the cells found in training fields."""
        return self.out / "truth_of_found_cells"

    def masks(self, part: str) -> Path:
        """Label images of ``train`` or ``test``."""
        return self.out / "masks" / part

    def model(self, method: str, seed: int) -> Path:
        """Checkpoint of a method."""
        method = METHODS[method].model_of or method
        if METHODS[method].settings is None:
            return Path("shipped")
        return self.out / "models" / self._file_name(method, seed)

    def run(self, method: str, seed: int, masks: str) -> Path:
        """Cell table of a method on ``true`` or ``found`` masks."""
        return self.out / "runs" / f"{self._file_name(method, seed)}-{masks}"

    def _file_name(self, method: str, seed: int) -> str:
        name = f"{method.replace(', ', '-').replace(' ', '_')}-{seed}"
        # The model in the package learns from none of them.
        return name if method == "shipped" else f"{name}{self.subset}"


def main() -> None:
    arguments = parse_arguments(__doc__, methods=list(METHODS))
    places = places_of(arguments)
    find_cells(places)
    rows = []
    alone = [method for method in arguments.methods if not METHODS[method].ensemble]
    for seed in arguments.seeds:
        for method in alone:
            train(places, method, seed, arguments.settings)
            predict(places, method, seed)
            rows += [score(places, method, seed, masks) for masks in MASKS]
    for method in (method for method in arguments.methods if METHODS[method].ensemble):
        predict(places, method, arguments.seeds[0], of_seeds=arguments.seeds)
        rows += [score(places, method, arguments.seeds[0], masks) for masks in MASKS]
    rows += without_training(places, arguments.methods[0], arguments.seeds[0])
    scores = beside_earlier(pd.concat(rows, ignore_index=True), places.out / f"scores{places.subset}.csv")
    show(scores)


def beside_earlier(scores: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the scores to a file whose rows of other methods and seeds stay, and return all of them."""
    if path.exists():
        keys = ["method", "seed", "masks"]
        earlier = pd.read_csv(path)
        again = pd.MultiIndex.from_frame(earlier[keys]).isin(pd.MultiIndex.from_frame(scores[keys]))
        scores = pd.concat([earlier[~again], scores], ignore_index=True)
    scores.to_csv(path, index=False)
    return scores


def hpa_cells(*arguments: object) -> None:
    program = "from hpa_cells.commands.app import main; main()"
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def places_of(arguments: argparse.Namespace) -> Places:
    """Where everything lies, with the labels written that some are left out of or wrong in."""
    places = Places(
        fields=arguments.fields,
        out=arguments.out,
        num_fields=arguments.num_fields,
        wrong_share=arguments.wrong_labels,
    )
    if places.subset:
        table = first_fields(read_label_table(places.fields / "train.csv"), places.num_fields)
        places.out.mkdir(parents=True, exist_ok=True)
        write_label_table(swap_labels(table, places.wrong_share, seed=0), places.labels)
    return places


def parse_arguments(description: str | None, **choices: list[str]) -> argparse.Namespace:
    """What both comparisons may be asked; `choices` are lists of names, all by default."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, metavar="SIM", help="what `hpa-cells simulate` wrote")
    parser.add_argument("out", type=Path, help="folder for masks, models and scores")
    for name, each in choices.items():
        parser.add_argument(f"--{name}", nargs="+", default=each, choices=each)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--fields", type=int, dest="num_fields", help="number to learn from (default: all)")
    parser.add_argument(
        "--wrong-labels",
        type=float,
        default=0.0,
        help="share of the training fields that get the labels of others (default: %(default)s)",
    )
    parser.add_argument("settings", nargs="*", help="of all trainings, such as trainer.max_steps=200")
    return parser.parse_intermixed_args()


def find_cells(places: Places) -> None:
    """Segment all fields, and move the true labels of training cells to the cells found."""
    for part in ("train", "test"):
        hpa_cells("segment", f"fields={places.fields / part}", f"out={places.masks(part)}")
    truth = read_table(places.fields / "truth")
    provenance = Provenance(
        version=truth.provenance.version,
        class_set=truth.class_set.name,
        source="simulation truth, moved to the cells found",
    )
    with TableWriter(places.truth, provenance=provenance) as writer:
        cells_of = dict(list(truth.cells.groupby(Column.FIELD_ID)))
        for field_id in truth.fields[Column.FIELD_ID]:
            if field_id not in writer.finished:
                move_labels(places, truth, field_id, cells_of.get(field_id), writer)


def move_labels(
    places: Places, truth: CellTable, field_id: str, cells: pd.DataFrame | None, writer: TableWriter
) -> None:
    [size] = truth.fields[truth.fields[Column.FIELD_ID] == field_id].to_dict("records")
    found = read_segmentation(places.masks("train"), field_id, pixel_size_um=size[Column.PIXEL_SIZE_UM])
    true = np.zeros_like(found.cells)
    columns = Column.probabilities(truth.class_set)
    # Row 0: what a cell is that covers no true one.
    labels = np.zeros((1, len(columns)), dtype=np.float32)
    labels[0, truth.class_set.index("negative")] = 1
    if cells is not None:
        counts = [rle.encode("ascii") for rle in cells[Column.CELL_RLE]]
        true = paint_labels(np.arange(1, len(cells) + 1), counts, *true.shape)
        labels = np.vstack([labels, cells[columns].to_numpy(dtype=np.float32)])
    overlap = np.zeros((int(found.cells.max(initial=0)) + 1, len(labels)), dtype=np.int64)
    np.add.at(overlap, (found.cells.ravel(), true.ravel()), 1)
    covered = (
        np.where(overlap[:, 1:].any(axis=1), overlap[:, 1:].argmax(axis=1) + 1, 0) if len(labels) > 1 else 0
    )
    scores = CellScores(
        field_id=field_id,
        class_set=truth.class_set,
        cell_ids=found.cell_ids,
        probabilities=labels[np.broadcast_to(covered, len(overlap))[found.cell_ids]],
        field_probabilities=np.array([size[column] for column in columns], dtype=np.float32),
        embeddings=np.zeros((len(found.cell_ids), 0), dtype=np.float32),
    )
    masks = mask_rows(found)
    writer.add(cells=cell_rows(masks, scores), field_row=field_row(masks, scores))


def train(places: Places, name: str, seed: int, settings: list[str]) -> None:
    """Train the model of a method, where it has one of its own."""
    method, out = METHODS[name], places.model(name, seed)
    if method.settings is None:
        return
    start = time.perf_counter()
    hpa_cells(
        *("train", "experiment=weak_supervision", f"out={out}", f"seed={seed}"),
        *(f"data.root={places.fields}", f"data.labels=[{places.labels}]", "data.unmatched=drop"),
        *("segmenter=precomputed", f"segmenter.folder={places.masks('train')}"),
        *(f"crop_store={places.out / 'crops'}", *own_settings(places, method, seed), *settings),
    )
    if not (out / "seconds.json").exists():
        (out / "seconds.json").write_text(json.dumps(time.perf_counter() - start))


def predict(places: Places, name: str, seed: int, of_seeds: Sequence[int] = ()) -> None:
    """Read the test fields, by true masks and by those found, with the models of `of_seeds` where these are given."""
    models = ",".join(str(places.model(name, each)) for each in of_seeds or [seed])
    for masks in MASKS:
        segmenter = ["segmenter=precomputed", f"segmenter.folder={places.masks('test')}"]
        if masks == "true":
            segmenter = ["segmenter=cell_table", f"segmenter.folder={places.fields / 'truth_test'}"]
        hpa_cells(
            *("predict", f"fields={places.fields / 'test'}", f"model=[{models}]"),
            *(f"out={places.run(name, seed, masks)}", "embeddings=false", *METHODS[name].reading, *segmenter),
        )


def own_settings(places: Places, method: Method, seed: int) -> list[str]:
    settings = [each.format(truth=places.truth) for each in method.settings or ()]
    if method.cross_fit:
        settings += ["cross_fit=true", f"data.num_folds={method.cross_fit}"]
    if method.teacher is not None:
        settings += [
            f"teacher={places.model(method.teacher, seed)}",
            f"teacher_store={places.out / 'teachers'}",
        ]
    return settings


def score(places: Places, method: str, seed: int, masks: str) -> pd.DataFrame:
    """The cell's own score, ways to join it with the field's, and the field's; which is best is for the reader."""
    table = read_table(places.run(method, seed, masks))
    timed = places.model(method, seed) / "seconds.json"
    seconds = json.loads(timed.read_text()) if timed.exists() else np.nan
    cells, field = table.probabilities(), of_field(table)
    rows = [
        scored(places, table, confidences, name, masks)
        for name, confidences in (
            (method, cells),
            (f"{method}, fusion=weighted", CELL_WEIGHT * cells + (1 - CELL_WEIGHT) * field),
            (f"{method}, fusion=mean", (cells + field) / 2),
            (f"{method}, fusion=product", cells * field),
            (f"{method}: field, every cell", field),
        )
    ]
    return pd.concat(rows).assign(seed=seed, seconds=seconds)


def of_field(table: CellTable) -> NDArray[np.float32]:
    """(N, K), the field's score of each cell."""
    rows = pd.Index(table.fields[Column.FIELD_ID]).get_indexer(table.cells[Column.FIELD_ID])
    return table.field_probabilities()[rows]


def without_training(places: Places, method: str, seed: int) -> list[pd.DataFrame]:
    """Random and constant confidences, and the true labels of the field given to all its cells.

    The masks are those of any run.
    """
    given = merge_label_tables(
        [read_label_table(places.fields / "test.csv")], read_table(places.truth).class_set
    )
    shares = merge_label_tables([read_label_table(places.labels)], given.class_set).labels.mean(axis=0)
    rows = []
    for masks in MASKS:
        table = read_table(places.run(method, seed, masks))
        cells = (len(table.cells), len(given.class_set))
        field = pd.Index(given.field_ids).get_indexer(table.cells[Column.FIELD_ID])
        for name, confidences in (
            ("random", np.random.default_rng(0).random(cells)),
            ("class frequencies", np.broadcast_to(shares, cells)),
            ("true field labels, every cell", given.labels[field].astype(float)),
        ):
            rows.append(scored(places, table, confidences, name, masks).assign(seed=0))
    return rows


def scored(
    places: Places, table: CellTable, confidences: NDArray[np.floating], name: str, masks: str
) -> pd.DataFrame:
    """AP of each class by the 2021 metric, and among the cells whose mask was found."""
    truth = read_table(places.fields / "truth_test")
    own = replace(table, cells=table.cells.assign(**dict(zip(
        Column.probabilities(table.class_set), confidences.T.astype(np.float32), strict=True
    ))))  # fmt: skip
    scores = challenge_average_precision(own, truth, ties="average")
    pairs = overlapping_cells(own, truth, iou_threshold=CHALLENGE_IOU)
    matched = average_precision_per_class(
        own.probabilities()[pairs.predicted_rows], truth.probabilities()[pairs.truth_rows] > 0.5
    )
    kept = scores[[ScoreColumn.CLASS_KEY, ScoreColumn.AP, ScoreColumn.NUM_TRUTHS]]
    return kept.assign(matched_ap=matched, method=name, masks=masks)


def show(scores: pd.DataFrame) -> None:
    """One row a method: mean and 95 % interval (Student's t) over seeds."""
    for masks in MASKS:
        of_masks = scores[scores.masks == masks]
        table = Table(title=f"2021 metric on {masks} masks, simulated", title_justify="left")
        for column in (
            "",
            "mAP",
            "of common classes",
            "of the oracle's",
            "AP of matched cells",
            *RARE,
            "minutes",
        ):
            table.add_column(column, justify="left" if not column else "right")
        means = of_masks.groupby(["method", "seed"])[[ScoreColumn.AP, "matched_ap"]].mean()
        common = of_common_classes(of_masks).groupby(["method", "seed"])[ScoreColumn.AP].mean()
        for method, rows in means.groupby("method", sort=False):
            own = of_masks[of_masks.method == method]
            per_class = own.groupby(ScoreColumn.CLASS_KEY)[ScoreColumn.AP].mean()
            table.add_row(
                str(method),
                interval(rows[ScoreColumn.AP]),
                interval(common.loc[method]),
                f"{common.loc[method].mean() / oracle_of(str(method), common):.2f}",
                interval(rows["matched_ap"]),
                *(f"{per_class[key]:.3f}" for key in RARE),
                f"{own['seconds'].median() / 60:.1f}" if own["seconds"].notna().any() else "",
            )
        Console(width=160).print(table)


def of_common_classes(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of classes with enough true cells for an average precision that means something."""
    return scores[scores[ScoreColumn.NUM_TRUTHS] >= LEAST_TRUTHS]


def oracle_of(method: str, means: pd.Series) -> float:
    """Find the mAP of the oracle that starts where the method does; of the other one where that was not asked for."""
    oracles = [name for name in ("oracle", "oracle, shipped") if name in means.index]
    oracles.sort(key=lambda name: ("shipped" in name) != ("shipped" in method))
    return float(means.loc[oracles[0]].mean()) if oracles else np.nan


def interval(values: pd.Series) -> str:
    if len(values) < 2:
        return f"{values.mean():.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
