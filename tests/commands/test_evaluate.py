import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.metrics import (
    challenge_average_precision,
    macro_f1,
    mean_average_precision,
    multilabel_scores,
)
from hpa_cells.table import Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

Program = Callable[..., Any]
HPA2021 = get_class_set("hpa2021")
NUM_FIELDS, NUM_CELLS = 6, 5


def segmentations() -> list[Segmentation]:
    """Fields of 20 x 50 px with five cells in a row, the last field without any."""
    fields = []
    for index in range(NUM_FIELDS):
        cells = np.zeros((20, 50), dtype=np.int32)
        for cell in range(NUM_CELLS if index < NUM_FIELDS - 1 else 0):
            cells[4:16, 10 * cell : 10 * cell + 8] = cell + 1
        fields.append(
            Segmentation(field_id=f"f{index}", cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=0.5)
        )
    return fields


def write_table(folder: Path, probabilities: np.ndarray, *, source: str = "model", **settings: Any) -> None:
    """Write cell probabilities (F, N, K); a field's are the largest of its cells."""
    provenance = Provenance(version="1", class_set="hpa2021", source=source, settings=settings)
    with TableWriter(folder, provenance=provenance) as writer:
        for segmentation, of_cells in zip(segmentations(), probabilities, strict=True):
            ids = segmentation.cell_ids
            scores = CellScores(
                field_id=segmentation.field_id,
                class_set=HPA2021,
                cell_ids=ids,
                probabilities=of_cells[: len(ids)],
                field_probabilities=of_cells.max(axis=0) if len(ids) else np.full(19, np.nan, np.float32),
                embeddings=np.zeros((len(ids), 0), dtype=np.float32),
            )
            writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))


def true_labels() -> np.ndarray:
    """(F, N, K) float32 of 0 and 1; nothing is Negative, class 18."""
    labels = (np.random.default_rng(0).random((NUM_FIELDS, NUM_CELLS, 19)) < 0.3).astype(np.float32)
    labels[..., 18] = 0
    return labels


def noisy(labels: np.ndarray, noise: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).random(labels.shape, dtype=np.float32)
    return ((1 - noise) * labels + noise * random).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """``truth``, ``perfect``, ``good`` and ``poor`` cell tables and ``labels.csv``."""
    labels = true_labels()
    write_table(tmp_path / "truth", labels, source="simulation truth")
    write_table(tmp_path / "perfect", labels)
    write_table(
        tmp_path / "good",
        noisy(labels, 0.6, seed=1),
        thresholds=dict.fromkeys(HPA2021.keys, 0.7) | {"negative": None},
    )
    write_table(tmp_path / "poor", noisy(labels, 0.95, seed=2))
    of_fields = labels[:-1].max(axis=1) > 0
    rows = [f"f{index},{'|'.join(map(str, np.flatnonzero(row)))}" for index, row in enumerate(of_fields)]
    (tmp_path / "labels.csv").write_text("\n".join(["ID,Label", *rows, "f5,0"]) + "\n")
    return tmp_path


@pytest.fixture
def evaluate(hpa_cells: Program, folders: Path) -> Callable[..., tuple[Any, pd.DataFrame, dict[str, Any]]]:
    """Evaluate tables by name; how it ended, ``per_class.csv`` and the runs of ``scores.json``."""

    def call(*names: str, truth: str = "truth", settings: tuple[str, ...] = ()) -> Any:
        table = ",".join(str(folders / name) for name in names)
        ended = hpa_cells(
            "evaluate",
            f"table=[{table}]" if len(names) > 1 else f"table={table}",
            f"truth={folders / truth}",
            f"out={folders / 'scores'}",
            *settings,
        )
        if ended.status:
            return ended, None, None
        scores = json.loads((folders / "scores" / "scores.json").read_text())
        return ended, pd.read_csv(folders / "scores" / "per_class.csv"), scores["runs"]

    return call


def test_the_scores_are_those_of_the_metrics(evaluate: Any, folders: Path) -> None:
    ended, per_class, runs = evaluate("good")
    assert ended.status == 0
    table, truth = read_table(folders / "good"), read_table(folders / "truth")
    expected = challenge_average_precision(table, truth)
    assert per_class["run"].unique().tolist() == ["good"]
    for column in ("class_key", "name", "num_truths", "num_detections"):
        assert per_class[column].tolist() == expected[column].tolist()
    np.testing.assert_allclose(per_class["ap"], expected["ap"])
    assert runs["good"]["mean_ap"] == pytest.approx(mean_average_precision(expected))
    assert (runs["good"]["num_fields"], runs["good"]["num_cells"], runs["good"]["num_true_cells"]) == (
        6,
        25,
        25,
    )


def test_the_truth_itself_is_perfect(evaluate: Any) -> None:
    _, per_class, runs = evaluate("perfect")
    summary = runs["perfect"]
    assert summary["mean_ap"] == summary["mean_matched_ap"] == summary["mean_field_ap"] == 1
    assert [mask["f1"] for mask in summary["masks"]] == [1, 1, 1, 1]
    assert 0 < summary["mean_random_ap"] < 0.8
    negative = per_class.set_index("class_key").loc["negative"]
    assert math.isnan(negative["ap"])
    assert negative["num_truths"] == negative["num_true_fields"] == 0


def test_a_class_without_truth_is_null_in_json_and_a_dash_in_print(evaluate: Any) -> None:
    ended, _, _ = evaluate("good")
    [line] = [line for line in ended.stdout.splitlines() if "Negative" in line]
    assert line.split()[1:6] == ["-"] * 5
    assert line.split()[6:] == ["0", "0"]


def test_what_is_printed(evaluate: Any) -> None:
    ended, per_class, runs = evaluate("good")
    lines = ended.stdout.splitlines()
    ap = per_class.set_index("name")["ap"]
    for name in ("Nucleoplasm", "Golgi apparatus", "Cytosol"):
        [line] = [line for line in lines if line.strip().startswith(name)]
        assert f"{ap[name]:.3f}" in line
    assert f"good: mAP {runs['good']['mean_ap']:.3f} at mask IoU 0.6, " in ended.stdout
    assert "good: Masks: F1 1.000 at IoU 0.6 (1.000 at 0.5, 1.000 at 0.75, 1.000 at 0.9)." in lines
    assert max(map(len, lines[: lines.index(next(line for line in lines if line.startswith("good:")))])) <= 80


def test_several_runs_beside_each_other(evaluate: Any) -> None:
    ended, per_class, runs = evaluate("poor", "good", "perfect")
    assert list(runs) == ["poor", "good", "perfect"]
    assert per_class.groupby("run", sort=False).size().to_dict() == {"poor": 19, "good": 19, "perfect": 19}
    assert runs["poor"]["mean_ap"] < runs["good"]["mean_ap"] < runs["perfect"]["mean_ap"]
    [header] = [line for line in ended.stdout.splitlines() if "location" in line]
    assert header.split() == ["location", "poor", "good", "perfect", "random", "cells", "fields"]


def test_runs_of_one_name_are_told_apart_by_their_path(hpa_cells: Program, folders: Path) -> None:
    write_table(folders / "other" / "good", true_labels())
    tables = f"[{folders / 'good'},{folders / 'other' / 'good'}]"
    out = folders / "scores"
    assert hpa_cells("evaluate", f"table={tables}", f"truth={folders / 'truth'}", f"out={out}").status == 0
    runs = json.loads((out / "scores.json").read_text())["runs"]
    assert list(runs) == [str(folders / "good"), str(folders / "other" / "good")]
    ended = hpa_cells(
        "evaluate",
        f"table=[{folders / 'good'},{folders / 'good'}]",
        f"truth={folders / 'truth'}",
        f"out={out}",
    )
    assert ended.status == 1
    assert "give one folder, or a list of different ones" in ended.stderr


def test_runs_of_two_class_sets_are_refused(evaluate: Any, folders: Path) -> None:
    provenance = Provenance(version="1", class_set="hpa2018", source="model")
    [*_, empty] = segmentations()
    with TableWriter(folders / "of_2018", provenance=provenance) as writer:
        writer.add(cells=cell_rows(empty, None), field_row=field_row(empty, None))
    ended, _, _ = evaluate("good", "of_2018")
    assert ended.status == 1
    assert "The runs have the classes of hpa2018 and hpa2021" in ended.stderr


def test_random_confidences_are_the_same_every_time_and_depend_on_the_seed(evaluate: Any) -> None:
    random = [
        evaluate("good", settings=settings)[2]["good"]["mean_random_ap"]
        for settings in ((), ("seed=0",), ("seed=1",))
    ]
    assert random[0] == random[1] != random[2]


def test_ties_are_told(evaluate: Any, folders: Path) -> None:
    write_table(folders / "constant", np.full((NUM_FIELDS, NUM_CELLS, 19), 0.5, dtype=np.float32))
    ended, _, runs = evaluate("constant", settings=("ties=average",))
    summary = runs["constant"]
    assert summary["mean_ap_worst"] < summary["mean_ap"] < summary["mean_ap_best"]
    assert "Cells of equal confidence: by their order alone mAP is anything from " in ended.stdout
    assert "equal confidence" not in evaluate("good")[0].stdout


def test_field_labels_of_a_csv(evaluate: Any, folders: Path) -> None:
    ended, per_class, runs = evaluate("perfect", truth="labels.csv")
    assert ended.status == 0
    assert "ap" not in per_class
    assert "mean_ap" not in runs["perfect"]
    # Field f5 has a label and no cell: it is missed. All other calls are right.
    by_class = per_class.set_index("class_key")
    assert by_class.at["nucleoplasm", "field_recall"] < 1
    assert by_class["field_precision"].dropna().eq(1).all()
    assert by_class.drop(index="nucleoplasm")["field_f1"].dropna().eq(1).all()


def test_field_labels_of_2018_are_mapped(evaluate: Any, folders: Path) -> None:
    rows = [f"f{index},8 12" for index in range(NUM_FIELDS)]
    (folders / "labels.csv").write_text("\n".join(["Id,Target", *rows]) + "\n")
    _, per_class, _ = evaluate("good", truth="labels.csv")
    num_true = per_class.set_index("class_key")["num_true_fields"]
    assert num_true[num_true > 0].to_dict() == {"actin_filaments": 6, "vesicles": 6}


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ((), {"fixed": 0.5, "tuned": [0.7] * 18 + [0.5]}),
        (("thresholds=fixed", "thresholds.value=0.65"), {"fixed": 0.65, "tuned": [0.7] * 18 + [0.5]}),
        (("thresholds.fallback=0.3",), {"fixed": 0.5, "tuned": [0.7] * 18 + [0.3]}),
    ],
)
def test_macro_f1_of_every_rule(evaluate: Any, folders: Path, settings: tuple[str, ...], rules: Any) -> None:
    ended, _, runs = evaluate("good", settings=settings)
    by_rule = runs["good"]["field_f1_by_rule"]
    assert set(by_rule) == set(rules)
    table, truth = read_table(folders / "good"), read_table(folders / "truth")
    truly = truth.field_probabilities() >= 0.5
    for rule, thresholds in rules.items():
        called = np.nan_to_num(table.field_probabilities()) >= np.array(thresholds)
        assert by_rule[rule] == pytest.approx(macro_f1(multilabel_scores(called, truly, HPA2021)))
        assert f"{rule} {by_rule[rule]:.3f}" in ended.stdout


def test_macro_f1_of_a_table_without_thresholds(evaluate: Any, folders: Path) -> None:
    ended, _, runs = evaluate("poor")
    assert runs["poor"]["field_f1_by_rule"]["fixed"] == runs["poor"]["mean_field_f1"]
    assert set(runs["poor"]["field_f1_by_rule"]) == {"fixed"}
    assert "macro F1 by thresholds" not in ended.stdout


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("thresholds=fixed", "thresholds.value=0.65"), [0.65] * 19),
        (("thresholds=tuned",), [0.7] * 18 + [0.5]),
        (("thresholds=tuned", "thresholds.fallback=0.3"), [0.7] * 18 + [0.3]),
    ],
)
def test_thresholds(evaluate: Any, folders: Path, settings: tuple[str, ...], expected: list[float]) -> None:
    _, per_class, runs = evaluate("good", settings=settings)
    np.testing.assert_allclose(per_class["field_threshold"], expected)
    probabilities = np.nan_to_num(read_table(folders / "good").field_probabilities())
    labels = read_table(folders / "truth").field_probabilities() >= 0.5
    called = multilabel_scores(probabilities >= np.array(expected), labels, HPA2021)
    np.testing.assert_allclose(per_class["field_f1"], called["f1"])
    for name in ("precision", "recall", "f1"):
        assert runs["good"][f"mean_field_{name}"] == pytest.approx(np.nanmean(called[name]))


def test_thresholds_matched_to_the_training_labels(evaluate: Any, folders: Path) -> None:
    _, per_class, _ = evaluate(
        "good", settings=("thresholds=ratio", f"thresholds.labels={folders / 'labels.csv'}")
    )
    probabilities = read_table(folders / "good").field_probabilities()[:-1]
    called = (probabilities >= per_class["field_threshold"].to_numpy()).mean(axis=0)
    wanted = (true_labels()[:-1].max(axis=1) > 0).sum(axis=0) / NUM_FIELDS
    wanted[0] += 1 / NUM_FIELDS
    assert np.abs(called - wanted).max() <= 1 / (NUM_FIELDS - 1)


def test_fields_that_only_one_side_has(evaluate: Any, folders: Path) -> None:
    for path in (folders / "good").glob("*.parquet"):
        rows = pd.read_parquet(path)
        kept = folders / "some" / path.name
        kept.parent.mkdir(exist_ok=True)
        table = pq.read_table(path)
        pq.write_table(table.filter(pa.array(~rows["field_id"].isin(["f1", "f2"]))), kept)
    ended, _, _ = evaluate("some")
    assert ended.status == 1
    assert "2 true fields were not predicted (f1, f2 …)" in ended.stderr
    missed = evaluate("some", settings=("missing_fields=no_cells",))[2]["some"]
    left_out = evaluate("some", settings=("missing_fields=leave_out",))[2]["some"]
    assert missed["num_true_cells"] == 25
    assert left_out["num_true_cells"] == 15
    assert missed["mean_ap"] < left_out["mean_ap"]
    assert missed["masks"][0]["recall"] == pytest.approx(15 / 25)
    assert left_out["masks"][0]["recall"] == 1

    write_table(folders / "all", true_labels())
    (folders / "truth").rename(folders / "whole")
    (folders / "some").rename(folders / "truth")
    ended, _, _ = evaluate("all", settings=("missing_fields=leave_out",))
    assert ended.status == 1
    assert "2 predicted fields have no truth (f1, f2 …)" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("missing_fields=skip", "missing_fields is 'skip': use one of error, no_cells, leave_out"),
        ("ties=random", "ties is 'random': use one of order, average"),
        ("thresholds.value=2", "thresholds.value is 2: give a probability from 0 to 1"),
        ("truth=nowhere", "nowhere holds no cell table"),
    ],
)
def test_a_wrong_setting_is_told(evaluate: Any, folders: Path, setting: str, message: str) -> None:
    ended, _, _ = evaluate("good", settings=("thresholds=fixed", setting))
    assert ended.status == 1
    assert message in ended.stderr
    assert not (folders / "scores").exists()
