"""From settings to a pooling, and from a file of settings to a checkpoint and back."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import compose, conf_folder, to_settings
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    ClassifierSettings,
    load_checkpoint,
    save_checkpoint,
)
from hpa_cells.models.pooling import POOLINGS, PoolingByClass, PoolingSettings, TopKPooling, build_pooling

HPA2021 = get_class_set("hpa2021")
INDEX = torch.tensor([0, 0, 1, 2, 2])


def from_file(name: str, *more: str) -> PoolingSettings:
    return to_settings(PoolingSettings, compose("train", [f"pooling={name}", *more]).pooling)


def save(folder: Path, pooling: PoolingSettings) -> Checkpoint:
    torch.manual_seed(0)
    settings = ClassifierSettings(
        num_classes=19,
        encoder="resnet10t",
        encoder_options={"channels": [4, 4, 8, 8], "stem_width": 4},
        pooling=pooling,
        field_head="shared",
    )
    checkpoint = Checkpoint(
        model=CellClassifier(settings).eval(),
        class_set=HPA2021,
        crop_settings={},
        thresholds=np.full(19, 0.5, dtype=np.float32),
    )
    return save_checkpoint(folder, checkpoint)


def test_every_pooling_has_a_file() -> None:
    files = {path.stem for path in (conf_folder() / "pooling").glob("*.yaml")}
    assert files == {*POOLINGS, "by_class"}


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_files_say_every_option_with_its_default(name: str) -> None:
    parameters = signature(POOLINGS[name]).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert from_file(name) == PoolingSettings(name=name, options=defaults)


def test_trainings_take_the_mean_unless_told() -> None:
    config = compose("train", []).pooling
    assert to_settings(PoolingSettings, config) == PoolingSettings(name="mean")


def test_options_from_the_command_line() -> None:
    pooling = build_pooling(from_file("top_k", "pooling.options.share=0.5"), 19, 8)
    assert isinstance(pooling, TopKPooling)
    assert pooling.share == 0.5


def test_exceptions_from_the_command_line() -> None:
    settings = from_file("by_class", "pooling.name=top_k", "+pooling.exceptions.centrosome=noisy_or")
    assert settings == PoolingSettings(
        name="top_k", exceptions={"mitotic_spindle": "max", "centrosome": "noisy_or"}
    )


@pytest.mark.parametrize(("class_set", "position"), [("hpa2021", "11"), ("hpa2018", "17"), ("subcell", "19")])
def test_the_spindle_is_pooled_by_the_maximum_in_every_class_set(class_set: str, position: str) -> None:
    settings = from_file("by_class").with_positions(get_class_set(class_set))
    assert settings == PoolingSettings(name="mean", exceptions={position: "max"})


def test_each_class_by_its_pooling() -> None:
    settings = PoolingSettings(
        name="top_k", options={"share": 0.5}, exceptions={"3": "max", "0": "noisy_or", "1": "max"}
    )
    pooling = build_pooling(settings, 5, 2)
    assert isinstance(pooling, PoolingByClass)
    values = torch.tensor([[0.0, 1, 2, 3, 4], [0, 5, 6, 7, 1], [0, 3, 1, 2, 0], [0, 0, 0, 0, 0]])
    pooled = pooling(values, torch.zeros(4, dtype=torch.int64), 1, torch.zeros(4, 2))
    # Four cells of probability a half: odds of 2^4 - 1. The best two of (2, 6, 1, 0) and of (4, 1, 0, 0).
    torch.testing.assert_close(pooled, torch.tensor([[np.log(15), 5, 4, 7, 2.5]], dtype=torch.float32))


def test_exceptions_that_are_none() -> None:
    """An exception of the same name keeps the options, and every class may be an exception."""
    values = torch.tensor([[0.0, 4], [2, 6], [7, 9]])
    arguments = (values, torch.zeros(3, dtype=torch.int64), 1, torch.zeros(3, 2))
    same = PoolingSettings(name="top_k", options={"share": 1.0}, exceptions={"1": "top_k"})
    torch.testing.assert_close(build_pooling(same, 2, 2)(*arguments), values.mean(0, keepdim=True))
    other = PoolingSettings(name="mean", exceptions={"0": "max", "1": "max"})
    torch.testing.assert_close(build_pooling(other, 2, 2)(*arguments), torch.tensor([[7.0, 9]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "median"}, r"Pooling 'median' is unknown: use one of mean, max"),
        ({"exceptions": {"11": "median"}}, r"Pooling 'median' is unknown: use one of mean, max"),
        ({"name": "top_k", "options": {"shar": 0.1}}, r"top_k has no option 'shar': it takes share"),
        ({"options": {"share": 0.1}}, r"mean has no option 'share': it takes none"),
        ({"name": "top_k", "options": {"share": "many"}}, r"share of pooling top_k is 'many': give a number"),
        ({"name": "top_k", "options": {"share": True}}, r"share of pooling top_k is True: give a number"),
        (
            {"name": "gated_attention", "options": {"num_hidden": 4.5}},
            r"num_hidden of pooling gated_attention is 4\.5: give a whole number",
        ),
    ],
)
def test_unknown_names_and_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoolingSettings(**settings)


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("top_k", "share", [0, -0.1, 1.01, float("nan")]),
        ("log_sum_exp", "sharpness", [0, -1.0, float("inf"), float("nan")]),
        ("noisy_and", "slope", [0, -10, float("inf"), float("nan")]),
        ("gated_attention", "num_hidden", [0, -1]),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: str, values: list[float]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"Option {option} of pooling {name} is {value}: give "):
            build_pooling(PoolingSettings(name=name, options={option: value}), 19, 8)


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Class 'spindle' is not in class set hpa2021"):
        PoolingSettings(exceptions={"spindle": "max"}).with_positions(HPA2021)
    for position in ("19", "-1", "01", "mitotic_spindle"):
        with pytest.raises(ValueError, match=rf"class '{position}', expected a position from 0 to 18"):
            build_pooling(PoolingSettings(exceptions={position: "max"}), 19, 8)


def round_trips() -> list[PoolingSettings]:
    return [
        *(PoolingSettings(name=name) for name in sorted(POOLINGS)),
        PoolingSettings(name="top_k", options={"share": 0.25}),
        PoolingSettings(name="noisy_and", exceptions={"11": "max", "18": "gated_attention"}),
    ]


@pytest.mark.parametrize("pooling", round_trips(), ids=lambda each: f"{each.name}-{len(each.exceptions)}")
def test_a_checkpoint_comes_back(pooling: PoolingSettings, tmp_path: Path, crops: Tensor) -> None:
    saved = save(tmp_path, pooling)
    loaded = load_checkpoint(tmp_path)
    assert loaded.model.settings == saved.model.settings
    assert loaded.model.settings.pooling == pooling
    for mine, theirs in zip(
        loaded.model.probabilities(crops, INDEX), saved.model.probabilities(crops, INDEX), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_whose_pooling_is_a_name(tmp_path: Path, crops: Tensor) -> None:
    saved = save(tmp_path, PoolingSettings(name="log_sum_exp"))
    config = json.loads((tmp_path / "checkpoint.json").read_text())
    assert config["model"]["pooling"] == {"name": "log_sum_exp", "options": {}, "exceptions": {}}
    config["model"]["pooling"] = "log_sum_exp"
    (tmp_path / "checkpoint.json").write_text(json.dumps(config))
    loaded = load_checkpoint(tmp_path)
    assert loaded.model.settings == saved.model.settings


def test_the_model_card_names_pooling_and_exceptions(tmp_path: Path) -> None:
    save(tmp_path, PoolingSettings(name="top_k", options={"share": 0.25}, exceptions={"11": "max"}))
    card = (tmp_path / "README.md").read_text()
    assert "| pooling of a field's cells | top_k (share 0.25), mitotic spindle by max, shared head |" in card
