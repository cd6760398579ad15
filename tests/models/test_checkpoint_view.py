"""Checkpoints of models that see whole fields or squares of them, and those written before there were any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.classes import get_class_set
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    ClassifierSettings,
    load_checkpoint,
    save_checkpoint,
    take_over,
)

OPTIONS: dict[str, Any] = {"channels": [4, 8, 12, 16], "stem_width": 8}
SHOWN = {"um_per_px": 0.32, "masked": True}
SQUARES = {
    "um_per_px": None,
    "field_px": 512,
    "size_px": 32,
    "num_training": 8,
    "num_predicted": 4,
    "seed": 3,
}


def make(view: str, map_stride: int | None = None) -> Checkpoint:
    torch.manual_seed(0)
    settings = ClassifierSettings(
        num_classes=19, encoder="resnet10t", encoder_options=OPTIONS, view=view, map_stride=map_stride
    )
    return Checkpoint(
        model=CellClassifier(settings).eval(),
        class_set=get_class_set("hpa2021"),
        crop_settings={"size_px": 32} if view == "crops" else {},
        thresholds=np.full(19, 0.5, dtype=np.float32),
        field_settings=SHOWN if view == "field" else None,
        square_settings=SQUARES if view == "squares" else None,
    )


@pytest.mark.parametrize("map_stride", [None, 16])
def test_round_trip(tmp_path: Path, map_stride: int | None) -> None:
    checkpoint = make("field", map_stride)
    save_checkpoint(tmp_path, checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded.model.settings == checkpoint.model.settings
    assert loaded.field_settings == SHOWN
    masks = torch.zeros(1, 64, 64, dtype=torch.int32)
    masks[0, 5:20, 5:20], masks[0, 30:, 40:] = 1, 2
    arguments = (torch.rand(1, 4, 64, 64), torch.zeros(2, dtype=torch.int64), masks)
    for mine, theirs in zip(
        loaded.model.probabilities(*arguments), checkpoint.model.probabilities(*arguments), strict=True
    ):
        assert torch.equal(mine, theirs)
    card = (tmp_path / "README.md").read_text()
    stride = "" if map_stride is None else ", map_stride 16"
    assert f"| whole fields | um_per_px 0.32, masked True{stride} |" in card


def test_round_trip_of_a_model_of_squares(tmp_path: Path) -> None:
    checkpoint = make("squares")
    save_checkpoint(tmp_path, checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded.model.settings == checkpoint.model.settings
    assert loaded.model.settings.view == "squares"
    assert (loaded.square_settings, loaded.field_settings, loaded.crop_settings) == (SQUARES, None, {})
    arguments = (torch.rand(3, 4, 32, 32), torch.tensor([0, 1, 1]))
    for mine, theirs in zip(
        loaded.model.probabilities(*arguments), checkpoint.model.probabilities(*arguments), strict=True
    ):
        assert torch.equal(mine, theirs)
    card = (tmp_path / "README.md").read_text()
    assert "| squares of fields, no cells | um_per_px None, field_px 512, size_px 32, num_training 8" in card
    config = json.loads((tmp_path / "checkpoint.json").read_text())
    del config["square_settings"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"checkpoint\.json lacks square_settings"):
        load_checkpoint(tmp_path)


def test_a_model_of_squares_takes_no_masks() -> None:
    model, masks = make("squares").model, torch.ones(1, 64, 64, dtype=torch.int32)
    with pytest.raises(ValueError, match="has view squares, but was given whole fields with masks"):
        model(torch.rand(1, 4, 64, 64), torch.zeros(1, dtype=torch.int64), masks)
    with pytest.raises(ValueError, match="view=squares makes no map"):
        replace(model.settings, map_stride=16)


def test_models_of_crops_are_written_and_read_as_ever(tmp_path: Path) -> None:
    """An hpa_cells that knows of no other view can read them, and theirs are read here."""
    save_checkpoint(tmp_path, make("crops"))
    config = json.loads((tmp_path / "checkpoint.json").read_text())
    assert set(config) == {
        "format_version",
        "model",
        "class_set",
        "thresholds",
        "crop_settings",
        "optional_channels",
        "weights_sha256",
        "provenance",
    }
    assert list(config["model"]) == ["num_classes", "encoder", "encoder_options", "pooling", "field_head"]
    loaded = load_checkpoint(tmp_path)
    assert (loaded.model.settings.view, loaded.model.settings.map_stride) == ("crops", None)
    assert loaded.field_settings is None
    assert "| crops | size_px 32 |" in (tmp_path / "README.md").read_text()


def test_a_file_that_does_not_say_how_fields_are_shown(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make("field"))
    config = json.loads((tmp_path / "checkpoint.json").read_text())
    del config["field_settings"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"checkpoint\.json lacks field_settings"):
        load_checkpoint(tmp_path)


def test_settings_of_the_other_view() -> None:
    with pytest.raises(ValueError, match="has view crops and field_settings"):
        replace(make("crops"), field_settings=SHOWN)
    with pytest.raises(ValueError, match="has view field and no field_settings"):
        replace(make("field"), field_settings=None)
    with pytest.raises(ValueError, match="has view crops and square_settings"):
        replace(make("crops"), square_settings=SQUARES)
    with pytest.raises(ValueError, match="has view squares and no square_settings"):
        replace(make("squares"), square_settings=None)


@pytest.mark.parametrize(
    ("view", "map_stride"), [("field", None), ("field", 8), ("crops", None), ("squares", None)]
)
def test_weights_go_from_one_view_to_another(tmp_path: Path, view: str, map_stride: int | None) -> None:
    earlier = make("crops" if view == "field" else "field")
    torch.nn.init.normal_(earlier.model.cell_head.bias)
    save_checkpoint(tmp_path, earlier)
    torch.manual_seed(5)
    later = CellClassifier(replace(earlier.model.settings, view=view, map_stride=map_stride))
    take_over(later, tmp_path, class_set="hpa2021")
    for name, value in earlier.model.state_dict().items():
        assert torch.equal(later.state_dict()[name], value)
