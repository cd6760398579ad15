"""Models put up on a hub and brought from there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

import hpa_cells as package
from hpa_cells.models import load_checkpoint, load_models
from hpa_cells.segmentation.network import CellUNet, NetworkSettings, write_network
from hpa_cells.sharing import find_model
from hpa_cells.table import read_table

Program = Callable[..., Any]

# Of huggingface-hub to the package below it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>'")

MODEL_FILES = {"README.md", "checkpoint.json", "model.safetensors"}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def push(hpa_cells: Program, small_world: Any) -> Program:
    """Call ``hpa-cells push`` of the model of the small world, which must go well."""

    def run(*changed: str) -> Any:
        ended = hpa_cells("push", f"model={small_world.model}", "out=hf://lab/cells", *changed)
        assert ended.status == 0, ended.stderr
        return ended

    return run


def test_pushed_then_pulled_is_the_same_model_with_the_same_answers(
    hub: Any, push: Program, hpa_cells: Program, predict: Program, small_world: Any, tmp_path: Path
) -> None:
    ended = push()
    sha = hub.repositories["lab/cells"].refs["main"]
    assert f"hf://lab/cells@{sha}: README.md, checkpoint.json, model.safetensors" in ended.stderr
    assert hub.repositories["lab/cells"].private
    files = hub.files("lab/cells")
    assert set(files) == {".gitattributes", *MODEL_FILES}
    for name in ("checkpoint.json", "model.safetensors"):
        assert files[name] == (small_world.model / name).read_bytes()

    ended = hpa_cells("pull", "model=hf://lab/cells", f"out={tmp_path / 'mine'}")
    assert ended.status == 0, ended.stderr
    assert contents(tmp_path / "mine") == {name: files[name] for name in MODEL_FILES}
    assert not any(path.is_symlink() for path in (tmp_path / "mine").iterdir())

    assert predict().status == 0
    far = predict("model=hf://lab/cells", f"out={tmp_path / 'far'}")
    assert far.status == 0, far.stderr
    assert f"Using hf://lab/cells@{sha}" in far.stderr
    here, there = read_table(tmp_path / "run"), read_table(tmp_path / "far")
    pd.testing.assert_frame_equal(here.cells, there.cells)
    pd.testing.assert_frame_equal(here.fields, there.fields)
    assert there.provenance.settings["models"] == [f"hf://lab/cells@{sha}"]
    assert here.provenance.differences(there.provenance) == [
        f"settings.models: unset -> ['hf://lab/cells@{sha}']"
    ]


def test_only_the_model_goes_up_and_nothing_of_its_training(
    hub: Any, push: Program, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small_world.model, folder)
    for name in ("training/resume.ckpt", "training/logs/secrets.yaml", ".env", "optimizer.pt", "notes.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    hub.put("lab/cells", {"picture.png": b"png", "model.safetensors": b"old", "README.md": b"# Old\n"})
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells", "message=Better").status == 0
    assert set(hub.files("lab/cells")) == {"picture.png", *MODEL_FILES}
    assert (
        hub.files("lab/cells")["model.safetensors"] == (small_world.model / "model.safetensors").read_bytes()
    )
    assert not hub.repositories["lab/cells"].private
    assert hub.repositories["lab/cells"].messages[-1] == "Better"

    # Nothing has changed: no new commit.
    before = hub.repositories["lab/cells"].refs["main"]
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells").status == 0
    assert hub.repositories["lab/cells"].refs["main"] == before


def test_places_and_secrets_of_the_training_stay_at_home(
    hub: Any, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small_world.model, folder)
    config = json.loads((folder / "checkpoint.json").read_text())
    config["provenance"] = {
        "training": {"teacher": "/home/ann/models/old one"},
        "settings": {
            "data": {"root": "/home/ann/plates", "fields": ["s3://key:secret@bucket/train", "rel/train"]},
            "weights": r"C:\Users\ann\w.pth",
        },
    }
    (folder / "checkpoint.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "README.md").write_text("# Mine\n\n| teacher | /home/ann/models/old one |\n")
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells").status == 0
    pushed = hub.files("lab/cells")
    told = json.loads(pushed["checkpoint.json"])
    assert told.pop("provenance") == {
        "training": {"teacher": "old one"},
        "settings": {
            "data": {"root": "plates", "fields": ["s3://***@bucket/train", "rel/train"]},
            "weights": "w.pth",
        },
    }
    assert told == {name: value for name, value in config.items() if name != "provenance"}
    assert "| teacher | old one |" in pushed["README.md"].decode()
    assert not any(word in data for data in pushed.values() for word in (b"/home", b"secret", b"Users"))


def test_the_card_is_one_that_the_hub_understands(
    hub: Any, push: Program, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small_world.model, folder)
    config = json.loads((folder / "checkpoint.json").read_text())
    config["provenance"] = {
        "training": {"first_weights": f"hf://lab/older@{'a' * 40}"},
        "metrics": {"macro_average_precision": 0.76543, "macro_f1_at_tuned_thresholds": float("1")},
    }
    (folder / "checkpoint.json").write_text(json.dumps(config))
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells@dev", "license=cc-by-4.0").status == 0
    text = hub.files("lab/cells", "dev")["README.md"].decode()
    card = ModelCard(text)
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "hpa-cells")
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.base_model == "lab/older"
    assert {"hpa-cells", "human-protein-atlas", "hpa2021"} <= set(card.data.tags)
    assert {each.metric_type: each.metric_value for each in card.data.eval_results} == {
        "mean_average_precision": 0.7654,
        "f1": 1.0,
    }
    assert "hpa-cells predict fields=DIR model=hf://lab/cells out=RUN" in text

    # What people have written there themselves stays, and is not doubled when a pulled model is pushed again.
    mine = "---\nlicense: mit\ntags:\n- mine\nthumbnail: a.png\n---\n\n# My words\n"
    (folder / "README.md").write_text(mine)
    for _ in range(2):
        assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells").status == 0
        text = hub.files("lab/cells")["README.md"].decode()
        (folder / "README.md").write_text(text)
    _, front, body = text.split("---\n")
    front = yaml.safe_load(front)
    assert (front["license"], front["thumbnail"]) == ("mit", "a.png")
    assert front["tags"].count("hpa-cells") == 1 == front["tags"].count("mine")
    assert body == "\n# My words\n"
    (folder / "README.md").write_text("---\n[a\n---\n")
    ended = hpa_cells("push", f"model={folder}", "out=hf://lab/cells")
    assert (ended.status, "front matter of README.md is no YAML" in ended.stderr) == (1, True)


def test_a_cross_fit_is_several_models_there_too_and_goes_when_one_takes_its_place(
    hub: Any, push: Program, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "cross_fit"
    for number in (0, 2, 10):
        shutil.copytree(small_world.model, folder / f"fold-{number}")
    (folder / "out_of_fold").mkdir()
    (folder / "out_of_fold" / "cells-000000.parquet").write_bytes(b"table")
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/cells").status == 0
    files = {f"fold-{number}/{name}" for number in (0, 2, 10) for name in MODEL_FILES}
    assert set(hub.files("lab/cells")) == {".gitattributes", "README.md", *files}
    assert len(load_models("hf://lab/cells").members) == 3
    assert hpa_cells("pull", "model=hf://lab/cells", f"out={tmp_path / 'mine'}").status == 0
    assert set(contents(tmp_path / "mine")) == {"README.md", *files}
    # Else the folds would answer for the one.
    push()
    assert set(hub.files("lab/cells")) == {".gitattributes", *MODEL_FILES}
    assert len(load_models("hf://lab/cells").members) == 1


def test_a_segmenter_is_shared_alike(hub: Any, hpa_cells: Program, small_world: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CellUNet(NetworkSettings(encoder="resnet10t", decoder_channels=[8, 8, 8])).eval()
    folder = tmp_path / "trained"
    folder.mkdir()
    sha256 = write_network(network, folder / "unet.safetensors", provenance={"version": "1"})
    (folder / "unet.md").write_text("# Mine\n\nUse it with `segmenter=unet segmenter.weights=FILE`.\n")
    assert hpa_cells("push", f"model={folder}", "out=hf://lab/unet").status == 0
    files = hub.files("lab/unet")
    assert set(files) == {".gitattributes", "README.md", "unet.safetensors"}
    card = ModelCard(files["README.md"].decode())
    assert card.data.pipeline_tag == "image-segmentation"
    assert "segmenter.weights=hf://lab/unet`" in card.text
    assert find_model("hf://lab/unet").kind == "segmenter"

    settings = [f"fields={small_world.fields}", "segmenter.device=cpu"]
    for name, weights in (("a", folder / "unet.safetensors"), ("b", "hf://lab/unet@main")):
        ended = hpa_cells("segment", *settings, f"out={tmp_path / name}", f"segmenter.weights={weights}")
        assert ended.status == 0, ended.stderr
    here, there = contents(tmp_path / "a"), contents(tmp_path / "b")
    described = [json.loads(each.pop("segmentation.json")) for each in (here, there)]
    assert here == there
    assert sha256 in json.dumps(described[1])
    sha = hub.repositories["lab/unet"].refs["main"]
    assert f"hf://lab/unet@{sha}" in json.dumps(described[1])

    ended = hpa_cells(
        "segment",
        *settings,
        f"out={tmp_path / 'c'}",
        "segmenter=hpacellseg",
        "segmenter.weights=hf://lab/unet",
    )
    assert (ended.status, "which only segmenter=unet takes" in ended.stderr) == (1, True)
    ended = hpa_cells("predict", *settings, f"out={tmp_path / 'c'}", "model=hf://lab/unet")
    assert ended.status == 1
    assert "hf://lab/unet holds none of checkpoint.json, model.safetensors" in ended.stderr


def test_in_python(hub: Any, small_world: Any, tmp_path: Path) -> None:
    assert package.push(model=small_world.model, out="hf://lab/cells", private=False) == "hf://lab/cells"
    assert not hub.repositories["lab/cells"].private
    assert package.pull(model="hf://lab/cells", out=tmp_path / "mine") == tmp_path / "mine"
    cells = package.predict(
        fields=small_world.fields,
        model="hf://lab/cells@main",
        out=tmp_path / "run",
        segmenter="precomputed",
        device="cpu",
        overrides=[f"segmenter.folder={small_world.masks}"],
    )
    assert len(cells) == sum(small_world.num_cells.values())
    theirs, ours = (load_models(place).members[0] for place in ("hf://lab/cells", small_world.model))
    assert theirs.weights_hash == ours.weights_hash == load_checkpoint("hf://lab/cells").weights_hash
    np.testing.assert_array_equal(theirs.thresholds, ours.thresholds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["out=hf://lab"], "hf://lab names no model on a hub: write hf://owner/name"),
        (["out=hf://datasets/lab/cells"], "names no model on a hub"),
        (["out=hf://lab/../cells"], "names no model on a hub"),
        ([f"out=hf://lab/cells@{'a' * 40}"], "is a commit, which never changes: give a branch"),
        (["out=hf://lab/cells", "license=CC BY"], "license is 'CC BY': write it as the hub does"),
        (["out=hf://lab/cells", "private=perhaps"], "private"),
        (["out=s3://lab/cells"], "`out` of push is s3://lab/cells"),
        (["out=cells"], "cells names no model on a hub"),
    ],
)
def test_what_cannot_be_pushed_is_told_before_the_hub_is_asked(
    hub: Any, hpa_cells: Program, small_world: Any, tmp_path: Path, settings: list[str], message: str
) -> None:
    ended = hpa_cells("push", f"model={small_world.model}", *settings)
    assert (ended.status, "Traceback" in ended.stderr) == (1, False)
    assert message in ended.stderr
    assert hub.requests == []


def test_a_model_that_does_not_load_does_not_go_up(
    hub: Any, hpa_cells: Program, small_world: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    ended = hpa_cells("push", f"model={folder}", "out=hf://lab/cells")
    assert f"{folder} holds no model, neither checkpoint.json nor unet.safetensors" in ended.stderr
    shutil.copytree(small_world.model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    ended = hpa_cells("push", f"model={folder}", "out=hf://lab/cells")
    assert (ended.status, f"{weights} is damaged" in ended.stderr) == (1, True)
    (folder / "unet.safetensors").write_bytes(b"")
    ended = hpa_cells("push", f"model={folder}", "out=hf://lab/cells")
    assert "holds a classifier and a segmenter" in ended.stderr
    assert hub.requests == []


def test_pull_leaves_alone_what_is_there(hub: Any, push: Program, hpa_cells: Program, tmp_path: Path) -> None:
    push()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "checkpoint.json").write_text("my own")
    ended = hpa_cells("pull", "model=hf://lab/cells", f"out={tmp_path / 'mine'}")
    assert (ended.status, "and is not replaced: choose another `out`" in ended.stderr) == (1, True)
    assert contents(tmp_path / "mine") == {"checkpoint.json": b"my own"}
    ended = hpa_cells("pull", f"model={tmp_path / 'mine'}", f"out={tmp_path / 'other'}")
    assert (ended.status, "which is on no hub: give hf://owner/name" in ended.stderr) == (1, True)


@pytest.mark.slow
def test_the_program_as_it_is_started(
    hub_server: Any, hub_environment: dict[str, str], small_world: Any, tmp_path: Path
) -> None:
    """Nothing but variables of the environment tells it of the hub."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from hpa_cells.commands.app import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, env=os.environ | hub_environment, capture_output=True, text=True, check=False
        )

    ended = run("push", f"model={small_world.model}", "out=hf://lab/cells")
    assert ended.returncode == 0, ended.stderr
    # One line, no bars and none of the package's own talk.
    assert len(ended.stderr.splitlines()) == 1
    ended = run("pull", "model=hf://lab/cells", f"out={tmp_path / 'mine'}")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert load_checkpoint(tmp_path / "mine").weights_hash == load_checkpoint(small_world.model).weights_hash
    assert hub_server.tokens == {hub_environment["HF_TOKEN"]}
