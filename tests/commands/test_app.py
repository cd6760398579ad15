import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hpa_cells as package
from hpa_cells.commands.app import VERBS, FieldsFailedError

Program = Callable[..., Any]

# A call of each verb that has all it needs but `out`.
COMPLETE = {
    "simulate": [],
    "segment": ["fields=F"],
    "train": ["data.root=D"],
    "predict": ["fields=F", "model=M"],
    "evaluate": ["table=T", "truth=T"],
    "calibrate": ["table=T", "truth=T"],
    "export": ["table=T"],
    "report": ["table=T", "fields=F"],
    "explore": ["fields=F"],
    "merge": [],
    "push": ["model=M"],
    "pull": ["model=hf://o/m"],
    "onnx": ["model=M"],
}


def test_without_arguments_the_usage_is_shown_and_the_status_is_that_of_misuse(hpa_cells: Program) -> None:
    ended = hpa_cells()
    assert ended.status == 2
    assert "usage: hpa-cells VERB" in ended.stdout


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_names_every_verb(hpa_cells: Program, argument: str) -> None:
    ended = hpa_cells(argument)
    assert ended.status == 0
    assert re.findall(r"^  (\w+)  ", ended.stdout, re.MULTILINE) == list(VERBS)


def test_version(hpa_cells: Program) -> None:
    ended = hpa_cells("--version")
    assert (ended.status, ended.stdout) == (0, f"hpa-cells {package.__version__}\n")


@pytest.mark.parametrize(
    ("verb", "hint"),
    [("predcit", "Did you mean `predict`?"), ("segmentation", "`segment`"), ("xyz", "--help")],
)
def test_an_unknown_verb(hpa_cells: Program, verb: str, hint: str) -> None:
    ended = hpa_cells(verb)
    assert ended.status == 2
    assert ended.stderr.startswith(f"hpa-cells: `{verb}` is not a command of hpa-cells.")
    assert hint in ended.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_lists_its_settings(hpa_cells: Program, verb: str) -> None:
    ended = hpa_cells(verb, "--help")
    assert ended.status == 0
    assert ended.stdout.startswith(f"hpa-cells {verb}: {VERBS[verb]}\n")
    assert re.search(r"^  out: \?\?\?$", ended.stdout, re.MULTILINE)


def test_help_of_predict_lists_its_groups(hpa_cells: Program) -> None:
    groups = hpa_cells("predict", "--help").stdout
    assert "tta=d4|flips|none  (now none)" in groups
    assert "fusion=cell|learned|mean|product|weighted  (now cell)" in groups


@pytest.mark.parametrize("verb", VERBS)
def test_a_misspelt_setting_is_refused(hpa_cells: Program, verb: str, tmp_path: Path) -> None:
    ended = hpa_cells(verb, *COMPLETE[verb], f"out={tmp_path / 'out'}", "no_such_setting=1")
    assert ended.status == 2
    assert ended.stderr.startswith(f"hpa-cells: `no_such_setting` is not a setting of {verb}.")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("misspelt", "meant"), [("fusion.cell_wieght=0.3", "`fusion.cell_weight`"), ("+ouput=a", "`out`")]
)
def test_a_close_name_is_suggested(hpa_cells: Program, misspelt: str, meant: str) -> None:
    ended = hpa_cells("predict", *COMPLETE["predict"], "out=O", misspelt)
    assert ended.status == 2
    assert meant in ended.stderr


def test_a_misspelt_choice_is_refused_with_the_choices(hpa_cells: Program) -> None:
    ended = hpa_cells("predict", "fields=F", "model=M", "out=O", "tta=d5")
    assert ended.status == 2
    assert "tta/d5" in ended.stderr
    assert "d4" in ended.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_setting_is_named(hpa_cells: Program, verb: str) -> None:
    ended = hpa_cells(verb, *COMPLETE[verb])
    assert ended.status == 2
    assert "Setting `out` is required" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_error_of_the_user_is_one_line(hpa_cells: Program, tmp_path: Path) -> None:
    ended = hpa_cells("evaluate", f"table={tmp_path}", f"truth={tmp_path}", f"out={tmp_path / 'out'}")
    assert ended.status == 1
    assert ended.stderr.startswith(f"hpa-cells: {tmp_path} holds no cell table")
    assert len(ended.stderr.splitlines()) == 1


def test_the_whole_trace_on_request(
    hpa_cells: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    ended = hpa_cells("evaluate", f"table={tmp_path}", f"truth={tmp_path}", f"out={tmp_path / 'out'}")
    assert ended.status == 1
    assert ended.stderr.startswith("Traceback")
    assert "holds no cell table" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("setting", ["hydra.verbose=true", "+hydra.job.env_set.SEEN=yes"])
def test_settings_of_hydra_itself_hold(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    import logging
    import os

    seen: list[object] = []

    def look(cfg: object) -> None:
        seen.append((logging.getLogger().level, os.environ.get("SEEN")))

    monkeypatch.setattr(import_module("hpa_cells.commands.evaluate"), "run", look)
    assert hpa_cells("evaluate", "table=T", "truth=T", "out=O", setting).status == 0
    assert seen == [(logging.DEBUG, None) if "verbose" in setting else (logging.INFO, "yes")]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (FieldsFailedError("2 of 3 fields failed."), 1, "hpa-cells: 2 of 3 fields failed."),
        (ValueError("pixel_size_um is -1."), 1, "hpa-cells: pixel_size_um is -1."),
        (OSError(28, "No space left"), 1, "hpa-cells: The disk has no room for O (No space left): make room"),
        (KeyboardInterrupt(), 130, "hpa-cells: Stopped. Finished work is kept"),
        (KeyboardInterrupt(signal.SIGTERM), 143, "hpa-cells: Stopped. Finished work is kept"),
    ],
)
def test_status_and_words_of_each_end(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    def fail(cfg: object) -> None:
        raise error

    monkeypatch.setattr(import_module("hpa_cells.commands.evaluate"), "run", fail)
    ended = hpa_cells("evaluate", "table=T", "truth=T", "out=O")
    assert ended.status == status
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_stop_while_the_settings_are_read_is_told_as_any_other(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(verb: str, overrides: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpa_cells.commands.app.compose_checked", stop)
    ended = hpa_cells("evaluate", "table=T", "truth=T", "out=O")
    assert (ended.status, ended.stderr[:19]) == (130, "hpa-cells: Stopped.")


def test_a_fault_of_the_program_shows_its_trace(hpa_cells: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cfg: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(import_module("hpa_cells.commands.evaluate"), "run", fail)
    ended = hpa_cells("evaluate", "table=T", "truth=T", "out=O")
    assert ended.status == 1
    assert "KeyError" in ended.stderr


def test_several_runs_get_a_folder_each(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outs: list[str] = []
    evaluate = import_module("hpa_cells.commands.evaluate")
    monkeypatch.setattr(evaluate, "run", lambda cfg: outs.append(f"{cfg.ties} {cfg.out}"))
    arguments = ("table=T", "truth=T", f"out={tmp_path}", "ties=order,average", "--multirun")
    assert hpa_cells("evaluate", *arguments).status == 0
    assert outs == [f"order {tmp_path}/0", f"average {tmp_path}/1"]


def test_any_working_directory_will_do(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    where: list[Path] = []
    monkeypatch.setattr(
        import_module("hpa_cells.commands.evaluate"), "run", lambda cfg: where.append(Path(cfg.out).resolve())
    )
    assert hpa_cells("evaluate", "table=T", "truth=T", "out=scores").status == 0
    assert where == [tmp_path / "scores"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_useless_out_is_refused_before_any_work(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    def work(cfg: object) -> None:
        raise AssertionError("began")

    monkeypatch.setattr(import_module(f"hpa_cells.commands.{verb}"), "run", work)
    file = tmp_path / "file"
    file.write_text("")
    ended = hpa_cells(verb, *COMPLETE[verb], f"out={file / 'run'}")
    assert (ended.status, ended.stderr) == (
        1,
        f"hpa-cells: {file} is a file where out={file / 'run'} needs a folder: choose another `out`.\n",
    )
    ended = hpa_cells(verb, *COMPLETE[verb], "out=")
    assert ended.status == 1
    assert ended.stderr.startswith("hpa-cells: `out` is empty: give a place")


def test_an_out_that_may_not_be_written_to_is_refused(
    hpa_cells: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    ended = hpa_cells("evaluate", *COMPLETE["evaluate"], f"out={tmp_path / 'a' / 'b'}")
    assert ended.status == 1
    assert ended.stderr.startswith(f"hpa-cells: {tmp_path} may not be written to: choose another `out`")


def test_the_module_is_the_program() -> None:
    command = [sys.executable, "-m", "hpa_cells", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == f"hpa-cells {package.__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['hpa-cells', '--help']\n"
        "from hpa_cells.commands.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'pandas', 'matplotlib', 'cv2', 'hydra'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
