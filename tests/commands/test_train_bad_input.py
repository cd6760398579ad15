"""Data that is odd or does not go together: a clear error, or a training that says what it could not learn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.fields import write_field
from hpa_cells.models import load_checkpoint, load_models
from hpa_cells.table import Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Field, Segmentation

Program = Callable[..., Any]
QUICK = ("trainer.max_epochs=1", "logger=none")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def relabelled(drawn: Any, folder: Path, lines: list[str], header: str = "ID,Label") -> list[str]:
    """Settings that put another label table in place of the drawn one."""
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return [f"data.labels=[{path}]"]


def add_field(
    root: Path, table: TableWriter, field_id: str, num_cells: int, class_set: str = "hpa2021"
) -> None:
    """A field with so many cells, beside those in `root`."""
    image = np.random.default_rng(0).integers(5, 15, (4, 64, 96), dtype=np.uint8)
    cells = np.zeros((64, 96), dtype=np.int32)
    for cell in range(num_cells):
        cv2.circle(cells, (28 + 40 * cell, 32), 18, 7 + cell, -1)
    image[:, cells > 0] = 150
    write_field(Field(field_id=field_id, image=image, pixel_size_um=0.5), root / "train")
    segmentation = Segmentation(field_id=field_id, cells=cells, nuclei=cells, pixel_size_um=0.5)
    classes = get_class_set(class_set)
    scores = CellScores(
        field_id=field_id,
        class_set=classes,
        cell_ids=segmentation.cell_ids,
        probabilities=np.zeros((num_cells, len(classes)), dtype=np.float32),
        field_probabilities=np.zeros(len(classes), dtype=np.float32),
        embeddings=np.zeros((num_cells, 0), dtype=np.float32),
    )
    table.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))


@pytest.fixture
def more(drawn: Any, tmp_path: Path) -> list[str]:
    """Settings of the drawn fields with two more: ``lone`` has one cell, ``none`` has none."""
    shutil.copytree(drawn.root / "train", tmp_path / "train")
    shutil.copytree(drawn.root / "truth", tmp_path / "truth")
    with TableWriter(tmp_path / "truth", provenance=read_table(drawn.root / "truth").provenance) as table:
        add_field(tmp_path, table, "lone", 1)
        add_field(tmp_path, table, "none", 0)
    labels = (drawn.root / "train.csv").read_text() + "lone,16\nnone,16\n"
    (tmp_path / "train.csv").write_text(labels)
    return [
        f"data.root={tmp_path}",
        f"segmenter.folder={tmp_path / 'truth'}",
        f"crop_store={tmp_path / 'crops'}",
    ]


def test_a_class_without_any_field_is_not_measured_and_the_rest_is(drawn: Any, tmp_path: Path) -> None:
    weighted = ["loss.class_weights=effective_number", "loss.positive_power=1", "bags.balance=1"]
    drawn.train(tmp_path / "model", *weighted, *QUICK)
    metrics = load_checkpoint(tmp_path / "model").provenance["metrics"]
    assert metrics["fields_of_class"]["cytosol"] > 0
    assert metrics["average_precision"]["cytosol"] is not None
    assert (metrics["fields_of_class"]["nucleoli"], metrics["average_precision"]["nucleoli"]) == (0, None)
    assert 0 < metrics["macro_average_precision"] <= 1
    weights = load_checkpoint(tmp_path / "model").model.state_dict().values()
    assert all(torch.isfinite(each).all() for each in weights)


def test_a_fold_without_a_class_says_so(drawn: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # One field alone shows nucleoli.
    labels = relabelled(drawn, tmp_path, ["f00,2|16", *(f"f{index:02d},16" for index in range(1, 10))])
    found = []
    for fold in range(2):
        caplog.clear()
        out = tmp_path / f"fold-{fold}"
        drawn.train(out, *labels, "data.num_folds=2", f"data.fold={fold}", *QUICK)
        metrics = load_checkpoint(out).provenance["metrics"]
        number = metrics["fields_of_class"]["nucleoli"]
        unseen = "validation" if number == 0 else "training"
        [told] = [each for each in caplog.messages if each.startswith(f"No {unseen} field shows")]
        assert "nucleoli" in told.split(": they are not")[0].split(" shows ")[1].split(", ")
        assert (metrics["average_precision"]["nucleoli"] is None) == (number == 0)
        found.append(number)
    assert sorted(found) == [0, 1]


def test_a_class_that_only_one_group_has_is_learned_in_the_other_folds(
    drawn: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        f"f{index:02d},{'2|16' if index < 4 else '16'},{'A' if index < 4 else index}" for index in range(10)
    ]
    labels = relabelled(drawn, tmp_path, lines, "ID,Label,antibody")
    out = tmp_path / "model"
    drawn.train(out, *labels, "data.groups=antibody", "data.num_folds=2", "cross_fit=true", *QUICK)
    metrics = [load_checkpoint(out / f"fold-{fold}").provenance["metrics"] for fold in range(2)]
    assert sorted(each["fields_of_class"]["nucleoli"] for each in metrics) == [0, 4]
    for part in ("training", "validation"):
        assert any(
            each.startswith(f"No {part} field shows") and " nucleoli" in each for each in caplog.messages
        )
    assert len(read_table(out / "out_of_fold").fields) == 10


def test_fields_of_one_cell_and_of_none(
    drawn: Any, tmp_path: Path, more: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "model"
    drawn.train(out, *more, "cross_fit=true", "data.num_folds=2", "bags.cells_per_field=1", *QUICK)
    assert "Left out 1 of 12 fields, in which no cell was found." in caplog.text
    numbers = [
        load_checkpoint(out / f"fold-{fold}").provenance["data"]["training_fields"] for fold in range(2)
    ]
    assert sum(numbers) == 11
    fields = read_table(out / "out_of_fold").fields.set_index("field_id")
    assert fields.loc[["lone", "none"], "num_cells"].tolist() == [1, 0]


def test_a_batch_of_one_cell_is_refused_where_an_encoder_cannot_learn_from_it(
    drawn: Any, tmp_path: Path, more: list[str]
) -> None:
    one = ["bags.fields_per_batch=1", "bags.cells_per_field=1", "data.num_folds=2"]
    with pytest.raises(ValueError, match=r"fields_per_batch is 1, in 1 processes.* single cell.*raise it"):
        drawn.train(tmp_path / "a", *more, *one, *QUICK)
    # With all cells of a field there is such a batch where the field of one cell is for training.
    errors = []
    for fold in range(2):
        try:
            drawn.train(tmp_path / f"b{fold}", *more, one[0], one[2], f"data.fold={fold}", *QUICK)
        except ValueError as error:
            errors.append(str(error))
    assert ["single cell" in each for each in errors] == [True]
    drawn.train(tmp_path / "c", *more, *one, "+encoder.options.norm_layer=groupnorm1", "init=none", *QUICK)


def test_more_folds_than_fields_or_groups(drawn: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="10 fields cannot be split into 11 folds: use fewer folds"):
        drawn.train(tmp_path / "a", "data.num_folds=11", *QUICK)
    with pytest.raises(ValueError, match="num_folds is 1, expected 2 or more"):
        drawn.train(tmp_path / "a", "data.num_folds=1", *QUICK)
    labels = relabelled(
        drawn, tmp_path, [f"f{index:02d},16,{index % 2}" for index in range(10)], "ID,Label,gene"
    )
    with pytest.raises(ValueError, match="2 groups cannot be split into 3 folds"):
        drawn.train(tmp_path / "a", *labels, "data.groups=gene", "data.num_folds=3", *QUICK)
    with pytest.raises(ValueError, match="no column 'antibody' to group by; its group columns: gene"):
        drawn.train(tmp_path / "a", *labels, "data.groups=antibody", *QUICK)


def test_labels_of_two_years_and_of_other_columns_train_together(drawn: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "ID,Label\n" + "".join(f"f{index:02d},{index % 2}|16\n" for index in range(4))
    )
    # Of 2018: 25 is cytosol, 8 peroxisomes, which 2021 counts to the vesicles.
    (tmp_path / "b.csv").write_text("Id,Target\n" + "".join(f"f{index:02d},25 8\n" for index in range(4, 7)))
    (tmp_path / "c.csv").write_text(
        "image,where\n" + "".join(f"f{index:02d},Cytosol;24\n" for index in range(7, 10))
    )
    named = "id_column: image, label_column: where, separator: ';', class_set: hpa2018"
    described = f"{{path: {tmp_path / 'c.csv'}, {named}}}"
    tables = f"data.labels=[{tmp_path / 'a.csv'},{tmp_path / 'b.csv'},{described}]"
    drawn.train(tmp_path / "model", tables, "data.num_folds=2", *QUICK)
    provenance = load_checkpoint(tmp_path / "model").provenance
    assert provenance["settings"]["data"]["labels"][2]["id_column"] == "image"
    validated = provenance["metrics"]["fields_of_class"]
    learned = {key: share * 5 for key, share in provenance["data"]["label_shares"].items()}
    total = {key: round(validated[key] + learned[key]) for key in validated}
    shown = {key: number for key, number in total.items() if number}
    assert shown == {"cytosol": 10, "nucleoplasm": 2, "nuclear_membrane": 2, "vesicles": 3, "aggresome": 3}

    with pytest.raises(
        ValueError, match=r"c\.csv, line 1: columns are image, where, expected ID,Label or Id,Target"
    ):
        drawn.train(tmp_path / "b", f"data.labels=[{tmp_path / 'a.csv'},{tmp_path / 'c.csv'}]", *QUICK)
    wrong = described.replace("id_column: image", "id_column: name")
    with pytest.raises(ValueError, match=r"c\.csv, line 1: columns are image, where, name is not among them"):
        drawn.train(tmp_path / "b", f"data.labels=[{tmp_path / 'a.csv'},{wrong}]", *QUICK)


def of_2018(drawn: Any, folder: Path) -> list[str]:
    return [
        *relabelled(drawn, folder, [f"f{index:02d},25" for index in range(10)], "Id,Target"),
        "data=hpa2018",
    ]


def test_models_of_another_class_set(
    drawn: Any, tmp_path: Path, hpa_cells: Program, caplog: pytest.LogCaptureFixture
) -> None:
    drawn.train(tmp_path / "of_2021", *QUICK)
    start = f"init={tmp_path / 'of_2021'}"
    still = ["optimizer.lr=0", "callbacks.averaging=null"]
    with caplog.at_level("INFO"):
        drawn.train(tmp_path / "of_2018", *of_2018(drawn, tmp_path), start, *still, *QUICK)
    assert "of_2021 has the classes of hpa2021: its encoder is taken over, its heads are not." in caplog.text
    first, second = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("of_2021", "of_2018"))
    torch.testing.assert_close(second["encoder.conv1.0.weight"], first["encoder.conv1.0.weight"])
    assert len(second["cell_head.weight"]) == 28
    with pytest.raises(
        ValueError, match="The models have classes of hpa2021 and hpa2018: give models of one"
    ):
        load_models([tmp_path / "of_2021", tmp_path / "of_2018"])

    predicted = [
        f"fields={drawn.root / 'train'}",
        "segmenter=cell_table",
        f"segmenter.folder={drawn.root / 'truth'}",
    ]
    ended = hpa_cells("predict", *predicted, f"model={tmp_path / 'of_2018'}", f"out={tmp_path / 'run'}")
    assert ended.status == 0, ended.stderr
    ended = hpa_cells(
        "evaluate", f"table={tmp_path / 'run'}", f"truth={drawn.root / 'truth'}", f"out={tmp_path / 'scores'}"
    )
    assert ended.status == 1
    assert "has the classes of hpa2021, the run those of hpa2018" in ended.stderr


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("cells were cut")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["pooling=by_class", "method.field_head=own"], "method.field_head=shared"),
        (["pooling.name=median"], "Pooling 'median' is unknown"),
        (["loss.smoothing=2"], "loss.smoothing is 2.0"),
        (["+loss.gamma=2"], "loss.gamma is 2.0, which loss bce does not have"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["optimizer=sgd", "optimizer.momentum=-1"], "Invalid momentum"),
        (["+optimizer.betta=1"], "betta"),
        (["scheduler.warmup_fraction=a"], "warmup_fraction|multiply|str"),
        (["+scheduler.warmup=1"], "warmup"),
        (["trainer.precision=12"], "12"),
        (["callbacks.early_stopping.mode=up"], "mode"),
        (["made_up.share=-1"], "made_up.share"),
        (["data.fold=5"], "data.fold is 5"),
        (["soft_labels.rule=none"], "soft_labels|rule"),
        (["crops.size_px=0"], "size_px"),
        (["encoder.name=resnt18"], "did you mean"),
        (["init=nowhere"], "nowhere"),
        (["method=oracle", "cell_labels=nowhere"], "nowhere"),
        (["method.cell_weight=-1"], "method.cell_weight -1.0"),
    ],
)
def test_what_needs_no_cells_is_refused_before_any_is_cut(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], message: str
) -> None:
    monkeypatch.setattr("hpa_cells.training.cutting.cut_fields", never)
    with pytest.raises(Exception, match=message) as caught:
        drawn.train(tmp_path / "model", *settings)
    assert not isinstance(caught.value, AssertionError)


def test_cell_labels_of_another_class_set_are_refused_before_any_cell_is_cut(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpa_cells.training.cutting.cut_fields", never)
    provenance = Provenance(version="0", class_set="hpa2018", source="test")
    with TableWriter(tmp_path / "truth", provenance=provenance) as table:
        add_field(tmp_path, table, "f00", 2, class_set="hpa2018")
    with pytest.raises(ValueError, match="The cell labels are of class set hpa2018, the data of hpa2021"):
        drawn.train(tmp_path / "model", "method=oracle", f"cell_labels={tmp_path / 'truth'}")


def test_first_weights_do_not_depend_on_whether_cells_had_to_be_cut(drawn: Any, tmp_path: Path) -> None:
    # The U-Net's own weights are drawn before they are read, where cells are still to be cut.
    still = ["optimizer.lr=0", "callbacks.averaging=null", "init=none", "segmenter=unet", *QUICK]
    overrides = [
        each for each in drawn.overrides(tmp_path) if not each.startswith(("segmenter", "crop_store", "out="))
    ]
    for name in ("cutting", "cut"):
        run(
            compose(
                "train", [*overrides, *still, f"out={tmp_path / name}", f"crop_store={tmp_path / 'crops'}"]
            )
        )
    one, other = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("cutting", "cut"))
    for name in ("cell_head.weight", "encoder.conv1.0.weight"):
        torch.testing.assert_close(other[name], one[name], rtol=0, atol=0)


def test_out_of_fold_scores_come_from_the_device_of_the_training(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pick_device(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("hpa_cells.prediction.pick_device", pick_device)
    fits = ["cross_fit=true", "data.num_folds=2", *QUICK]
    drawn.train(tmp_path / "cpu", *fits)
    drawn.train(tmp_path / "auto", *fits, "trainer.accelerator=auto")
    assert asked == ["cpu", "auto"]


def test_a_training_answers_with_its_score_also_when_it_is_finished(drawn: Any, tmp_path: Path) -> None:
    score = drawn.train(tmp_path / "model", *QUICK)
    found = load_checkpoint(tmp_path / "model").provenance["metrics"]["macro_average_precision"]
    assert score == found == drawn.train(tmp_path / "model", *QUICK)
    folds = drawn.train(tmp_path / "folds", "cross_fit=true", "data.num_folds=2", *QUICK)
    each = [load_checkpoint(tmp_path / f"folds/fold-{fold}").provenance["metrics"] for fold in range(2)]
    assert folds == pytest.approx(np.mean([metrics["macro_average_precision"] for metrics in each]))


def test_a_grid_of_trainings_shares_its_crops(drawn: Any, tmp_path: Path, hpa_cells: Program) -> None:
    overrides = [
        each for each in drawn.overrides(tmp_path / "all", *QUICK) if not each.startswith("crop_store")
    ]
    ended = hpa_cells("train", *overrides, "method=naive,dual_head", "--multirun")
    assert ended.status == 0, ended.stderr
    runs = pd.read_csv(tmp_path / "all/runs.csv")
    for number, score in zip(runs["run"], runs["score"], strict=True):
        checkpoint = load_checkpoint(tmp_path / "all" / str(number))
        assert score == pytest.approx(checkpoint.provenance["metrics"]["macro_average_precision"])
    assert [str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("crops")] == [
        "training/crops"
    ]
