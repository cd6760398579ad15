"""Every file in conf/ composes, and what it describes can be built."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import pandas as pd
import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from hpa_cells.classes import get_class_set
from hpa_cells.commands.app import VERBS
from hpa_cells.commands.settings import compose, compose_with_choices, conf_folder, to_settings
from hpa_cells.prediction.calibration import Calibration
from hpa_cells.prediction.learned_fusion import LearnedFusion
from hpa_cells.prediction.scores_file import write_learned_fusion
from hpa_cells.table import FIELD_COLUMNS, Column, Provenance, TableWriter

# The groups of plain settings, and the dataclass that each fills.
SETTINGS = {
    "augmentation": "hpa_cells.training.augmentation.AugmentationSettings",
    "crops": "hpa_cells.cells.CropSettings",
    "data": "hpa_cells.training.labelled.DataSettings",
    "encoder": "hpa_cells.models.EncoderSettings",
    "fusion": "hpa_cells.prediction.Fusion",
    "heads": "hpa_cells.training.one_vs_rest.OneVsRestSettings",
    "loss": "hpa_cells.training.losses.LossSettings",
    "method": "hpa_cells.training.method.MethodSettings",
    "made_up": "hpa_cells.training.made_up.MadeUpSettings",
    "pooling": "hpa_cells.models.pooling.PoolingSettings",
    "recipe": "hpa_cells.simulation.Recipe",
    "self_supervision": "hpa_cells.training.self_supervision.SelfSupervisionSettings",
    "soft_labels": "hpa_cells.training.soft_labels.SoftLabelSettings",
    "segmentation.crops": "hpa_cells.training.segmenter.crops.CropAugmentation",
    "segmentation.material": "hpa_cells.training.segmenter.material.MaterialSettings",
    "segmentation.mix": "hpa_cells.training.segmenter.data.MixSettings",
    "segmentation.network": "hpa_cells.segmentation.network.NetworkSettings",
    "segmentation.variety": "hpa_cells.simulation.Variety",
    "tta": "hpa_cells.prediction.Symmetries",
    "view": "hpa_cells.training.view.ViewSettings",
}
# Groups that only change settings of others.
MODES = {"experiment", "debug"}
# What needs a service, a package or a device that a test does without: its arguments are checked, no more.
NOT_BUILT = {"lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.MLFlowLogger"}


# Choices that bring groups of their own with them.
NESTING = ("segmentation=unet",)


def options() -> Iterator[tuple[str, str, str]]:
    """Every verb with each file of each of its groups; ``group@place`` where a group fills another place."""
    for verb in VERBS:
        groups = set(compose_with_choices(verb, [])[1])
        for choice in NESTING:
            if choice.split("=")[0] in groups:
                groups |= set(compose_with_choices(verb, [choice])[1])
        for group in sorted(groups):
            for path in sorted((conf_folder() / group.split("@")[0]).glob("*.yaml")):
                yield verb, group, path.stem


def things(node: Any, name: str = "") -> Iterator[tuple[str, DictConfig]]:
    """The nodes that carry ``_target_``, however deep, by name."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield name, node
        for key in node:
            yield from things(node._get_node(key), f"{name}.{key}" if name else str(key))
    elif isinstance(node, ListConfig):
        for index in range(len(node)):
            yield from things(node._get_node(index), f"{name}[{index}]")


def fill(node: DictConfig, value: str) -> None:
    """Give every setting that is required this value."""
    for key in node:
        if OmegaConf.is_missing(node, key):
            node[key] = value
        elif isinstance(node._get_node(key), DictConfig) and not OmegaConf.is_interpolation(node, key):
            fill(node[key], value)


def check_arguments(name: str, node: DictConfig) -> None:
    target = get_object(node._target_)
    arguments = [key for key in node if not str(key).startswith("_")]
    parameters = inspect.signature(target).parameters
    assert set(arguments) <= set(parameters), (
        f"{name}: {node._target_} takes no {set(arguments) - set(parameters)}"
    )


def check_things(config: DictConfig) -> None:
    for name, node in things(config):
        check_arguments(name, node)
        needs_gpu = node.get("accelerator") == "gpu" and not torch.cuda.is_available()
        if node._target_ not in NOT_BUILT and not needs_gpu:
            instantiate(node)


def check_settings(config: DictConfig, names: Iterable[str]) -> None:
    for name in names:
        if "_target_" not in OmegaConf.select(config, name):
            to_settings(get_object(SETTINGS[name]), OmegaConf.select(config, name))


@pytest.fixture(scope="module")
def any_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cell table of one field without cells, and learned scores: whatever wants a folder finds what it needs."""
    folder = tmp_path_factory.mktemp("configs")
    provenance = Provenance(version="1", class_set="hpa2021", source="model")
    row = dict.fromkeys(FIELD_COLUMNS, 1) | {Column.FIELD_ID: "a", Column.NUM_CELLS: 0}
    with TableWriter(folder, provenance=provenance) as writer:
        writer.add(cells=pd.DataFrame(), field_row=row)
    keep = Calibration(method="none", maps=(None,) * 19)
    learned = LearnedFusion(
        class_set=get_class_set("hpa2021"),
        rules=None,
        cells=None,
        fields=keep,
        provenance_of_scores={"table_weights_hash": "", "table_settings": {}},
    )
    write_learned_fusion(folder, learned, scores={})
    return str(folder)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_file_and_a_module(verb: str) -> None:
    assert (conf_folder() / f"{verb}.yaml").is_file()
    assert callable(import_module(f"hpa_cells.commands.{verb}").run)
    assert OmegaConf.is_missing(compose(verb, []), "out")


def test_every_file_is_reached() -> None:
    """Each group belongs to a verb, and nothing lies about beside the verbs and what they share."""
    reached = {f"{group.split('@')[0]}/{option}.yaml" for _, group, option in options()}
    shared = {"common.yaml", *(f"{verb}.yaml" for verb in VERBS)}
    found = {str(path.relative_to(conf_folder())) for path in conf_folder().rglob("*.yaml")}
    assert {path for path in found if not path.startswith("hydra/")} == reached | shared


@pytest.mark.parametrize(("verb", "group", "option"), list(options()))
def test_every_option_composes_and_builds(verb: str, group: str, option: str, any_folder: str) -> None:
    # As the program does: `hpa_cells.export` is the room, and no longer the verb, once its command is loaded.
    import_module(f"hpa_cells.commands.{verb}")
    group, _, place = group.partition("@")
    config = compose(verb, [*NESTING, f"{group}@{place}={option}"] if place else [f"{group}={option}"])
    group = place or group
    fill(config, any_folder)
    OmegaConf.resolve(config)
    if group in MODES:
        check_things(config)
        check_settings(config, [name for name in SETTINGS if OmegaConf.select(config, name) is not None])
        return
    node = OmegaConf.select(config, group)
    names = [name for name in SETTINGS if name == group or name.startswith(f"{group}.")]
    assert names or any(things(node)) or not node, f"say in SETTINGS what the files in conf/{group}/ fill"
    check_things(node)
    check_settings(config, names)


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_has_a_value_that_resolves(verb: str, any_folder: str) -> None:
    config = compose(verb, [])
    fill(config, any_folder)
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
