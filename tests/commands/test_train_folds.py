"""A cross-fit is of one making: what it cannot go on from is told before any training, or removed on request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from hpa_cells.commands import train, train_teacher
from hpa_cells.commands.field_files import FIELD_FILES
from hpa_cells.commands.settings import compose
from hpa_cells.models import load_checkpoint, load_models, save_checkpoint
from hpa_cells.table import read_table

QUICK = ("trainer.max_epochs=1", "logger=none")
FOLDS = ("method=naive", "cross_fit=true", "data.num_folds=2", *QUICK)
STUDENT = ("method=oracle", "soft_labels=posterior", "callbacks.averaging=null", *QUICK)


class TrainedError(Exception):
    """A training has begun."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def own(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The drawn fields at a place where they may be changed."""
    world = type(drawn)(tmp_path_factory.mktemp("own") / "drawn")
    shutil.copytree(drawn.root, world.root)
    return world


@pytest.fixture(scope="module")
def first(own: Any) -> Path:
    """A cross-fit of them."""
    out: Path = own.root.parent / "first"
    own.train(out, *FOLDS)
    return out


@pytest.fixture
def round_one(first: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(first, tmp_path / "round")
    return tmp_path / "round"


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(cfg: DictConfig) -> float:
        raise TrainedError(cfg.out)

    monkeypatch.setattr(train, "_train", begin)


def other_time(path: Path, request: pytest.FixtureRequest) -> None:
    """Give a file another time until the test ends."""
    stat = path.stat()
    request.addfinalizer(lambda: os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns)))
    os.utime(path, ns=(1, 1))


def content(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def another_model(folder: Path) -> None:
    """Of the same training, as another machine may have it."""
    checkpoint = load_checkpoint(folder)
    with torch.no_grad():
        checkpoint.model.cell_head.bias += 1
    save_checkpoint(folder, replace(checkpoint, weights_hash=""))


def test_the_same_command_is_finished_wherever_the_folder_lies(own: Any, round_one: Path) -> None:
    before = content(round_one)
    # Nor is it another one by another spelling of its masks.
    own.train(round_one, *FOLDS, f"segmenter.folder={own.root}/./truth/")
    find_teacher(own, round_one, f"segmenter.folder={own.root}/./truth/")
    changed = {name for name, time in content(round_one).items() if before.get(name) != time}
    assert not any(name.endswith((".safetensors", ".parquet", FIELD_FILES)) for name in changed)


def test_a_new_start_leaves_nothing_of_the_old_one(
    own: Any, round_one: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(round_one / "fold-1", round_one / "fold-2")
    settings = round_one / "fold-2/training/settings.json"
    settings.write_text(settings.read_text().replace('"fold": 1', '"fold": 2'))
    (round_one / "notes").mkdir()
    # Of no cross-fit: a model that was copied there.
    shutil.copytree(round_one / "fold-1", round_one / "fold-7", ignore=shutil.ignore_patterns("training"))
    there: list[set[str]] = []

    def look(cfg: DictConfig) -> float:
        there.append({path.name for path in round_one.iterdir()})
        assert [path.name for path in (round_one / "out_of_fold").iterdir()] == [FIELD_FILES]
        return 0.0 if len(there) > 1 else trained(cfg)

    trained = train._train
    monkeypatch.setattr(train, "_train", look)
    with caplog.at_level("INFO"), pytest.raises(FileNotFoundError, match="fold-1"):
        own.train(round_one, *FOLDS, "resume=false", "optimizer.lr=0.01")
    assert there[0] == {"out_of_fold", "notes", "fold-7"}
    assert "Removed an earlier cross-fit" in caplog.text
    monkeypatch.undo()
    # It goes on with what is new.
    shutil.rmtree(round_one / "fold-7")
    own.train(round_one, *FOLDS, "optimizer.lr=0.01")
    assert [path.name for path in sorted(round_one.glob("fold-*"))] == ["fold-0", "fold-1"]
    table = read_table(round_one / "out_of_fold")
    assert table.provenance.weights_hash == load_models(round_one).weights_hash
    assert table.provenance.settings["training"]["optimizer"]["lr"] == 0.01


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("optimizer.lr=0.01", r"\(optimizer\.lr: 0\.02 -> 0\.01\)"),
        ("data.num_folds=3", r"\(data\.num_folds: 2 -> 3\)"),
        ("segmenter.folder=elsewhere", r"\(masks: \w+ -> \w+; segmenter\.folder: [^;]* -> elsewhere\)"),
    ],
)
def test_other_settings_are_told_before_any_training(
    own: Any, round_one: Path, no_training: None, settings: str, told: str
) -> None:
    # Something to train there would be.
    shutil.rmtree(round_one / "fold-0")
    before = content(round_one)
    with pytest.raises(ValueError, match=rf"out_of_fold was written with other settings or masks {told}"):
        own.train(round_one, *FOLDS, settings)
    assert content(round_one) == before


def test_other_labels_are_told_before_any_training(
    own: Any, round_one: Path, no_training: None, request: pytest.FixtureRequest
) -> None:
    path = own.root / "train.csv"
    text, stat = path.read_text(), path.stat()
    request.addfinalizer(lambda: (path.write_text(text), os.utime(path, ns=(1, stat.st_mtime_ns))))
    path.write_text(text.replace("f00,11", "f00,16").replace("f00,18", "f00,16"))
    assert path.read_text() != text
    with pytest.raises(ValueError, match=r"other settings or masks \(sha256_of\.data\.labels: "):
        own.train(round_one, *FOLDS)


def test_a_table_of_something_else_is_told(own: Any, round_one: Path, no_training: None) -> None:
    shutil.rmtree(round_one / "out_of_fold")
    shutil.copytree(own.root / "truth", round_one / "out_of_fold")
    with pytest.raises(ValueError, match=r"other settings or masks \(.* and [0-9]+ more\): choose"):
        own.train(round_one, *FOLDS)
    with pytest.raises(ValueError, match="out_of_fold was not written by a cross-fit"):
        find_teacher(own, round_one)


def test_another_model_is_told_and_its_scores_are_written_again(
    own: Any, round_one: Path, monkeypatch: pytest.MonkeyPatch, no_training: None
) -> None:
    another_model(round_one / "fold-1")
    with pytest.raises(
        ValueError, match=r"fold-1 is another model .* remove .*out_of_fold and repeat the command"
    ):
        own.train(round_one, *FOLDS)
    shutil.rmtree(round_one / "out_of_fold")
    monkeypatch.undo()
    own.train(round_one, *FOLDS)
    weights = read_table(round_one / "out_of_fold").provenance.settings["weights_of_folds"]
    assert weights == [load_checkpoint(round_one / f"fold-{fold}").weights_hash for fold in range(2)]


def test_a_lost_fold_that_comes_out_otherwise_is_told(
    own: Any, round_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(round_one / "fold-1", round_one.parent / "kept")
    another_model(round_one.parent / "kept")

    def come_back(cfg: DictConfig) -> float:
        if cfg.out.endswith("fold-1"):
            shutil.copytree(round_one.parent / "kept", cfg.out)
        return 0.0

    monkeypatch.setattr(train, "_train", come_back)
    with pytest.raises(ValueError, match=r"fold-1 is another model .* remove .*out_of_fold"):
        own.train(round_one, *FOLDS)


def test_a_changed_image_is_told_before_any_training(
    own: Any, round_one: Path, no_training: None, request: pytest.FixtureRequest
) -> None:
    other_time(own.root / "train" / "f03_green.png", request)
    with pytest.raises(ValueError, match=r"1 of 10 fields have changed since .*round was begun \(f03\)"):
        own.train(round_one, *FOLDS)
    # Where the table is not written yet, its models have seen the images all the same.
    for shard in (round_one / "out_of_fold").glob("*.parquet"):
        shard.unlink()
    with pytest.raises(ValueError, match=r"remove .*field_files\.csv to go on"):
        own.train(round_one, *FOLDS)
    (round_one / "out_of_fold" / FIELD_FILES).unlink()
    with pytest.raises(TrainedError):
        own.train(round_one, *FOLDS)


def test_images_that_no_model_has_seen_may_change(
    own: Any, tmp_path: Path, no_training: None, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(TrainedError):
        own.train(tmp_path / "round", *FOLDS)
    other_time(own.root / "train" / "f03_green.png", request)
    with pytest.raises(TrainedError):
        own.train(tmp_path / "round", *FOLDS)


def test_changed_masks_are_told(
    own: Any, round_one: Path, no_training: None, request: pytest.FixtureRequest
) -> None:
    other_time(next((own.root / "truth").glob("cells-*.parquet")), request)
    with pytest.raises(ValueError, match=r"written with other settings or masks \(masks: \w{16} -> \w{16}\)"):
        own.train(round_one, *FOLDS)
    with pytest.raises(
        ValueError, match=r"The masks in .*truth have changed since .*out_of_fold was written"
    ):
        find_teacher(own, round_one)
    # By its own masks its cells are the same.
    find_teacher(own, round_one, f"segmenter.folder={round_one / 'out_of_fold'}")


def find_teacher(own: Any, teacher: Path, *more: str) -> None:
    """As a training does it first."""
    settings = own.overrides(teacher.parent / "student", *STUDENT, f"teacher={teacher}", *more)
    cfg = compose("train", settings)
    OmegaConf.resolve(cfg)
    assert train_teacher.find_teacher(cfg) is not None


def test_a_teacher_that_has_seen_other_images(
    drawn: Any,
    own: Any,
    round_one: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    masks = f"segmenter.folder={own.root / 'truth'}"
    # A copy of the fields is as good.
    find_teacher(drawn, round_one, masks)
    assert "is not noticed" not in caplog.text
    other_time(own.root / "train" / "f03_green.png", request)
    with pytest.raises(
        ValueError,
        match=r"The files of 1 of 10 fields \(f03\) are others than those that the models of .*round",
    ):
        find_teacher(own, round_one)
    (round_one / "out_of_fold" / FIELD_FILES).unlink()
    find_teacher(own, round_one)
    assert (
        "has no field_files.csv, so that scores of images that have changed since are not noticed"
        in caplog.text
    )


def without_second(folder: Path) -> None:
    shutil.rmtree(folder / "fold-1")


def unfinished_second(folder: Path) -> None:
    (folder / "fold-1" / "checkpoint.json").unlink()


def another_first(folder: Path) -> None:
    another_model(folder / "fold-0")


def with_a_third(folder: Path) -> None:
    shutil.copytree(folder / "fold-1", folder / "fold-2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_second, r"fold-1 holds no finished model, but .*out_of_fold has scores of one"),
        (unfinished_second, r"fold-1 holds no finished model, but .*out_of_fold has scores of one"),
        (
            another_first,
            r"fold-0 is another model \(SHA-256 \w{12}…\) than the one whose scores .*out_of_fold has",
        ),
        (with_a_third, r"has scores of 2 models, and .*fold-2 is none of them"),
    ],
)
def test_a_teacher_whose_models_are_others(
    own: Any, round_one: Path, change: Callable[[Path], None], message: str
) -> None:
    find_teacher(own, round_one)
    change(round_one)
    with pytest.raises(ValueError, match=message):
        find_teacher(own, round_one)


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("cell_labels", "out_of_fold"),
        ("segmenter.folder", "out_of_fold"),
        ("init", "fold-0"),
        ("teacher", "fold-0"),
        ("teacher", ""),
    ],
)
def test_a_new_start_removes_nothing_that_it_needs(
    own: Any, round_one: Path, no_training: None, setting: str, place: str
) -> None:
    before = content(round_one)
    with pytest.raises(
        ValueError, match=rf"{setting} is .*, which resume=false would remove with the cross-fit"
    ):
        own.train(round_one, *FOLDS, "resume=false", f"{setting}={round_one / place}")
    assert content(round_one) == before


def test_a_broken_field_that_is_mended_is_answered(own: Any, tmp_path: Path) -> None:
    shutil.copytree(own.root / "train", tmp_path / "train")
    path = tmp_path / "train" / "f03_green.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:8])
    settings = (
        *FOLDS,
        f"data.fields=[{tmp_path / 'train'}]",
        "data.broken=drop",
        f"crop_store={tmp_path / 'crops'}",
    )
    own.train(tmp_path / "round", *settings)
    assert len(read_table(tmp_path / "round" / "out_of_fold").fields) == 9
    path.write_bytes(whole)
    for _ in range(2):
        own.train(tmp_path / "round", *settings)
        assert len(read_table(tmp_path / "round" / "out_of_fold").fields) == 10


def test_a_cross_fit_is_no_first_weights(own: Any, first: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"is a cross-fit, .* such as {first / 'fold-0'}\."):
        own.train(tmp_path / "model", "method=naive", f"init={first}", *QUICK)
    assert len(load_models(first).members) == 2
