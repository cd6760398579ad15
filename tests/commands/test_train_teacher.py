"""A teacher is asked in the training itself: as two commands would, once, and only where it has something to say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpa_cells.atomic import sole_writer
from hpa_cells.commands import labelled_prediction, train_teacher
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.grammar import paths_as_typed
from hpa_cells.commands.predict import run as predict
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.models import SHIPPED_MODEL, Checkpoint, load_checkpoint, load_models
from hpa_cells.prediction import Failure, Finished, predict_fields
from hpa_cells.table import CellTable, TableWriter, read_table

QUICK = ("trainer.max_epochs=1", "logger=none")
STUDENT = ("method=oracle", "soft_labels=posterior", "callbacks.averaging=null", *QUICK)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def world(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model`` and a cross-fit ``round`` that learned from the labels of fields."""
    folder = tmp_path_factory.mktemp("teachers")
    drawn.train(folder / "model", "method=naive", *QUICK)
    drawn.train(folder / "round", "method=naive", "cross_fit=true", "data.num_folds=2", "seed=1", *QUICK)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the fields that models were asked about by a training, as they come."""
    ids: list[str] = []

    def count(*arguments: Any, **more: Any) -> Iterator[Finished | Failure]:
        for outcome in predict_fields(*arguments, **more):
            ids.append(outcome.field_id)
            yield outcome

    monkeypatch.setattr(labelled_prediction, "predict_fields", count)
    return ids


def answers(out: Path) -> CellTable:
    """The one table that a training has of its teacher."""
    [folder] = (out / "training" / "teacher").iterdir()
    return read_table(folder)


def predicted(drawn: Any, model: Path | str, out: Path) -> CellTable:
    """What the other command says of the training fields."""
    masks = ["segmenter=cell_table", f"segmenter.folder={drawn.root / 'truth'}", "pixel_size_um=0.5"]
    predict(compose("predict", [f"fields={drawn.root / 'train'}", f"model={model}", f"out={out}", *masks]))
    return read_table(out)


def taught(drawn: Any, out: Path, *more: str) -> Checkpoint:
    drawn.train(out, *STUDENT, *more)
    return load_checkpoint(out)


def test_the_student_is_that_of_two_commands(
    drawn: Any, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    student = taught(drawn, tmp_path / "one", f"teacher={world / 'model'}")
    said = predicted(drawn, world / "model", tmp_path / "said")
    np.testing.assert_array_equal(answers(tmp_path / "one").probabilities(), said.probabilities())
    other = taught(drawn, tmp_path / "two", f"cell_labels={tmp_path / 'said'}")
    assert student.weights_hash == other.weights_hash
    # The labels of cells have a say at all.
    drawn.train(tmp_path / "none", "method=naive", "callbacks.averaging=null", *QUICK)
    assert load_checkpoint(tmp_path / "none").weights_hash != student.weights_hash

    teacher = load_checkpoint(world / "model").weights_hash
    assert student.provenance["settings"]["cell_labels"] is None
    for part in ("settings", "training"):
        assert student.provenance[part]["teacher"] == str(world / "model")
        assert student.provenance[part]["teacher_sha256"] == teacher
    assert f"| teacher sha256 | {teacher} |" in (tmp_path / "one" / "README.md").read_text()
    assert "teacher" not in other.provenance["training"]
    assert f"{world / 'model'} has learned from fields of {drawn.root / 'train'}" in caplog.text


def test_several_teachers_answer_as_one(drawn: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Cells are shown to it as to the model in the package.
    drawn.train(tmp_path / "model", "method=naive", "crops.size_px=96", "debug=fast", "logger=none")
    places = [tmp_path / "model", "shipped"]
    student = taught(drawn, tmp_path / "student", f"teacher=[{places[0]},{places[1]}]")
    mean = np.mean(
        [predicted(drawn, place, tmp_path / f"said-{n}").probabilities() for n, place in enumerate(places)],
        axis=0,
    )
    np.testing.assert_allclose(answers(tmp_path / "student").probabilities(), mean, atol=1e-6)
    assert student.provenance["settings"]["teacher"] == [str(each) for each in places]
    assert student.provenance["settings"]["teacher_sha256"] == load_models(places).weights_hash
    assert "About the teacher shipped: Trained on simulated cells only" in caplog.text
    assert "shipped has learned from fields" not in caplog.text


def test_folds_have_answered_already(drawn: Any, world: Path, tmp_path: Path, asked: list[str]) -> None:
    student = taught(drawn, tmp_path / "one", f"teacher={world / 'round'}")
    other = taught(drawn, tmp_path / "two", f"cell_labels={world / 'round' / 'out_of_fold'}")
    assert asked == []
    assert not (tmp_path / "one" / "training" / "teacher").exists()
    assert student.weights_hash == other.weights_hash
    assert student.provenance["settings"]["teacher_sha256"] == load_models(world / "round").weights_hash


def test_folds_of_students_share_the_answers(
    drawn: Any, world: Path, tmp_path: Path, asked: list[str]
) -> None:
    out = tmp_path / "students"
    drawn.train(out, *STUDENT, "cross_fit=true", "data.num_folds=2", f"teacher={world / 'model'}")
    # By the teacher, and by the two students of the fields they have not seen.
    assert len(asked) == 2 * drawn.num_fields
    assert set(answers(out).fields["field_id"]) == set(asked[: drawn.num_fields])
    assert not list(out.glob("fold-*/training/teacher"))
    for fold in range(2):
        alone = taught(
            drawn, tmp_path / f"{fold}", "data.num_folds=2", f"data.fold={fold}", f"teacher={world / 'model'}"
        )
        assert alone.weights_hash == load_checkpoint(out / f"fold-{fold}").weights_hash


def test_a_stop_while_the_teacher_is_asked(
    drawn: Any, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*STUDENT, f"teacher={world / 'model'}")
    asked: list[int] = []

    def stop(sources: Any, **more: Any) -> Iterator[Finished | Failure]:
        asked.append(len(sources))
        for done, outcome in enumerate(predict_fields(sources, **more), start=1):
            yield outcome
            if done == 4 and len(asked) == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(labelled_prediction, "predict_fields", stop)
        with pytest.raises(KeyboardInterrupt):
            drawn.train(tmp_path / "student", *settings)
        drawn.train(tmp_path / "student", *settings)
        assert asked == [10, asked[1]]
        assert 0 < asked[1] <= 6
        # Finished: it answers at once.
        drawn.train(tmp_path / "student", *settings)
        assert len(asked) == 2
    assert (
        load_checkpoint(tmp_path / "student").weights_hash
        == taught(drawn, tmp_path / "whole", f"teacher={world / 'model'}").weights_hash
    )


def test_another_training_is_asking_the_same(
    drawn: Any, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    settings = (f"teacher={world / 'model'}", f"teacher_store={tmp_path / 'store'}")
    taught(drawn, tmp_path / "first", *settings)
    [table] = (tmp_path / "store").iterdir()
    with ExitStack() as other:
        other.enter_context(sole_writer(table))
        # It ends while this one waits.
        monkeypatch.setattr(train_teacher, "sleep", lambda seconds: other.close())
        taught(drawn, tmp_path / "second", *settings)
    assert len(asked) == drawn.num_fields


def test_another_teacher_is_another_training(drawn: Any, world: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(world / "round" / "fold-0", teacher, ignore=shutil.ignore_patterns("training"))
    first = taught(drawn, tmp_path / "student", f"teacher={teacher}")
    shutil.rmtree(teacher)
    shutil.copytree(world / "model", teacher, ignore=shutil.ignore_patterns("training"))
    with pytest.raises(ValueError, match=r"other settings \(teacher_sha256: [0-9a-f]{64} -> "):
        taught(drawn, tmp_path / "student", f"teacher={teacher}")
    # What the other one said is in nobody's way.
    again = taught(drawn, tmp_path / "student", f"teacher={teacher}", "resume=false")
    assert again.weights_hash != first.weights_hash
    assert len(list((tmp_path / "student" / "training" / "teacher").iterdir())) == 2


@pytest.fixture
def damaged(drawn: Any, tmp_path: Path) -> list[str]:
    """Settings of the drawn fields, of which one cannot be read."""
    shutil.copytree(drawn.root / "train", tmp_path / "train")
    (tmp_path / "train" / "f03_green.png").write_bytes(b"\x89PNG\r\n")
    return [f"data.fields=[{tmp_path / 'train'}]", f"crop_store={tmp_path / 'crops'}"]


def test_a_broken_field(
    drawn: Any, world: Path, tmp_path: Path, damaged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = (*damaged, f"teacher={world / 'model'}")
    with pytest.raises(FieldsFailedError, match=r"1 of 10 fields failed; see .*failures.csv.*f03_green.png"):
        taught(drawn, tmp_path / "student", *settings)
    [failures] = (tmp_path / "student" / "training" / "teacher").glob("*/failures.csv")
    assert pd.read_csv(failures)["field_id"].tolist() == ["f03"]
    assert len(answers(tmp_path / "student").fields) == 9

    dropped = taught(drawn, tmp_path / "student", *settings, "data.broken=drop")
    assert f"1 fields are broken, see {failures}. They are left out." in caplog.text
    assert dropped.provenance["data"]["training_fields"] in (7, 8)
    shares = (
        dropped.provenance["metrics"]["validation_fields"] + dropped.provenance["data"]["training_fields"]
    )
    assert shares == 9


def test_folds_that_dropped_a_broken_field(
    drawn: Any, tmp_path: Path, damaged: list[str], asked: list[str]
) -> None:
    folds = ("data.num_folds=2", *damaged, *QUICK)
    drawn.train(tmp_path / "round", "method=naive", "cross_fit=true", "data.broken=drop", *folds)
    assert len(read_table(tmp_path / "round" / "out_of_fold").fields) == 9
    asked.clear()
    teacher = f"teacher={tmp_path / 'round'}"
    student = taught(drawn, tmp_path / "student", *damaged, teacher, "data.broken=drop")
    assert student.provenance["data"]["training_cells"] > 0
    assert asked == []
    with pytest.raises(ValueError, match=r"lacks 1 of 10 labelled fields \(f03\)"):
        taught(drawn, tmp_path / "other", *damaged, teacher)


def unfinished(folder: Path, drawn: Any) -> None:
    """Of ten fields the table has eight."""
    whole = read_table(folder / "out_of_fold")
    shutil.rmtree(folder / "out_of_fold")
    with TableWriter(folder / "out_of_fold", provenance=whole.provenance) as table:
        for row in whole.fields.to_dict("records")[:8]:
            cells = whole.cells[whole.cells["field_id"] == row["field_id"]]
            table.add(cells=cells, field_row=row)


def without_cells(folder: Path, drawn: Any) -> None:
    """As of a view that knows none."""
    whole = read_table(folder / "out_of_fold")
    shutil.rmtree(folder / "out_of_fold")
    with TableWriter(folder / "out_of_fold", provenance=whole.provenance) as table:
        for row in whole.fields.to_dict("records"):
            table.add(cells=pd.DataFrame(), field_row=row | {"num_cells": 0})


def without_table(folder: Path, drawn: Any) -> None:
    shutil.rmtree(folder / "out_of_fold")


def of_2018(folder: Path, drawn: Any) -> None:
    shutil.rmtree(folder)
    classes = ("data=hpa2018", "data.unmatched=drop")
    drawn.train(folder, *classes, "data.num_folds=2", "method=naive", "debug=fast", "logger=none")


def of_squares(folder: Path, drawn: Any) -> None:
    shutil.rmtree(folder)
    squares = ("view=squares", "view.um_per_px=0.5", "view.size_px=32", "view.num_predicted=1")
    drawn.train(folder, *squares, "method=naive", "debug=fast", "logger=none")


def empty(folder: Path, drawn: Any) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def a_table(folder: Path, drawn: Any) -> None:
    shutil.rmtree(folder)
    shutil.copytree(drawn.root / "truth", folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unfinished, r"out_of_fold lacks 2 of 10 labelled fields \(f08, f09\): repeat"),
        (without_cells, "out_of_fold says nothing of cells: choose a cross-fit that sees cells"),
        (without_table, "has no out_of_fold yet: repeat the command of that cross-fit"),
        (of_2018, "of class set hpa2018, the data are of hpa2021"),
        (of_squares, "sees squares of fields and says nothing of cells"),
        (empty, r"neither a model nor a folder of folds: it has no checkpoint.json and no fold-0"),
        (a_table, r"it holds a cell table. Give it as cell_labels="),
    ],
)
def test_what_is_no_teacher(
    drawn: Any,
    world: Path,
    tmp_path: Path,
    asked: list[str],
    change: Callable[[Path, Any], None],
    message: str,
) -> None:
    shutil.copytree(world / "round", tmp_path / "teacher")
    change(tmp_path / "teacher", drawn)
    asked.clear()
    with pytest.raises(ValueError, match=message):
        taught(drawn, tmp_path / "student", f"teacher={tmp_path / 'teacher'}")
    assert asked == []
    assert not (tmp_path / "student" / "training").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("cell_labels=said",), "cell_labels is said: both label the cells"),
        (("method=cell_cam", "view=crops", "method.consistency=0"), "method.cell_weight is 0: no cell would"),
        (("method=dual_head", "heads=one_vs_rest"), "but heads=one_vs_rest learns from labels of fields"),
        (("view=squares", "view.um_per_px=0.5"), "but view=squares knows no cells"),
    ],
)
def test_what_a_teacher_does_not_go_with(
    drawn: Any, tmp_path: Path, asked: list[str], settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        taught(drawn, tmp_path / "student", "teacher=shipped", *settings)
    assert asked == []
    assert not (tmp_path / "student" / "training").exists()


def test_a_place_that_is_not_there_and_folds_beside_a_model(drawn: Any, world: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        taught(drawn, tmp_path / "student", f"teacher={tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="round, a folder of folds, beside others"):
        taught(drawn, tmp_path / "student", f"teacher=[{world / 'round'},{world / 'model'}]")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (("segmenter=watershed",), r"found with segmenter \{'_target_': 'hpa_cells.segmentation.TableMasks'"),
        (("data.pixel_size_um=0.4",), "found with data.pixel_size_um 0.5, this training has 0.4"),
    ],
)
def test_folds_that_speak_of_other_cells(
    drawn: Any, world: Path, tmp_path: Path, settings: tuple[str, ...], found: str
) -> None:
    overrides = [each for each in drawn.overrides(tmp_path / "student", *STUDENT) if "segmenter" not in each]
    teacher = [f"teacher={world / 'round'}"]
    if "segmenter=watershed" not in settings:
        teacher += ["segmenter=cell_table", f"segmenter.folder={drawn.root / 'truth'}"]
    with pytest.raises(ValueError, match=found):
        run(compose("train", [*overrides, *teacher, *settings]))
    # Cut by its own masks, its cells are the same whatever else is said.
    own = ["segmenter=cell_table", f"segmenter.folder={world / 'round' / 'out_of_fold'}"]
    run(compose("train", [*overrides, teacher[0], *own]))
    assert load_checkpoint(tmp_path / "student").provenance["data"]["training_cells"] == 16


@pytest.mark.parametrize(
    "mistake", ["loss.smoothing=1", "optimizer.lr=-1", "trainer.max_epochs=-7", "init=lost"]
)
def test_mistakes_are_told_before_the_teacher_is_asked(
    drawn: Any, tmp_path: Path, asked: list[str], mistake: str
) -> None:
    with pytest.raises(Exception, match=r"smoothing|learning rate|max_epochs|lost"):
        taught(drawn, tmp_path / "student", "teacher=shipped", mistake)
    assert asked == []


def test_scores_taken_for_the_truth_are_told(
    drawn: Any, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taught(drawn, tmp_path / "student", f"teacher={world / 'round'}", "soft_labels=as_they_are")
    assert "soft_labels=as_they_are takes the scores of the teacher for the truth" in caplog.text


def test_places_are_paths() -> None:
    assert paths_as_typed("train", ["teacher=2021", "teacher=[a,b]"], multirun=False) == [
        "teacher='2021'",
        "teacher=[a,b]",
    ]


def test_the_default_is_a_second_round_by_the_model_in_the_package(drawn: Any, tmp_path: Path) -> None:
    settings = [each for each in drawn.overrides(tmp_path / "model") if not each.startswith("method=")]
    run(compose("train", settings))
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.provenance["training"]["teacher"] == "shipped"
    # A student has the limits of its teacher, and `predict` says so.
    assert checkpoint.provenance["about"].endswith(
        "from models. " + load_checkpoint(SHIPPED_MODEL).provenance["about"]
    )
    assert checkpoint.provenance["about"] in (tmp_path / "model/README.md").read_text()
    assert checkpoint.provenance["settings"]["soft_labels"]["rule"] == "calibrated"
    [table] = (tmp_path / "model/training/teacher").iterdir()
    assert len(read_table(table).fields) == drawn.num_fields


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data=hpa2018"], "method=dual_head"),
        (["view=squares"], "method=naive"),
        (["heads=one_vs_rest"], "method=dual_head"),
        (["cell_labels=TABLE"], "method=oracle soft_labels=calibrated"),
    ],
)
def test_what_the_default_does_not_go_with_names_the_cure(
    drawn: Any, tmp_path: Path, settings: list[str], message: str
) -> None:
    default = [each for each in drawn.overrides(tmp_path / "model") if not each.startswith("method=")]
    with pytest.raises(ValueError, match=message):
        run(compose("train", [*default, *settings]))


def test_changed_files_are_asked_about_again(
    drawn: Any, world: Path, tmp_path: Path, asked: list[str]
) -> None:
    own = type(drawn)(tmp_path / "drawn")
    shutil.copytree(drawn.root, own.root)
    settings = (f"teacher_store={tmp_path / 'store'}", f"teacher={world / 'model'}")
    for name, times in (("one", 1), ("two", 1), ("three", 2)):
        if name == "three":
            os.utime(own.root / "train" / "f03_green.png", ns=(1, 1))
        taught(own, tmp_path / name, *settings)
        assert len(asked) == times * own.num_fields
