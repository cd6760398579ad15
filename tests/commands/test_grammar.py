from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from hpa_cells.commands.grammar import numbered_runs, paths_as_typed

AWKWARD = [
    "a b",
    "day=1, plate=2",
    "a,b",
    "it's",
    'say "so"',
    "Zellkern-ü",
    "run (copy)",
    "{a}",
    "#1",
    "2021",
    "1e5",
    "true",
    "a:b",
    "back\\slash",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_path_reaches_the_verb_as_it_was_typed(
    hpa_cells: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: list[DictConfig] = []
    monkeypatch.setattr(import_module("hpa_cells.commands.predict"), "run", seen.append)
    ended = hpa_cells("predict", f"fields={name}", f"model={name}", f"out={name}")
    assert ended.status == 0, ended.stderr
    [settings] = seen
    assert (settings.fields, settings.model, settings.out) == (name, name, name)


def test_a_list_and_null_stay_unless_a_file_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["table=[a,b]", "truth=null"]
    assert paths_as_typed("evaluate", overrides, multirun=False) == overrides
    (tmp_path / "[a,b]").mkdir()
    (tmp_path / "null").mkdir()
    assert paths_as_typed("evaluate", overrides, multirun=False) == ["table='[a,b]'", "truth='null'"]


def test_a_sweep_over_paths_stays_one() -> None:
    assert paths_as_typed("predict", ["model=a,b"], multirun=True) == ["model=a,b"]
    assert paths_as_typed("predict", ["model=a,b"], multirun=False) == ["model='a,b'"]


@pytest.mark.parametrize("override", ["fields='a,b'", "tta=d4,none", "seed=3", "~segmenter", "fields"])
def test_what_is_quoted_or_no_path_is_left_alone(override: str) -> None:
    assert paths_as_typed("predict", [override], multirun=False) == [override]


def test_the_fields_of_simulate_are_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "20").mkdir()
    assert paths_as_typed("simulate", ["fields=20"], multirun=False) == ["fields=20"]


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert paths_as_typed("predict", ["out=~/runs/a"], multirun=False) == ["out='/home/someone/runs/a'"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["out=a", "seed=0"],
        ["loss=bce,focal", "out=a", "seed=range(0,6,2)"],
        ["seed=choice(2,1)", "loss=bce,focal", "seed=5,6", "data.labels=[a,b]", "about='x,y',z"],
        ["seed=range(3)", "loss=bce", "loss=focal,bce", "~debug=null", "+bags.repeats.cytosol=2,3"],
        ["optimizer.lr=range(0.1,0.4,step=0.1)", "seed=sort(3,1,2)"],
    ],
)
def test_runs_are_numbered_as_by_hydra(overrides: list[str]) -> None:
    parsed = OverridesParser.create().parse_overrides(overrides)
    [runs] = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    assert numbered_runs(overrides) == runs


@pytest.mark.parametrize("open_sweep", ["loss=glob(*)", "seed=shuffle(1,2)", "optimizer.lr=interval(0,1)"])
def test_what_only_the_sweep_knows_is_not_numbered(open_sweep: str) -> None:
    assert numbered_runs(["out=a", open_sweep, "loss=bce"]) == []
