"""Whether the review of labels finds wrong ones, and whether it pays to train with it.

    hpa-cells simulate out=FIELDS fields=750 test_fields=300
    python benchmarks/label_review.py FIELDS OUT

A share of the simulated training fields trade their labels with each other. A model a fold is trained on these
labels, `hpa-cells explore` reviews them by the scores out of fold, and what it says is compared with what was done.
Then five models are trained alike and read the test fields: on the labels as given, with the weights that the review
proposes, with those of somebody who looks through what it tells and errs in nothing, without the wrong fields, and on
the true labels. All are heads on the encoder of the model in the package as it is (frozen_encoder=true), for each seed
with other fields to choose by. Everything is simulated. Whatever is finished is not repeated. Settings of all trainings
may follow, such as `frozen_encoder=false`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from hpa_cells.explore import FieldScores, read_field_scores
from hpa_cells.fields import LabelTable, read_label_table, write_label_table
from hpa_cells.metrics import average_precision_per_class

HEADS = (
    "experiment=weak_supervision",
    "method=dual_head",
    "init=shipped",
    "frozen_encoder=true",
    "callbacks.averaging=null",
    "bags.cells_per_field=16",
    "threads=1",
)
VARIANTS = ("as given", "review", "review, looked through", "wrong ones left out", "true labels")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where everything lies.

    Attributes
    ----------
    fields, out
        What was simulated, and where to write.
    seed
        Of the swaps and the trainings.
    masks
        Folder of label images ``train`` and ``test``; None segments.
    """

    fields: Path
    out: Path
    seed: int
    masks: Path | None

    @property
    def labels(self) -> Path:
        """Labels of which some are wrong."""
        return self.out / f"labels-{self.seed}.csv"

    @property
    def round(self) -> Path:
        """Models of the folds and what they say."""
        return self.out / f"round-{self.seed}"

    @property
    def review(self) -> Path:
        """What `explore` writes."""
        return self.out / f"doubtful-{self.seed}"

    @property
    def test(self) -> Path:
        """The fields to read."""
        return self.out / "test"

    def own(self, variant: str) -> Path:
        """Folder of a model trained in one of five ways."""
        return self.out / f"{variant.replace(',', '').replace(' ', '_')}-{self.seed}"

    def segmenter(self, part: str) -> list[str]:
        """Overrides that find the cells of ``train`` or ``test``."""
        return (
            [] if self.masks is None else ["segmenter=precomputed", f"segmenter.folder={self.masks / part}"]
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="what `hpa-cells simulate` wrote")
    parser.add_argument("out", type=Path, help="folder for labels, models and figures")
    parser.add_argument(
        "--share", type=float, default=0.1, help="of fields labelled wrongly (default: %(default)s)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="models that judge (default: %(default)s)")
    parser.add_argument("--train-fields", type=int, help="only the first so many")
    parser.add_argument(
        "--test-fields", type=int, help="only the first so many; 0: find wrong labels, train no more"
    )
    parser.add_argument(
        "--masks", type=Path, help="label images, in `train` and `test`; else cells are segmented"
    )
    parser.add_argument("settings", nargs="*", help="of all trainings")
    arguments = parser.parse_intermixed_args()
    found, learned = [], []
    for seed in arguments.seeds:
        places = Places(fields=arguments.fields, out=arguments.out, seed=seed, masks=arguments.masks)
        true = first_fields(read_label_table(places.fields / "train.csv"), arguments.train_fields)
        given = swap_labels(true, arguments.share, seed)
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_label_table(given, places.labels)
        judge(places, arguments.folds, arguments.settings)
        found.append(compare(places, given, true).assign(seed=seed))
        if arguments.test_fields != 0:
            test = first_fields(read_label_table(places.fields / "test.csv"), arguments.test_fields)
            link_fields(places, test.field_ids)
            learned += [learn(places, given, true, test, variant, arguments.settings) for variant in VARIANTS]
    show(pd.concat(found), "Finding the wrong fields, simulated", arguments.out / "found.csv")
    if learned:
        show(pd.DataFrame(learned), "Reading test fields, simulated", arguments.out / "learned.csv")


def hpa_cells(*arguments: object) -> None:
    program = "from hpa_cells.commands.app import main; main()"
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


def first_fields(table: LabelTable, number: int | None) -> LabelTable:
    return table.take(range(len(table) if number is None else min(number, len(table))))


def swap_labels(true: LabelTable, share: float, seed: int) -> LabelTable:
    """Give a share of the fields, drawn at random, the labels of another one of them that has others.

    Fields are drawn until enough are found whose labels differ in a circle.
    """
    order = np.random.default_rng(seed).permutation(len(true))
    wanted = round(share * len(true))
    circle: list[int] = []
    for row in order:
        if len(circle) < wanted and (not circle or (true.labels[row] != true.labels[circle[-1]]).any()):
            circle.append(int(row))
    while len(circle) > 1 and (true.labels[circle[0]] == true.labels[circle[-1]]).all():
        circle.pop()
    labels = true.labels.copy()
    rows = np.array(circle, dtype=np.int64)
    labels[rows] = true.labels[np.roll(rows, 1)]
    return replace(true, labels=labels)


def train(places: Places, out: Path, labels: Path, *settings: str) -> None:
    hpa_cells(
        *("train", *HEADS, f"out={out}", f"data.root={places.fields}", f"data.labels=[{labels}]"),
        *("data.unmatched=drop", f"crop_store={places.out / 'crops'}", f"seed={places.seed}"),
        f"embedding_store={places.out / 'embeddings'}",
        *places.segmenter("train"),
        *settings,
    )


def judge(places: Places, folds: int, settings: list[str]) -> None:
    """Score each field by a model that has not seen it, and review the labels."""
    train(places, places.round, places.labels, "cross_fit=true", f"data.num_folds={folds}", *settings)
    hpa_cells(
        "explore", f"labels={places.labels}", f"table={places.round / 'out_of_fold'}", f"out={places.review}"
    )


def compare(places: Places, given: LabelTable, true: LabelTable) -> pd.DataFrame:
    """How well wrong fields are found: by the review, by the lowest score of a given label alone, and by chance."""
    scores = read_field_scores(places.round / "out_of_fold")
    rows = aligned(scores, given.field_ids)
    has_score = ~np.isnan(scores.probabilities[rows]).any(axis=1)
    wrong = (given.labels != true.labels).any(axis=1)[has_score]
    own = np.where(given.labels, scores.probabilities[rows], 1 - scores.probabilities[rows])[has_score]
    review = pd.read_csv(places.review / "label_review.csv").drop_duplicates("field_id").set_index("field_id")
    quality = review["field_quality"].reindex(np.array(given.field_ids)[has_score])
    doubts = {
        "review": 1 - quality.fillna(1).to_numpy(),
        "plain self-confidence, of the worst label": 1 - own.min(axis=1),
        "plain self-confidence, of all labels": -np.log(np.maximum(own, 1e-4)).sum(axis=1),
        "chance": np.zeros(len(wrong)),
    }
    return pd.DataFrame(
        [
            {
                "": name,
                "area under precision and recall": average_precision_per_class(
                    doubt[:, None], wrong[:, None]
                )[0],
                "precision of the first so many as are wrong": precision_at_number(doubt, wrong),
                "told": int(quality.notna().sum()) if name == "review" else np.nan,
                "of them wrong": wrong[quality.notna()].mean() if name == "review" else np.nan,
                "of the wrong": quality.notna()[wrong].mean() if name == "review" else np.nan,
                "wrong": int(wrong.sum()),
            }
            for name, doubt in doubts.items()
        ]
    )


def aligned(scores: FieldScores, field_ids: tuple[str, ...]) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = pd.Index(scores.field_ids).get_indexer(pd.Index(field_ids)).astype(np.int64)
    assert (rows >= 0).all()
    return rows


def precision_at_number(doubt: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """Precision of as many as are wrong; of those equally doubtful the expected one."""
    number = int(wrong.sum())
    last = np.sort(doubt)[::-1][number - 1]
    surely, maybe = doubt > last, doubt == last
    return float((wrong[surely].sum() + wrong[maybe].mean() * (number - surely.sum())) / number)


def link_fields(places: Places, field_ids: tuple[str, ...]) -> None:
    places.test.mkdir(parents=True, exist_ok=True)
    for field_id in field_ids:
        for color in ("red", "green", "blue", "yellow"):
            name = f"{field_id}_{color}.png"
            if not (places.test / name).exists():
                (places.test / name).symlink_to((places.fields / "test" / name).resolve())


def learn(
    places: Places, given: LabelTable, true: LabelTable, test: LabelTable, variant: str, settings: list[str]
) -> dict[str, object]:
    """Train in one of the five ways and read the test fields."""
    own, labels, more = places.own(variant), places.labels, []
    own.mkdir(parents=True, exist_ok=True)
    if variant == "true labels":
        labels = own / "labels.csv"
        write_label_table(true, labels)
    elif variant == "review":
        more = [f"data.review={places.review / 'field_weights.csv'}"]
    elif variant != "as given":
        wrong = pd.Series(
            np.array(given.field_ids)[(given.labels != true.labels).any(axis=1)], name="field_id"
        )
        if variant == "review, looked through":
            wrong = wrong[wrong.isin(pd.read_csv(places.review / "field_weights.csv")["field_id"])]
        wrong.to_frame().assign(weight=0).to_csv(own / "weights.csv", index=False)
        more = [f"data.review={own / 'weights.csv'}"]
    train(places, own / "model", labels, f"data.fold={places.seed % 5}", *more, *settings)
    hpa_cells(
        *(
            "predict",
            f"fields={places.test}",
            f"model={own / 'model'}",
            f"out={own / 'run'}",
            "embeddings=false",
        ),
        *places.segmenter("test"),
    )
    scores = read_field_scores(own / "run")
    probabilities = scores.probabilities[aligned(scores, test.field_ids)]
    kept = ~np.isnan(probabilities).any(axis=1)
    precisions = average_precision_per_class(probabilities[kept], test.labels[kept])
    return {"": variant, "macro average precision of fields": np.nanmean(precisions), "seed": places.seed}


def show(rows: pd.DataFrame, title: str, path: Path) -> None:
    """Write the rows, and print the mean and its 95 % interval (Student's t) over seeds."""
    rows.to_csv(path, index=False)
    table = Table(title=title, title_justify="left")
    columns = [column for column in rows.columns if column != "seed"]
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for name, own in rows.groupby("", sort=False):
        table.add_row(str(name), *(summary(own[column]) for column in columns[1:]))
    Console(width=140).print(table)


def summary(values: pd.Series) -> str:
    if values.isna().all():
        return ""
    mean = (
        f"{values.mean():.3f}"
        if values.dtype.kind == "f" and (values % 1 != 0).any()
        else f"{values.mean():.0f}"
    )
    if len(values) < 2:
        return mean
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean} ± {half:.3f}"


if __name__ == "__main__":
    main()
