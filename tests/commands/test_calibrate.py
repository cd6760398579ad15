import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import hpa_cells as package
from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.commands.calibrate import warnings_of
from hpa_cells.commands.calibration import ReliabilityTables
from hpa_cells.prediction import Fusion, read_learned_fusion
from hpa_cells.prediction.calibration import Calibration, ScaleMap
from hpa_cells.prediction.learned_fusion import CELL_ALONE, ClassRule, FusionRules, LearnedFusion
from hpa_cells.prediction.scores_file import write_learned_fusion
from hpa_cells.segmentation import read_segmentation
from hpa_cells.table import Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

Program = Callable[..., Any]
HPA2021 = get_class_set("hpa2021")
NEGATIVE, SPINDLE = HPA2021.index("negative"), HPA2021.index("mitotic_spindle")
NUM_FIELDS, NUM_CELLS = 40, 5
OWN = {"fusion": Fusion().provenance, "area_weight": {"border_um2": 0.0, "inner_um2": 0.0}}


def segmentation(index: int) -> Segmentation:
    """A field of 20 x 50 px with five cells in a row; the last has none."""
    cells = np.zeros((20, 50), dtype=np.int32)
    for cell in range(NUM_CELLS if index < NUM_FIELDS - 1 else 0):
        cells[4:16, 10 * cell : 10 * cell + 8] = cell + 1
    return Segmentation(field_id=f"f{index:02d}", cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=0.5)


def write_table(
    folder: Path,
    of_cells: np.ndarray,
    of_fields: np.ndarray,
    class_set: ClassSet = HPA2021,
    **provenance: Any,
) -> None:
    """Write probabilities (F, N, K) of cells and (F, K) of fields."""
    given = {
        "version": "1",
        "class_set": class_set.name,
        "source": "model",
        "weights_hash": "abc",
        "settings": OWN,
    }
    with TableWriter(folder, provenance=Provenance(**(given | provenance))) as writer:
        for index, (cells, field) in enumerate(zip(of_cells, of_fields, strict=True)):
            found = segmentation(index)
            num_cells = len(found.cell_ids)
            scores = CellScores(
                field_id=found.field_id,
                class_set=class_set,
                cell_ids=found.cell_ids,
                probabilities=cells[:num_cells].astype(np.float32),
                field_probabilities=(field if num_cells else np.full(len(field), np.nan)).astype(np.float32),
                embeddings=np.zeros((num_cells, 0), dtype=np.float32),
            )
            writer.add(cells=cell_rows(found, scores), field_row=field_row(found, scores))


def truths() -> tuple[np.ndarray, np.ndarray]:
    """Cells (F, N, K) and fields (F, K): a cell shows what its field has and it would show; nobody divides."""
    rng = np.random.default_rng(0)
    fields = rng.random((NUM_FIELDS, 19)) < 0.4
    fields[:, SPINDLE] = False
    return fields[:, None] & (rng.random((NUM_FIELDS, NUM_CELLS, 19)) < 0.6), fields


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run``, ``truth``, ``labels.csv``: scores that know something and are too sure of it."""
    folder = tmp_path_factory.mktemp("written")
    cells, fields = truths()
    rng = np.random.default_rng(1)
    of_cells = expit(3 * (2.0 * cells - 1) + 4 * rng.normal(size=cells.shape))
    of_fields = expit(3 * (2.0 * fields - 1) + 3 * rng.normal(size=fields.shape))
    write_table(folder / "run", of_cells, of_fields)
    write_table(folder / "truth", cells, fields, source="simulation truth", weights_hash="", settings={})
    rows = [f"f{index:02d},{'|'.join(map(str, np.flatnonzero(row)))}" for index, row in enumerate(fields)]
    (folder / "labels.csv").write_text("\n".join(["ID,Label", *rows[::-1]]) + "\n")
    return folder


@pytest.fixture
def folders(written: Path, tmp_path: Path) -> Path:
    """A copy of the above, for one test."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def calibrate(
    hpa_cells: Program, folders: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Program:
    """Call ``hpa-cells calibrate`` with few draws, into ``scores``; it draws where a test is about pictures."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr("hpa_cells.commands.calibrate.write_reliability_figure", lambda *_, **__: None)

    def call(*settings: str) -> Any:
        places = [f"table={folders / 'run'}", f"truth={folders / 'truth'}", f"out={folders / 'scores'}"]
        quick = ["fusion.cell_weights=[0.3,0.6]", "fusion.num_resamples=10", "num_folds=3"]
        return hpa_cells("calibrate", *places, *quick, *settings)

    return call


def scores(folders: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folders / "scores" / "scores.json").read_text())
    return content


def test_what_is_written_and_pictures(calibrate: Program, folders: Path) -> None:
    ended = calibrate()
    assert ended.status == 0, ended.stderr
    assert sorted(path.name for path in (folders / "scores").iterdir()) == [
        "reliability.csv", "reliability.png", "reliability_fields.png", "scores.json",
    ]  # fmt: skip
    content = scores(folders)
    assert content["class_set"] == "hpa2021"
    told = content["provenance"]
    assert told["table_weights_hash"] == "abc"
    assert (told["num_fields"], told["num_cells"], told["num_cells_on_a_true_one"]) == (40, 195, 195)
    assert told["settings"]["choice"]["cell_weights"] == [0.3, 0.6]
    learned = read_learned_fusion(folders / "scores")
    assert learned.rules is not None
    assert str(learned.rules.common) != "cell"
    for name in ("reliability.png", "reliability_fields.png"):
        picture = cv2.imread(str(folders / "scores" / name))
        assert min(picture.shape[:2]) > 600
        # Blue and orange of Okabe and Ito, as blue, green, red.
        for color in ((178, 114, 0), (0, 94, 213)):
            assert (np.abs(picture.astype(int) - color).max(axis=2) < 8).sum() > 200


def test_what_is_reported_was_not_learned_from(calibrate: Program, folders: Path) -> None:
    calibrate()
    means = scores(folders)["scores"]["cells"]["on_fields_left_out"]
    assert means["mean_calibration_error_after"] < 0.6 * means["mean_calibration_error_before"]
    assert means["mean_brier_after"] < means["mean_brier_before"]
    assert means["mean_ap_learned"] > means["mean_ap_own"] + 0.03
    # All scores of a class without truth are null, beside its support.
    for part, rows in (("cells", 195), ("fields", 39)):
        of_spindle = scores(folders)["scores"][part]["per_class"][SPINDLE]
        assert of_spindle["num_truths"] == 0
        assert of_spindle["num_rows"] == rows
        assert of_spindle["calibration_error_before"] is of_spindle["brier_after"] is None


@pytest.mark.parametrize("truth", ["truth", "labels.csv"])
def test_each_field_is_beside_its_own_truth(calibrate: Program, folders: Path, truth: str) -> None:
    """The rows of the CSV are in another order than those of the table."""
    calibrate(f"truth={folders / truth}")
    _, fields = truths()
    run = read_table(folders / "run")
    said, true = run.field_probabilities()[:-1], fields[:-1]
    for index, row in enumerate(scores(folders)["scores"]["fields"]["per_class"]):
        if index != SPINDLE:
            assert row["num_truths"] == true[:, index].sum()
            assert row["brier_before"] == pytest.approx(
                np.mean((said[:, index] - true[:, index]) ** 2), rel=1e-4
            )


def test_the_bins_of_the_picture(calibrate: Program, folders: Path) -> None:
    calibrate()
    bins = pd.read_csv(folders / "scores" / "reliability.csv")
    sums = bins.groupby(["of", "class_key", "stage"])["num_rows"].sum().unstack("of")
    assert (sums["cells"] == 195).all()
    assert (sums["fields"] == 39).all()
    assert len(sums) == 2 * 19
    assert ((bins["low"] <= bins["observed"] + 1e-9) & (bins["observed"] <= bins["high"] + 1e-9)).all()
    before = bins[(bins["stage"] == "before") & (bins["of"] == "cells") & (bins["class_key"] == "nucleoli")]
    run = read_table(folders / "run").cells["p_nucleoli"]
    assert (before["predicted"] * before["num_rows"]).sum() == pytest.approx(run.sum(), rel=1e-5)


def test_what_is_printed(calibrate: Program, folders: Path) -> None:
    ended = calibrate()
    content = scores(folders)["scores"]
    lines = ended.stdout.splitlines()
    [line] = [line for line in lines if line.strip().startswith("Golgi")]
    row = content["cells"]["per_class"][HPA2021.index("golgi_apparatus")]
    for column in ("ap_own", "ap_learned", "calibration_error_before", "calibration_error_after"):
        assert f"{row[column]:.3f}" in line
    [line] = [line for line in lines if "spindle" in line and "keep" not in line]
    assert line.split()[-5:] == ["-", "-", "-", "-", "0"]
    means = content["cells"]["on_fields_left_out"]
    assert f"mAP {means['mean_ap_own']:.3f} of the cells' own scores" in ended.stdout
    assert "Classes that keep their scores, as no cells or all of them show them: Mitotic spindle." in lines
    assert "Calibration error of fields" in ended.stdout
    assert max(map(len, lines[: lines.index(next(each for each in lines if each.startswith("mAP")))])) <= 80


def test_what_makes_things_worse_is_told() -> None:
    def tables(before: float, after: float, learned: float) -> dict[str, ReliabilityTables]:
        per_class = pd.DataFrame(
            {"brier_before": [before], "brier_after": [after], "ap_own": [0.5], "ap_learned": [learned]}
        )
        return {"cells": ReliabilityTables(per_class=per_class, bins=pd.DataFrame())}

    assert list(warnings_of(tables(0.2, 0.1, 0.6))) == []
    [calibration] = warnings_of(tables(0.1, 0.2, 0.6))
    assert "Brier score 0.2000, before 0.1000" in calibration
    [fusion] = warnings_of(tables(0.2, 0.1, 0.4))
    assert "fusion.rules=[]" in fusion


def test_the_same_command_gives_the_same(calibrate: Program, folders: Path) -> None:
    calibrate()
    first = (folders / "scores" / "scores.json").read_bytes()
    calibrate()
    assert (folders / "scores" / "scores.json").read_bytes() == first
    calibrate("seed=1")
    assert (folders / "scores" / "scores.json").read_bytes() != first


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_every_calibration(calibrate: Program, folders: Path, method: str) -> None:
    assert calibrate(f"calibration={method}").status == 0
    learned = read_learned_fusion(folders / "scores")
    assert learned.cells is not None
    assert {learned.cells.method, learned.fields.method} == {method}
    kept = [each is None for each in learned.cells.maps]
    assert kept == [method == "none" or index == SPINDLE for index in range(19)]


def test_no_fusion_on_request(calibrate: Program, folders: Path) -> None:
    assert calibrate("fusion.rules=[]", "fusion.negative=[]").status == 0
    rules = read_learned_fusion(folders / "scores").rules
    assert rules is not None
    assert set(rules.words(HPA2021)) == {"cell"}


def test_without_a_cell_on_a_true_one_nothing_can_be_learned_of_cells(
    calibrate: Program, folders: Path
) -> None:
    run = read_table(folders / "run")
    with TableWriter(folders / "no_cells", provenance=run.provenance) as writer:
        for row in run.fields.to_dict("records"):
            writer.add(cells=pd.DataFrame(), field_row=row)
    ended = calibrate(f"table={folders / 'no_cells'}")
    assert ended.status == 1
    assert "no_cells has 0 cells, none of which lies on a true one (IoU 0.6)" in ended.stderr
    assert calibrate(f"table={folders / 'no_cells'}", f"truth={folders / 'labels.csv'}").status == 0


def test_labels_of_fields_calibrate_fields_only(calibrate: Program, folders: Path) -> None:
    ended = calibrate(f"truth={folders / 'labels.csv'}")
    assert ended.status == 0, ended.stderr
    assert "labels fields only: their scores are calibrated, those of cells are not" in ended.stderr
    assert "mAP" not in ended.stdout
    content = scores(folders)
    assert content["fusion"] is content["cells"] is None
    assert list(content["scores"]) == ["fields"]
    # The last field has labels and no cells: it has no scores to calibrate.
    assert {row["num_rows"] for row in content["scores"]["fields"]["per_class"]} == {39}


def test_a_cross_fit_holds_own_scores(calibrate: Program, folders: Path) -> None:
    cells, fields = truths()
    settings = {"weights_of_folds": ["a", "b"], "training": {}}
    write_table(folders / "out_of_fold", 0.8 * cells + 0.1, 0.8 * fields + 0.1, settings=settings)
    ended = calibrate(f"table={folders / 'out_of_fold'}")
    assert ended.status == 0
    assert "out of fold" not in ended.stderr


@pytest.mark.parametrize("truth", ["truth", "labels.csv"])
def test_scores_of_fields_that_the_model_may_have_seen_are_told(
    calibrate: Program, folders: Path, truth: str
) -> None:
    ended = calibrate(f"truth={folders / truth}")
    assert ended.status == 0
    told = " ".join(ended.stderr.split())
    assert f"{folders / 'run'} is not out of fold. A model is surer of fields that it was trained on" in told
    assert "give ROUND/out_of_fold of `hpa-cells train cross_fit=true out=ROUND`" in told


@pytest.mark.parametrize(
    "settings",
    [
        OWN | {"fusion": Fusion(rule="product").provenance},
        OWN | {"fusion": Fusion(cell_weight=0.7).provenance},
        OWN | {"fusion": Fusion(negative="one_minus_max").provenance},
        OWN | {"fusion": {"rule": "learned"}},
        OWN | {"area_weight": {"border_um2": 512.0, "inner_um2": 0.0}},
        {},
    ],
)
def test_scores_that_are_not_the_cells_own_are_refused(
    calibrate: Program, folders: Path, settings: dict[str, Any]
) -> None:
    cells, fields = truths()
    write_table(folders / "other", cells, fields, settings=settings)
    ended = calibrate(f"table={folders / 'other'}")
    assert ended.status == 1
    assert "predict again with fusion=cell and without area_weight" in ended.stderr
    assert not (folders / "scores").exists()


def test_a_truth_is_no_run(calibrate: Program, folders: Path) -> None:
    ended = calibrate(f"table={folders / 'truth'}")
    assert ended.status == 1
    assert "was not predicted with the cells' own scores" in ended.stderr


def test_fields_of_one_only(calibrate: Program, folders: Path) -> None:
    lines = (folders / "labels.csv").read_text().splitlines()
    (folders / "some.csv").write_text("\n".join([lines[0], *lines[4:], "g,0"]) + "\n")
    ended = calibrate(f"truth={folders / 'some.csv'}")
    assert ended.status == 1
    assert "3 fields of the table have no truth (f37, f38, f39) and 1 of the truth were not" in ended.stderr
    assert calibrate(f"truth={folders / 'some.csv'}", "missing_fields=leave_out").status == 0
    assert scores(folders)["provenance"]["num_fields"] == 37
    (folders / "none.csv").write_text("ID,Label\ng,0\n")
    ended = calibrate(f"truth={folders / 'none.csv'}", "missing_fields=leave_out")
    assert "Table and truth have no field in common" in ended.stderr


def test_fields_left_out_are_as_never_there(calibrate: Program, folders: Path) -> None:
    """Of cells too: a run of some of the true fields, out of their order."""
    run = read_table(folders / "run")
    some = [f"f{index:02d}" for index in range(30)]
    with TableWriter(folders / "part", provenance=run.provenance) as writer:
        for field_id in reversed(some):
            rows = run.cells[run.cells[Column.FIELD_ID] == field_id].reset_index(drop=True)
            [row] = run.fields[run.fields[Column.FIELD_ID] == field_id].to_dict("records")
            writer.add(cells=rows, field_row=row)
    ended = calibrate(f"table={folders / 'part'}", "missing_fields=leave_out")
    assert ended.status == 0, ended.stderr
    of_part = scores(folders)
    assert (of_part["provenance"]["num_fields"], of_part["provenance"]["num_true_cells"]) == (30, 150)
    truth = read_table(folders / "truth")
    with TableWriter(folders / "part_truth", provenance=truth.provenance) as writer:
        for field_id in some:
            rows = truth.cells[truth.cells[Column.FIELD_ID] == field_id].reset_index(drop=True)
            [row] = truth.fields[truth.fields[Column.FIELD_ID] == field_id].to_dict("records")
            writer.add(cells=rows, field_row=row)
    calibrate(f"table={folders / 'part'}", f"truth={folders / 'part_truth'}")
    assert scores(folders) == of_part


def test_a_truth_of_other_classes_is_refused(calibrate: Program, folders: Path) -> None:
    of_2018 = get_class_set("hpa2018")
    zeros = np.zeros((NUM_FIELDS, NUM_CELLS, 28))
    write_table(folders / "of_2018", zeros, zeros[:, 0], class_set=of_2018)
    ended = calibrate(f"truth={folders / 'of_2018'}")
    assert ended.status == 1
    assert "has the classes of hpa2018, the run those of hpa2021" in ended.stderr


def test_cells_without_scores_of_their_field(calibrate: Program, folders: Path) -> None:
    cells, fields = truths()
    write_table(folders / "no_fields", 0.8 * cells + 0.1, np.full(fields.shape, np.nan))
    ended = calibrate(f"table={folders / 'no_fields'}")
    assert ended.status == 1
    assert "set fusion.rules=[] and fusion.negative=[]" in ended.stderr
    alone = ["fusion.rules=[]", "fusion.negative=[]"]
    assert calibrate(f"table={folders / 'no_fields'}", *alone).status == 0
    assert list(scores(folders)["scores"]) == ["cells"]
    ended = calibrate(f"table={folders / 'no_fields'}", f"truth={folders / 'labels.csv'}")
    assert "no_fields has no field with scores: there is nothing to calibrate" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("table=nowhere", "nowhere holds no cell table"),
        ("truth=nowhere", "nowhere"),
        ("calibration=plat", "calibration is 'plat': use one of none, temperature, platt, isotonic"),
        ("missing_fields=drop", "missing_fields is 'drop': use one of error, leave_out"),
        ("num_folds=1", "num_folds is 1: give at least 2"),
        ("num_folds=41", "41"),
        ("num_bins=1", "num_bins is 1: give at least 2"),
        ("num_bins=many", "many"),
        ("fusion.rules=[sum]", "fusion.rules holds 'sum'"),
        ("fusion.cell_weights=[0.5,2]", "fusion.cell_weights holds 2.0"),
        ("fusion.standard_errors=-1", "fusion.standard_errors is -1"),
    ],
)
def test_a_wrong_setting_is_told_and_nothing_written(
    calibrate: Program, folders: Path, setting: str, message: str
) -> None:
    ended = calibrate(setting)
    assert ended.status == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folders / "scores").exists()


def test_a_misspelt_setting_is_refused(calibrate: Program) -> None:
    ended = calibrate("fusion.min_field=3")
    assert ended.status == 2
    assert "`fusion.min_fields`" in ended.stderr


@pytest.fixture
def learned(small_world: Any, tmp_path: Path) -> LearnedFusion:
    """Rules and calibration, as if learned with the model of the small world, in ``tmp_path/learned``."""
    rng = np.random.default_rng(0)
    maps, of_fields = (
        Calibration(
            method="platt",
            maps=tuple(
                ScaleMap(scale=scale, bias=bias)
                for scale, bias in zip(rng.uniform(0.3, 3, 19), rng.uniform(-6, 6, 19), strict=True)
            ),
        )
        for _ in range(2)
    )
    of_classes = [ClassRule(rule="geometric", cell_weight=0.3)] * 9 + [
        ClassRule(rule="weighted", cell_weight=0.6)
    ] * 9
    content = LearnedFusion(
        class_set=HPA2021,
        rules=FusionRules(common=CELL_ALONE, of_classes=(*of_classes, CELL_ALONE), negative="one_minus_max"),
        cells=maps,
        fields=of_fields,
        provenance_of_scores={
            "table_weights_hash": json.loads((small_world.model / "checkpoint.json").read_text())[
                "weights_sha256"
            ],
            "table_settings": {"tta": {"num_turns": 1, "mirrored": False}},
        },
    )
    write_learned_fusion(tmp_path / "learned", content, scores={})
    return read_learned_fusion(tmp_path / "learned")


@pytest.fixture
def predict(hpa_cells: Program, small_world: Any, tmp_path: Path) -> Program:
    """Call ``hpa-cells predict`` on the small world into ``tmp_path/NAME``."""

    def call(name: str, *settings: str) -> Any:
        places = [f"fields={small_world.fields}", f"model={small_world.model}", f"out={tmp_path / name}"]
        masks = ["segmenter=precomputed", f"segmenter.folder={small_world.masks}", "device=cpu"]
        return hpa_cells("predict", *places, *masks, *settings)

    return call


def assert_learned(plain: Any, fused: Any, learned: LearnedFusion, weights: np.ndarray) -> None:
    """The fused table is what the learned rules make of the plain one, times the weight of each cell."""
    by_id = dict(zip(plain.fields[Column.FIELD_ID], plain.field_probabilities(), strict=True))
    expected = np.concatenate(
        [
            learned.combine(
                cells[Column.probabilities(HPA2021)].to_numpy(dtype=np.float32), by_id[field_id], HPA2021
            )
            for field_id, cells in plain.cells.groupby(Column.FIELD_ID)
        ]
    )
    np.testing.assert_allclose(fused.probabilities(), expected * weights[:, None], atol=1e-5)
    np.testing.assert_allclose(
        fused.field_probabilities(), learned.of_field(plain.field_probabilities()), atol=1e-6
    )


@pytest.mark.parametrize("views", ["none", "d4"])
def test_predict_fuses_calibrates_and_weighs(
    predict: Program, learned: LearnedFusion, tmp_path: Path, views: str
) -> None:
    weigh = ("area_weight.border_um2=60", "area_weight.inner_um2=45")
    assert predict("plain", f"tta={views}").status == 0
    ended = predict("fused", f"tta={views}", "fusion=learned", f"fusion.file={tmp_path / 'learned'}", *weigh)
    assert ended.status == 0, ended.stderr
    assert ("were learned with tta" in ended.stderr) == (views == "d4")
    assert "another model" not in ended.stderr
    plain, fused = (read_table(tmp_path / name) for name in ("plain", "fused"))
    least = np.where(plain.cells[Column.TOUCHES_BORDER], 60, 45)
    weights = np.minimum(1, plain.cells[Column.AREA_UM2] / least)
    assert 0 < (weights < 1).mean() <= 1
    assert_learned(plain, fused, learned, weights.to_numpy())
    settings = fused.provenance.settings
    assert settings["fusion"]["rule"] == "learned"
    assert settings["fusion"]["sha256"] == learned.sha256
    assert settings["fusion"]["rules"]["of_classes"]["negative"] == "one_minus_max"


def test_thresholds_of_the_table_call_the_same_fields(
    predict: Program, learned: LearnedFusion, tmp_path: Path
) -> None:
    predict("plain")
    predict("fused", "fusion=learned", f"fusion.file={tmp_path / 'learned'}")
    called = []
    for name in ("plain", "fused"):
        table = read_table(tmp_path / name)
        thresholds = np.array(list(table.provenance.settings["thresholds"].values()))
        called.append(table.field_probabilities() >= thresholds)
    np.testing.assert_array_equal(*called)
    table, plain = (read_table(tmp_path / name) for name in ("fused", "plain"))
    thresholds = np.array(list(plain.provenance.settings["thresholds"].values()))
    assert ((table.field_probabilities() >= thresholds) != called[0]).any()


def test_several_models_are_averaged_first(
    predict: Program, small_world: Any, learned: LearnedFusion, tmp_path: Path
) -> None:
    from dataclasses import replace

    from hpa_cells.models import load_checkpoint, save_checkpoint

    other = load_checkpoint(small_world.model)
    other.model.cell_head.bias.data += 1
    save_checkpoint(tmp_path / "other", replace(other))
    both = f"model=[{small_world.model},{tmp_path / 'other'}]"
    predict("plain", both)
    ended = predict("fused", both, "fusion=learned", f"fusion.file={tmp_path / 'learned'}")
    assert "were learned on scores of another model" in ended.stderr
    plain, fused = (read_table(tmp_path / name) for name in ("plain", "fused"))
    assert_learned(plain, fused, learned, np.ones(len(plain.cells)))


def test_another_file_is_another_run(predict: Program, learned: LearnedFusion, tmp_path: Path) -> None:
    settings = ("fusion=learned", f"fusion.file={tmp_path / 'learned'}")
    predict("fused", *settings)
    shutil.move(tmp_path / "learned", tmp_path / "moved")
    again = predict("fused", "fusion=learned", f"fusion.file={tmp_path / 'moved'}")
    assert again.status == 0
    assert "5 of 5 fields are finished already" in again.stderr
    write_learned_fusion(tmp_path / "learned", learned, scores={"changed": True})
    ended = predict("fused", *settings)
    assert ended.status == 1
    assert "settings.fusion.sha256" in ended.stderr


def test_predict_refuses_what_does_not_fit(predict: Program, learned: LearnedFusion, tmp_path: Path) -> None:
    of_2018 = LearnedFusion(
        class_set=get_class_set("hpa2018"),
        rules=None,
        cells=None,
        fields=Calibration(method="none", maps=(None,) * 28),
        provenance_of_scores=learned.provenance_of_scores,
    )
    write_learned_fusion(tmp_path / "of_2018", of_2018, scores={})
    for place, message in (
        ("of_2018", "were learned for the classes of hpa2018, the model has those of hpa2021"),
        ("nowhere", "nowhere does not exist: give the folder that `hpa-cells calibrate` wrote to"),
    ):
        ended = predict("fused", "fusion=learned", f"fusion.file={tmp_path / place}")
        assert ended.status == 1
        assert message in ended.stderr
        assert not (tmp_path / "fused").exists()
    ended = predict("fused", "fusion=learned")
    assert ended.status == 2
    assert "`fusion.file` is required" in ended.stderr


def test_labelled_fields_leave_cells_as_they_are(
    predict: Program, learned: LearnedFusion, tmp_path: Path
) -> None:
    only_fields = LearnedFusion(
        class_set=HPA2021,
        rules=None,
        cells=None,
        fields=learned.fields,
        provenance_of_scores=learned.provenance_of_scores,
    )
    write_learned_fusion(tmp_path / "only_fields", only_fields, scores={})
    predict("plain")
    ended = predict("fused", "fusion=learned", f"fusion.file={tmp_path / 'only_fields'}")
    assert "cells keep their own scores" in ended.stderr
    plain, fused = (read_table(tmp_path / name) for name in ("plain", "fused"))
    np.testing.assert_array_equal(fused.probabilities(), plain.probabilities())
    assert (fused.field_probabilities() != plain.field_probabilities()).any()


def test_the_whole_way_in_python(small_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict, calibrate on made-up labels of the same cells, predict with what was learned."""
    masks = [f"segmenter.folder={small_world.masks}"]
    places = {
        "fields": small_world.fields,
        "model": small_world.model,
        "segmenter": "precomputed",
        "device": "cpu",
    }
    monkeypatch.setattr("hpa_cells.commands.calibrate.write_reliability_figure", lambda *_, **__: None)
    package.predict(out=tmp_path / "plain", overrides=masks, **places)
    rng = np.random.default_rng(0)
    with TableWriter(
        tmp_path / "truth", provenance=Provenance(version="1", class_set="hpa2021", source="t")
    ) as writer:
        for field_id in small_world.num_cells:
            cells = read_segmentation(small_world.masks, field_id, pixel_size_um=0.5)
            labels = (rng.random((len(cells.cell_ids), 19)) < 0.5).astype(np.float32)
            said = CellScores(
                field_id=field_id,
                class_set=HPA2021,
                cell_ids=cells.cell_ids,
                probabilities=labels,
                field_probabilities=(rng.random(19) < 0.5).astype(np.float32),
                embeddings=np.zeros((len(labels), 0), dtype=np.float32),
            )
            writer.add(cells=cell_rows(cells, said), field_row=field_row(cells, said))
    out = package.calibrate(
        table=tmp_path / "plain",
        truth=tmp_path / "truth",
        out=tmp_path / "scores",
        num_folds=2,
        calibration="isotonic",
    )
    assert out == tmp_path / "scores"
    fused = package.predict(
        out=tmp_path / "fused", overrides=[*masks, f"fusion.file={out}"], fusion="learned", **places
    )
    plain = read_table(tmp_path / "plain")
    assert_learned(plain, read_table(tmp_path / "fused"), read_learned_fusion(out), np.ones(len(fused)))
    assert (fused["p_nucleoli"] != plain.cells["p_nucleoli"]).any()
