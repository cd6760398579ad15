"""Folders that an earlier sweep of trainings has filled."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from hpa_cells.commands.settings import compose
from hpa_cells.commands.sweep_folders import refuse_taken_folders
from hpa_cells.commands.train_folds import _of_fold
from hpa_cells.commands.train_segmenter import _GROUPS
from hpa_cells.commands.training_run import settings_with_effect
from hpa_cells.training.run_folder import claim_folder

Program = Callable[..., Any]


def claim(cfg: DictConfig) -> None:
    """Leave in a folder what `train` does."""
    for each in [_of_fold(cfg, fold) for fold in range(2)] if cfg.cross_fit else [cfg]:
        settings = settings_with_effect(each) | {"sha256_of": {"data.labels": ["0"]}}
        folder = claim_folder(Path(each.out), settings, resume=True)
        (folder.out / folder.product).touch()


def written(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_sweep_into_the_folder_of_another_is_refused_before_anything_is_written(
    hpa_cells: Program, drawn: Any, tmp_path: Path
) -> None:
    sweep = ("train", *drawn.overrides(tmp_path, "debug=fast", "loss=bce,focal", "--multirun"))
    ended = hpa_cells(*sweep)
    assert ended.status == 0, ended.stderr
    before = written(tmp_path)
    assert {tmp_path / name for name in ("runs.csv", "multirun.yaml", "1/checkpoint.json")} <= before.keys()
    ended = hpa_cells(*sweep, "seed=3")
    assert ended.status == 2
    assert ended.stderr == (
        f"hpa-cells: Run 0 of this sweep would meet a training with other settings in {tmp_path / '0'} "
        "(bags.seed: 0 -> 3; seed: 0 -> 3): choose another `out`, repeat that sweep's command, or start anew with "
        "resume=false.\n"
    )
    assert written(tmp_path) == before

    # The same, read by more processes: all is finished.
    assert hpa_cells(*sweep, "bags.workers=2").status == 0
    scores, again = (
        pd.read_csv(io.BytesIO(each), dtype=str)["score"]
        for each in (before[tmp_path / "runs.csv"], (tmp_path / "runs.csv").read_bytes())
    )
    assert scores.tolist() == again.tolist()


@pytest.fixture(scope="module", params=[False, True], ids=["single", "cross-fit"])
def sweep_of_two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What was given to a sweep over `loss=bce,focal`."""
    given = [f"out={tmp_path_factory.mktemp('two')}", "data.root=D", f"cross_fit={request.param}"]
    for number, loss in enumerate(("bce", "focal")):
        cfg = compose("train", [*given, f"loss={loss}"])
        cfg.out = f"{cfg.out}/{number}"
        claim(cfg)
    return given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["loss=bce", "data.root=D,E"], r"^Run 1 .*/1 \(data\.fields: \['D/train'\] -> \['E/train'\]; "),
        (["loss=bce,asymmetric"], r"^Run 1 .*loss\.gamma: 2\.0 -> None; "),
        (["loss=focal,bce"], r"^Run 0 .*loss\.name: bce -> focal"),
        (["loss=bce", "bags.balance=0,1"], r"^Run 0 .*/0 \(bags\.balance: 0\.5 -> 0\)"),
        (["loss=bce,focal", "data.num_folds=4"], r"^Run 0 .*/0 \(data\.num_folds: 5 -> 4\)"),
    ],
)
def test_folders_that_are_taken(sweep_of_two: list[str], changes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse_taken_folders([*sweep_of_two, *changes])


def test_one_training_where_folds_are_and_the_other_way(sweep_of_two: list[str]) -> None:
    *given, before = sweep_of_two
    after = "cross_fit=True" if before == "cross_fit=False" else "cross_fit=False"
    with pytest.raises(ValueError, match=rf"\(cross_fit: {before[10:]} -> {after[10:]}\)"):
        refuse_taken_folders([*given, after, "loss=bce,focal"])


@pytest.mark.parametrize(
    "changes",
    [
        ["loss=bce,focal"],
        ["loss=bce,focal,asymmetric"],
        ["loss=bce,focal", "bags.workers=2", "data.root=./D/"],
        ["loss=bce,focal", "seed=3", "resume=no"],
        ["loss=bce,focal", "seed=3", "hydra/sweeper=search"],
        ["loss=shuffle(bce,focal)", "seed=3"],
        ["loss=bce,focal", "init_heads=perhaps"],
        ["loss=bce,focal", "data.class_set=???"],
    ],
    ids=["same", "more", "without effect", "anew", "search", "any order", "no switch", "missing"],
)
def test_folders_that_may_be_used_or_what_the_runs_tell_themselves(
    sweep_of_two: list[str], changes: list[str]
) -> None:
    refuse_taken_folders([*sweep_of_two, *changes])


def test_a_segmenter_has_fewer_settings(tmp_path: Path) -> None:
    given = ["segmentation=unet", f"out={tmp_path}"]
    settings = settings_with_effect(
        OmegaConf.masked_copy(compose("train", [*given, "trainer.max_steps=10"]), _GROUPS)
    )
    folder = claim_folder(tmp_path / "0", settings, resume=True, product="unet")
    folder.checkpoints.mkdir()
    folder.last.touch()
    refuse_taken_folders([*given, "trainer.max_steps=10,20"])
    with pytest.raises(
        ValueError, match=r"\(segmentation\.mix\.num_batches: 10 -> 20; trainer\.max_steps: 10 -> 20\)"
    ):
        refuse_taken_folders([*given, "trainer.max_steps=20,10"])
