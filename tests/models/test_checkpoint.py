from __future__ import annotations

import hashlib
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpa_cells.classes import get_class_set
from hpa_cells.models import CellClassifier, Checkpoint, load_checkpoint, save_checkpoint
from hpa_cells.types import Channel


@pytest.fixture
def checkpoint(classifier: CellClassifier) -> Checkpoint:
    return Checkpoint(
        model=classifier,
        class_set=get_class_set("hpa2021"),
        crop_settings={"size_px": 32, "masked": True, "um_per_px": None, "margin": 0.03},
        thresholds=np.linspace(0.1, 0.9, 19, dtype=np.float32),
        optional_channels=frozenset({Channel.ER}),
        provenance={"version": "0.1.0", "metrics": {"macro_average_precision": 0.25}},
    )


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    save_checkpoint(tmp_path / "model", checkpoint)
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(config | changes))


def test_round_trip(folder: Path, checkpoint: Checkpoint, crops: Tensor) -> None:
    loaded = load_checkpoint(folder)
    index = torch.zeros(len(crops), dtype=torch.int64)
    for mine, theirs in zip(
        loaded.model.probabilities(crops, index), checkpoint.model.probabilities(crops, index), strict=True
    ):
        assert torch.equal(mine, theirs)
    np.testing.assert_array_equal(loaded.thresholds, checkpoint.thresholds)
    for name in ("class_set", "crop_settings", "optional_channels", "provenance"):
        assert getattr(loaded, name) == getattr(checkpoint, name)
    assert not loaded.model.training


def test_weights_hash_is_that_of_the_file(folder: Path, checkpoint: Checkpoint) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    assert load_checkpoint(folder).weights_hash == hashlib.sha256(weights).hexdigest()
    assert save_checkpoint(folder, checkpoint).weights_hash == hashlib.sha256(weights).hexdigest()


def test_saving_twice_gives_the_same_bytes(folder: Path, checkpoint: Checkpoint) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_checkpoint(folder, checkpoint)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_model_card_says_what_it_is(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for part in ("resnet10t", "hpa2021", "size_px 32", "| er |", "0.25", "nucleoplasm"):
        assert part in card or part.strip("| ") in card


def test_loads_without_lightning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("lightning", "pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    load_checkpoint(folder)


def test_loads_without_pickle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle can run any code")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} does not exist: give the folder"):
        load_checkpoint(folder)


def test_a_cross_fit_where_one_model_is_wanted(folder: Path) -> None:
    folder.rename(folder.parent / "fold-0")
    with pytest.raises(
        FileNotFoundError, match=rf"{folder.parent} is a cross-fit, .* such as {folder.parent / 'fold-0'}\."
    ):
        load_checkpoint(folder.parent)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_truncated_weights(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_checkpoint(folder)


def test_a_pickle_in_place_of_the_weights_is_not_opened(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"text"', "\x00\xff"])
def test_hostile_json(folder: Path, text: str) -> None:
    (folder / "checkpoint.json").write_text(text)
    with pytest.raises(ValueError, match=r"checkpoint\.json is not"):
        load_checkpoint(folder)


def test_later_format(folder: Path) -> None:
    edit(folder, format_version=2)
    with pytest.raises(ValueError, match=r"format version 2, this hpa_cells reads 1"):
        load_checkpoint(folder)


def test_missing_entry(folder: Path) -> None:
    config = json.loads((folder / "checkpoint.json").read_text())
    del config["thresholds"], config["model"]
    (folder / "checkpoint.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"lacks model, thresholds"):
        load_checkpoint(folder)


def test_weights_of_another_model(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with torch.no_grad():
        checkpoint.model.cell_head.bias += 1
    save_checkpoint(tmp_path / "other", checkpoint)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"they come from different models"):
        load_checkpoint(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "checkpoint.json").read_text())
    edit(folder, model=config["model"] | {"encoder_options": {"channels": [4, 4, 8, 12], "stem_width": 4}})
    with pytest.raises(ValueError, match=r"does not fit the model of checkpoint\.json: .*size mismatch"):
        load_checkpoint(folder)


def test_other_classes_under_the_same_name(folder: Path) -> None:
    config = json.loads((folder / "checkpoint.json").read_text())
    edit(folder, thresholds={f"x{key}": value for key, value in config["thresholds"].items()})
    with pytest.raises(ValueError, match=r"lists other classes than class set hpa2021"):
        load_checkpoint(folder)


def test_unknown_class_set(folder: Path) -> None:
    edit(folder, class_set="hpa2030")
    with pytest.raises(ValueError, match=r"'hpa2030' is unknown"):
        load_checkpoint(folder)


def test_class_set_of_another_size(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match=r"has 19 classes, class set hpa2018 has 28"):
        replace(checkpoint, class_set=get_class_set("hpa2018"))


def test_a_failed_save_leaves_the_old_model(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left"):
        save_checkpoint(folder, checkpoint)
    load_checkpoint(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "checkpoint.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000])
def test_json_that_is_nested_without_end(folder: Path, text: str) -> None:
    (folder / "checkpoint.json").write_text(text)
    with pytest.raises(ValueError, match=r"checkpoint\.json is not JSON"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"model": []}, r"has '\[\]' as model, expected a dict"),
        ({"weights_sha256": 3}, "as weights_sha256, expected a str"),
        ({"thresholds": [0.5] * 19}, "as thresholds, expected a dict"),
        ({"optional_channels": ["nowhere"]}, "describes no model of hpa_cells"),
        ({"model": {}}, "describes no model of hpa_cells"),
    ],
)
def test_entries_of_another_kind(folder: Path, changes: dict[str, object], found: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ValueError, match=found):
        load_checkpoint(folder)


def edit_model(folder: Path, **changes: object) -> None:
    model = json.loads((folder / "checkpoint.json").read_text())["model"]
    edit(folder, model=model | changes)


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18", "local-dir:/tmp", "hf_hub:a/b", "../resnet18", "https://x/y"]
)
def test_an_encoder_from_elsewhere_is_not_fetched(folder: Path, name: str) -> None:
    edit_model(folder, encoder=name)
    with pytest.raises(ValueError, match="timm has no network"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "option", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"]
)
def test_no_option_of_the_encoder_reads_another_file(folder: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    edit_model(folder, encoder_options={option: str(tmp_path / "evil.pth")})
    with pytest.raises(ValueError, match=f"has the option {option}, by which timm would read other files"):
        load_checkpoint(folder)
    assert not (tmp_path / "harm").exists()


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_model_larger_than_its_weights_takes_no_memory(folder: Path) -> None:
    # 3 x 3 filters of 100,000 by 100,000 channels have 360 GB.
    edit_model(folder, encoder_options={"channels": [100_000] * 4, "stem_width": 4})
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit the model of checkpoint\.json"):
        load_checkpoint(folder)
