"""Runs with models of a hub: which commit, which files, and what goes wrong on the way."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.classes import get_class_set
from hpa_cells.hub import HubModel, pull
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    ClassifierSettings,
    load_checkpoint,
    load_models,
    save_checkpoint,
)
from hpa_cells.models.start import FILES_ON_HUB

Program = Callable[..., Any]

FILES = ("README.md", "checkpoint.json", "model.safetensors")
PLACE = "model=hf://lab/cells"


@pytest.fixture
def files(small_world: Any) -> dict[str, bytes]:
    return {name: (small_world.model / name).read_bytes() for name in FILES}


@pytest.fixture
def sha(hub: Any, files: dict[str, bytes]) -> str:
    """The commit of the model at ``hf://lab/cells``."""
    return str(hub.put("lab/cells", files))


def cached(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "hub_cache").glob("models--*/snapshots/*/**/*")}


def test_a_run_goes_on_with_the_commit_that_it_began_with_or_not_at_all(
    hub: Any, sha: str, files: dict[str, bytes], predict: Program, tmp_path: Path
) -> None:
    assert predict(PLACE).status == 0
    hub.requests.clear()
    ended = predict(PLACE)
    assert "5 of 5 fields are finished already" in ended.stderr
    # It was asked where the branch stands, and nothing was fetched.
    assert {path for _, path in hub.requests} <= {
        "/api/models/lab/cells",
        "/api/models/lab/cells/revision/main",
    }
    later = hub.put("lab/cells", files | {"README.md": b"# Other words\n"})
    ended = predict(PLACE)
    assert ended.status == 1
    assert f"settings.models: ['hf://lab/cells@{sha}'] -> ['hf://lab/cells@{later}']" in ended.stderr
    hub.requests.clear()
    ended = predict(f"{PLACE}@{sha}")
    assert (ended.status, "5 of 5 fields are finished already" in ended.stderr) == (0, True)
    # A commit that is here never changes.
    assert hub.requests == []


def test_branches_tags_and_commits(
    hub: Any, sha: str, files: dict[str, bytes], small_world: Any, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(small_world.model)
    with torch.no_grad():
        checkpoint.model.cell_head.bias += 1
    save_checkpoint(tmp_path / "other", checkpoint)
    other = {name: (tmp_path / "other" / name).read_bytes() for name in FILES}
    hub.put("lab/cells", other, branch="refs/pr/1")
    hashes = {
        revision: load_models(f"hf://lab/cells{revision}").weights_hash
        for revision in ("", "@main", f"@{sha}", "@refs/pr/1")
    }
    ours, theirs = (
        load_checkpoint(small_world.model).weights_hash,
        load_checkpoint(tmp_path / "other").weights_hash,
    )
    assert hashes == {"": ours, "@main": ours, f"@{sha}": ours, "@refs/pr/1": theirs}
    assert ours != theirs
    # Several, one of them from here: their mean.
    assert len(load_models(["hf://lab/cells", small_world.model]).members) == 2
    with pytest.raises(
        FileNotFoundError, match=r"^hf://lab/cells@v9 does not exist: .* has no revision v9\.$"
    ):
        load_models("hf://lab/cells@v9")
    with pytest.raises(FileNotFoundError, match="has no revision"):
        load_models(f"hf://lab/cells@{'0' * 40}")


def test_without_a_network_the_copy_of_this_machine_answers(
    hub: Any, sha: str, predict: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    assert predict(PLACE).status == 0
    hub.put("lab/cells", {"checkpoint.json": b"newer"})
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = predict(PLACE)
    assert (ended.status, "5 of 5 fields are finished already" in ended.stderr) == (0, True), ended.stderr
    assert hub.requests == []
    ended = predict("model=hf://lab/unknown", f"out={tmp_path / 'b'}")
    assert (ended.status, "hf://lab/unknown cannot be reached" in ended.stderr) == (1, True)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Nothing listens at this port.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    ended = predict(PLACE)
    assert ended.status == 0, ended.stderr
    assert f"the copy on this machine is taken, hf://lab/cells@{sha}." in ended.stderr
    ended = predict("model=hf://lab/unknown", f"out={tmp_path / 'b'}")
    assert ended.status == 1
    assert "hf://lab/unknown cannot be reached" in ended.stderr
    assert "check the network and HF_ENDPOINT" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    hub.broken = 503
    ended = predict(PLACE)
    assert (ended.status, "the copy on this machine is taken" in ended.stderr) == (0, True), ended.stderr
    ended = predict("model=hf://lab/unknown", f"out={tmp_path / 'b'}")
    assert (ended.status, "(it answers 503): try again later" in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("token", "gated", "message"),
    [
        ("", False, "does not exist, or is private and you may not see it: check its spelling, or log in by"),
        ("hf_WrongSecret", False, "does not exist, or is private and you may not see it"),
        ("hf_WrongSecret", True, "is gated: ask for access on its page, and log in by `hf auth login`"),
    ],
)
def test_who_may_not_see_a_model_is_told_how(
    hub: Any,
    files: dict[str, bytes],
    predict: Program,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    gated: bool,
    message: str,
) -> None:
    hub.put("lab/cells", files, private=not gated)
    hub.repositories["lab/cells"].gated = gated
    monkeypatch.setenv("HF_TOKEN", token)
    ended = predict(PLACE)
    assert (ended.status, len(ended.stderr.splitlines())) == (1, 1)
    assert message in ended.stderr
    assert "Secret" not in ended.stderr
    assert hub.asked("resolve|cdn") == []
    # One that is here, too, is not given to who may not see it any more, unless it is asked for by its commit.
    if gated:
        return
    monkeypatch.setenv("HF_TOKEN", "hf_SecretOfTheTests")
    assert predict(PLACE).status == 0
    monkeypatch.setenv("HF_TOKEN", token)
    assert predict(PLACE).status == 1


@pytest.mark.filterwarnings("ignore:Use 'content=<...>'")
def test_who_may_not_write_is_told_how(
    hub: Any, sha: str, hpa_cells: Program, small_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token, may_write, place in (
        ("", True, "hf://lab/new"),
        ("hf_SecretOfTheTests", False, "hf://lab/new"),
        ("hf_SecretOfTheTests", False, "hf://lab/cells"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        hub.may_write = may_write
        ended = hpa_cells("push", f"model={small_world.model}", f"out={place}")
        assert (ended.status, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
        assert place in ended.stderr
        assert "log in by `hf auth login`, or set HF_TOKEN" in ended.stderr
        assert "Secret" not in ended.stderr
    assert hub.repositories["lab/cells"].refs["main"] == sha


@pytest.mark.slow
def test_a_download_that_breaks_off_leaves_no_half_model_and_goes_on(
    hub: Any,
    sha: str,
    files: dict[str, bytes],
    predict: Program,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.cut_after = len(files["model.safetensors"]) // 2
    ended = predict(PLACE)
    assert (ended.status, len(ended.stderr.splitlines())) == (1, 1)
    assert "hf://lab/cells cannot be reached, or not all of it has come" in ended.stderr
    assert "Secret" not in ended.stderr + caplog.text
    assert "model.safetensors" not in cached(tmp_path)
    assert not (tmp_path / "run").exists()
    hub.cut_after = None
    ended = predict(PLACE)
    assert ended.status == 0, ended.stderr
    assert set(FILES) <= cached(tmp_path)


def test_an_unfinished_copy_is_not_taken_for_a_model(
    hub: Any, sha: str, predict: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    assert predict(PLACE).status == 0
    (weights,) = (tmp_path / "hub_cache").glob("models--*/snapshots/*/model.safetensors")
    weights.resolve().unlink()
    weights.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = predict(PLACE)
    assert (ended.status, "hf://lab/cells cannot be reached" in ended.stderr) == (1, True), ended.stderr
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert predict(f"{PLACE}@{sha}").status == 0


def test_other_files_of_a_repository_are_never_fetched(
    hub: Any, files: dict[str, bytes], predict: Program, tmp_path: Path
) -> None:
    surplus = {
        "pytorch_model.bin": b"cos\nsystem\n(S'touch pwned'\ntR.",
        "evil.pkl": b"cos\nsystem\n",
        "hpa_cells.py": b"raise SystemExit",
        "training/last.ckpt": b"state",
        "fold-0/deep/checkpoint.json": b"{}",
        "deep/fold-0/checkpoint.json": b"{}",
        "../model.safetensors": b"",
        "fold-..\\..\\x/checkpoint.json": b"{}",
        "fold-../checkpoint.json": b"{}",
    }
    hub.put("lab/cells", files | surplus)
    ended = predict(PLACE)
    assert ended.status == 0, ended.stderr
    assert {path.rsplit("/", 1)[1] for path in hub.asked("/resolve/")} == set(FILES)
    assert cached(tmp_path) == set(FILES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"checkpoint.json": None, "model.safetensors": None},
            "holds none of checkpoint.json, model.safetensors",
        ),
        ({"checkpoint.json": None}, "checkpoint.json does not exist"),
        ({"checkpoint.json": b"{}"}, "is not a checkpoint of hpa_cells"),
        ({"model.safetensors": b"\x08\0\0\0\0\0\0\0{}      "}, "they come from different models"),
        ({"model.safetensors": b"cos\nsystem\n"}, "model.safetensors is damaged"),
    ],
)
def test_what_is_no_model_is_refused(
    hub: Any, files: dict[str, bytes], predict: Program, changed: dict[str, bytes | None], message: str
) -> None:
    hub.put("lab/cells", {name: data for name, data in (files | changed).items() if data is not None})
    ended = predict(PLACE)
    assert (ended.status, message in ended.stderr) == (1, True), ended.stderr


def test_an_absurdly_large_file_is_refused_before_it_is_fetched(hub: Any, sha: str, predict: Program) -> None:
    hub.claimed_size = 1 << 40
    ended = predict(PLACE)
    assert (ended.status, "1,099,511,627,776 bytes, at most 4,294,967,296 are fetched" in ended.stderr) == (
        1,
        True,
    )
    assert hub.asked("resolve|cdn") == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("hf://lab", "names no model on a hub: write hf://owner/name"),
        ("hf:/lab/cells", "names no model on a hub"),
        ("hf://lab/cells@../../x", "names no model on a hub"),
        ("hf://lab/cells/fold-0", "names no model on a hub"),
        ("hf://user:secret@lab/cells", "names no model on a hub"),
        ("s3://lab/cells", "Of a hub it takes hf://owner/name."),
    ],
)
def test_addresses_that_are_none(hub: Any, predict: Program, place: str, message: str) -> None:
    ended = predict(f"model={place}")
    assert (ended.status, message in ended.stderr) == (1, True), ended.stderr
    assert "secret" not in ended.stderr
    assert hub.requests == []


def test_the_missing_package_is_named(hub: Any, predict: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    ended = predict(PLACE)
    assert ended.status == 1
    assert ended.stderr == (
        "hpa-cells: hf://lab/cells needs the package huggingface-hub, which is not installed: "
        'pip install "hpa-cells[hub]".\n'
    )


def test_a_training_starts_from_a_model_of_a_hub_and_remembers_its_commit(
    hub: Any, drawn: Any, hpa_cells: Program, tmp_path: Path
) -> None:
    drawn.train(tmp_path / "first", "trainer.max_epochs=1")
    files = {name: (tmp_path / "first" / name).read_bytes() for name in FILES}
    sha = hub.put("lab/first", files)
    settings = drawn.overrides(tmp_path / "second", "trainer.max_epochs=1", "init=hf://lab/first")
    ended = hpa_cells("train", *settings)
    assert ended.status == 0, ended.stderr
    trained = load_checkpoint(tmp_path / "second")
    assert trained.provenance["training"]["first_weights"] == f"hf://lab/first@{sha}"
    assert trained.provenance["settings"]["init"] == f"hf://lab/first@{sha}"
    assert "is finished" in hpa_cells("train", *settings).stderr
    later = hub.put("lab/first", files | {"README.md": b"# Other\n"})
    ended = hpa_cells("train", *settings)
    assert ended.status == 1
    assert sha in ended.stderr
    assert later in ended.stderr

    teacher = ("method=second_round", "teacher=hf://lab/first", "trainer.max_epochs=1")
    ended = hpa_cells("train", *drawn.overrides(tmp_path / "third"), *teacher)
    assert ended.status == 0, ended.stderr
    taught = load_checkpoint(tmp_path / "third").provenance["training"]
    assert taught["teacher"] == f"hf://lab/first@{later}"
    hub.put("lab/first", {f"fold-0/{name}": data for name, data in files.items()})
    ended = hpa_cells("train", *drawn.overrides(tmp_path / "fourth"), *teacher)
    assert (ended.status, "is a cross-fit, whose answers" in ended.stderr) == (1, True)


def test_thresholds_of_a_model_of_a_hub_make_a_submission(
    hub: Any, predict: Program, hpa_cells: Program, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    options = {"channels": [8, 8, 8, 8], "stem_width": 8}
    settings = ClassifierSettings(num_classes=28, encoder="resnet10t", encoder_options=options)
    checkpoint = Checkpoint(
        model=CellClassifier(settings).eval(),
        class_set=get_class_set("hpa2018"),
        crop_settings={"size_px": 32, "masked": True, "um_per_px": None, "margin": 0.03},
        thresholds=np.linspace(0.4, 0.6, 28, dtype=np.float32),
    )
    save_checkpoint(tmp_path / "model", checkpoint)
    hub.put("lab/cells", {name: (tmp_path / "model" / name).read_bytes() for name in FILES})
    assert predict(PLACE).status == 0
    written = []
    for place in ("hf://lab/cells", tmp_path / "model"):
        out = tmp_path / f"{len(written)}.csv"
        ended = hpa_cells(
            *(
                "export",
                f"table={tmp_path / 'run'}",
                f"out={out}",
                "format=kaggle2018",
                f"format.model={place}",
            )
        )
        assert ended.status == 0, ended.stderr
        written.append(out.read_bytes())
    assert written[0] == written[1]


def test_a_folder_that_lies_in_the_cache_may_be_removed(hub: Any, sha: str, tmp_path: Path) -> None:
    """What is fetched once and removed is fetched again."""
    first = pull(HubModel.parse("hf://lab/cells"), FILES_ON_HUB)
    assert first.pinned == HubModel(repository="lab/cells", revision=sha)
    shutil.rmtree(tmp_path / "hub_cache")
    assert pull(first.pinned, FILES_ON_HUB) == first
