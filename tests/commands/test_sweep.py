"""Several runs of a verb: what they are called with, where they write, and what is told of those that fail."""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from hpa_cells.commands.sweep import RunFailedError, run_numbered

Program = Callable[..., Any]
EVALUATE = ("table=T", "truth=T", "--multirun")


def replace_verb(monkeypatch: pytest.MonkeyPatch, verb: str, run: Callable[[DictConfig], Any]) -> None:
    monkeypatch.setattr(import_module(f"hpa_cells.commands.{verb}"), "run", run)


def test_a_grid_gets_a_folder_a_run_and_a_table_of_all(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[str, ...]] = []

    def train(cfg: DictConfig) -> float:
        seen.append((cfg.loss.name, cfg.out, cfg.crop_store, cfg.embedding_store, cfg.teacher_store))
        return 0.5 * (cfg.loss.name == "focal")

    replace_verb(monkeypatch, "train", train)
    ended = hpa_cells("train", f"out={tmp_path / 'all'}", "data.root=D", "loss=bce,focal", "-m")
    assert ended.status == 0, ended.stderr
    stores = [str(tmp_path / "all/training" / name) for name in ("crops", "embeddings", "teacher")]
    assert seen == [("bce", f"{tmp_path}/all/0", *stores), ("focal", f"{tmp_path}/all/1", *stores)]
    runs = pd.read_csv(tmp_path / "all/runs.csv")
    assert (runs["run"].tolist(), runs["score"].tolist()) == ([0, 1], [0, 0.5])
    assert runs["error"].isna().all()
    assert set(runs["settings"].iloc[1].split()) == {"data.root=D", "loss=focal"}


def test_every_run_may_speak(hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = logging.getLogger("hpa_cells.commands.evaluate")
    replace_verb(monkeypatch, "evaluate", lambda cfg: log.info("Scored with %s.", cfg.ties))
    ended = hpa_cells("evaluate", f"out={tmp_path}", "ties=order,average", *EVALUATE)
    said = [line for line in ended.stderr.splitlines() if "Scored" in line]
    assert said == ["INFO Scored with order.", "INFO Scored with average."]
    assert not log.disabled


def test_crops_of_the_users_own_place_stay_there(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"out": str(tmp_path), "crop_store": "mine"})
    assert run_numbered(lambda cfg: float(cfg.crop_store == "mine"), cfg, number=3, settings=[]) == 1


def test_a_run_that_fails_does_not_stop_the_others(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []

    def run(cfg: DictConfig) -> None:
        if cfg.ties == "order":
            raise ValueError("ties are wrong.")
        done.append(cfg.ties)

    replace_verb(monkeypatch, "evaluate", run)
    before = os.environ.get("HYDRA_FULL_ERROR")
    ended = hpa_cells("evaluate", f"out={tmp_path}", "ties=order,average", *EVALUATE)
    assert (ended.status, done) == (1, ["average"])
    assert "hpa-cells: run 0 (ties=order table=T truth=T) failed: ties are wrong.\n" in ended.stderr
    assert "hpa-cells: Runs 0 of the sweep failed, see above; runs.csv" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "HYDRA_FULL_ERROR" not in ended.stderr
    assert os.environ.get("HYDRA_FULL_ERROR") == before
    runs = pd.read_csv(tmp_path / "runs.csv").set_index("run")
    assert runs["error"].fillna("").tolist() == ["ties are wrong.", ""]

    # The same sweep again, without the mistake, has each run in the table once.
    replace_verb(monkeypatch, "evaluate", lambda cfg: 1.0)
    assert hpa_cells("evaluate", f"out={tmp_path}", "ties=order,average", *EVALUATE).status == 0
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert (runs["run"].tolist(), runs["score"].tolist()) == ([0, 1], [1.0, 1.0])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("lost"), "KeyError: 'lost'"),
        (torch.OutOfMemoryError("CUDA out of memory."), "OutOfMemoryError: CUDA out of memory."),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_a_fault_of_the_program_or_the_machine_is_told_and_the_others_go_on(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, told: str
) -> None:
    networks: list[weakref.ref[Network]] = []

    def run(cfg: DictConfig) -> None:
        # The room of those that failed is free again.
        assert [network() for network in networks] == [None] * len(networks)
        if cfg.ties == "average":
            return
        network = Network()
        networks.append(weakref.ref(network))
        try:
            raise RuntimeError("below")
        except RuntimeError:
            raise error from None

    replace_verb(monkeypatch, "evaluate", run)
    ended = hpa_cells("evaluate", f"out={tmp_path}", "ties=order,average", *EVALUATE)
    assert ended.status == 1
    assert "ERROR Run 0 failed.\n  Traceback (most recent call last):" in ended.stderr
    assert f"hpa-cells: run 0 (ties=order table=T truth=T) failed: {told}\n" in ended.stderr
    runs = pd.read_csv(tmp_path / "runs.csv", keep_default_na=False)
    assert (runs["run"].tolist(), runs["error"].tolist()) == ([0, 1], [told, ""])
    assert len(networks) == 1


class Network:
    """What takes room."""


def test_ctrl_c_ends_a_sweep(hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[str] = []

    def stop(cfg: DictConfig) -> None:
        begun.append(cfg.ties)
        raise KeyboardInterrupt

    replace_verb(monkeypatch, "evaluate", stop)
    assert hpa_cells("evaluate", f"out={tmp_path}", "ties=order,average", *EVALUATE).status == 130
    assert begun == ["order"]
    assert not (tmp_path / "runs.csv").exists()


def test_a_failure_does_not_replace_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = 0.1 + 0.2

    def attempt(text: str, *, fails: bool, number: int = 0, **settings: Any) -> dict[str, Any]:
        def run(cfg: DictConfig) -> float:
            Path(cfg.out).mkdir(exist_ok=True)
            if fails:
                raise RunFailedError("wrong.")
            return score

        cfg = OmegaConf.create({"out": str(tmp_path), **settings})
        with suppress(RunFailedError):
            run_numbered(run, cfg, number=number, settings=text.split())
        rows = pd.read_csv(tmp_path / "runs.csv", keep_default_na=False, dtype=str)
        return dict(rows.set_index("run").loc[str(number)])

    failed = {"score": "", "error": "wrong.", "settings": "a=1"}
    finished = {"score": "0.30000000000000004", "error": "", "settings": "a=1"}
    assert attempt("a=2", fails=True) == failed | {"settings": "a=2"}
    assert attempt("a=1", fails=True) == failed
    assert attempt("a=1", fails=False) == finished
    capsys.readouterr()
    assert attempt("a=2", fails=True) == finished
    assert capsys.readouterr().err == (
        "hpa-cells: run 0 (a=2) failed: wrong.\n"
        f"hpa-cells: {tmp_path / 'runs.csv'} still tells of run 0 as it was finished before.\n"
    )
    # Its data may be gone; the model is there.
    assert attempt("a=1", fails=True, resume=True) == finished
    assert attempt("a=1", fails=False, number=1) == finished
    assert attempt("a=1", fails=True, number=2) == failed
    # What begins anew and fails, or whose folder somebody has deleted, is there no longer.
    assert attempt("a=1", fails=True, resume=False) == failed
    shutil.rmtree(tmp_path / "1")
    assert attempt("a=1", fails=True, number=1) == failed


def test_what_another_command_has_finished_without_a_score_stays_too(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(cfg: DictConfig) -> None:
        raise ValueError("holds a run with other settings.")

    replace_verb(monkeypatch, "evaluate", lambda cfg: Path(cfg.out).mkdir())
    sweep = ("evaluate", f"out={tmp_path}", *EVALUATE)
    assert hpa_cells(*sweep, "ties=order").status == 0
    table = (tmp_path / "runs.csv").read_bytes()
    replace_verb(monkeypatch, "evaluate", fail)
    assert hpa_cells(*sweep, "ties=average").status == 1
    assert (tmp_path / "runs.csv").read_bytes() == table
    assert hpa_cells(*sweep, "ties=order").status == 1
    assert pd.read_csv(tmp_path / "runs.csv")["error"].tolist() == ["holds a run with other settings."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out=O", "tta=d4,none", "fusion.cell_wieght=0.3,0.4"], "Did you mean `fusion.cell_weight`"),
        (["out=O", "tta=d4,none", "no_such=1"], "`no_such` is not a setting of predict."),
        (["out=O", "tta=d4,d5"], "tta/d5"),
        (["out=O", "tta=choice(d4,d5)", "fusion=cell,mean"], "tta/d5"),
        (["out=O", "tta=d4,none", "fusion=cell,maen"], "fusion/maen"),
        (["out=O", "hydra/sweeper=optna"], "hydra/sweeper/optna"),
        (["out=a,b", "tta=d4"], "`out=a,b` gives several folders: give one"),
        (["tta=d4,none"], "Setting `out` is required"),
    ],
)
def test_a_misspelt_sweep_is_refused_in_our_own_words(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    def work(cfg: object) -> None:
        raise AssertionError("began")

    replace_verb(monkeypatch, "predict", work)
    ended = hpa_cells("predict", "fields=F", "model=M", *arguments, "--multirun")
    assert ended.status == 2
    assert ended.stderr.startswith("hpa-cells: ")
    assert message in ended.stderr
    assert "HYDRA_FULL_ERROR" not in ended.stderr


def test_without_optuna_its_extra_is_named(hpa_cells: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpa_cells.commands.sweep.find_spec", lambda name: None)
    ended = hpa_cells("train", "out=O", "data.root=D", "hydra/sweeper=search", "--multirun")
    assert (ended.status, ended.stderr) == (
        2,
        "hpa-cells: hydra/sweeper=search is a search by Optuna: install hpa-cells[sweep].\n",
    )


@pytest.mark.filterwarnings("ignore")
def test_optuna_searches_by_what_a_run_returns_and_goes_on_where_it_stopped(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    seen: dict[str, tuple[float, str]] = {}

    def train(cfg: DictConfig) -> float:
        if len(seen) == 1 and cfg.out not in seen:
            seen[cfg.out] = (float("nan"), cfg.loss.name)
            raise ValueError("out of luck.")
        # These are as the command line has them: a file of two words, and nothing.
        assert (cfg.data.groups_file, cfg.about) == (None, "two words, one comma")
        seen[cfg.out] = (cfg.optimizer.lr, cfg.loss.name)
        return -abs(cfg.optimizer.lr - 0.003) + 0.001 * (cfg.loss.name == "focal")

    replace_verb(monkeypatch, "train", train)
    search = (
        *("hydra/sweeper=search", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "loss=bce,focal"),
        *("hydra.sweeper.n_trials=4", "data.root=D", "data.groups_file=null", "about='two words, one comma'"),
        *(f"out={tmp_path}", "--multirun"),
    )
    ended = hpa_cells("train", *search)
    assert ended.status == 1
    assert "Runs 1 of the sweep failed" in ended.stderr
    assert len({lr for lr, _ in seen.values()}) == 4
    best = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert len(runs) == 4
    assert best["best_value"] == pytest.approx(runs["score"].max())
    assert (
        f"optimizer.lr={best['best_params']['optimizer.lr']}" in runs.loc[runs["score"].idxmax(), "settings"]
    )

    # The same command proposes the same first runs: of a real training, finished ones answer at once.
    first = runs["settings"].iloc[0]
    seen.clear()
    hpa_cells("train", *search)
    assert pd.read_csv(tmp_path / "runs.csv")["settings"].iloc[0] == first
