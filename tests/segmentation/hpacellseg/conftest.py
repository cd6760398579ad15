"""Networks of the published form, small ones mostly, and files of them as the published ones are."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from hpa_cells.segmentation.hpacellseg import weights
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet, DualPathPlan

# Test modules cannot import one another.
MADE_UP = runpy.run_path(str(Path(__file__).with_name("made_up_weights.py")))

NARROW = DualPathPlan(
    stem_width=4, residual_width=8, reduced_width=4, groups=2, depths=(1, 1, 2, 1), increments=(2, 2, 2, 2)
)

# What the published files call the classes of these modules.
_PUBLISHED_NAMES = {
    "DPNUNet": "pytorch_zoo.unet.DPNUnet",
    "_NormalisedConv": "pytorch_zoo.dpn.BnActConv2d",
    "_NormaliseLast": "pytorch_zoo.dpn.CatBnAct",
    "_DualPathBlock": "pytorch_zoo.dpn.DualPathBlock",
    "_Enlarge": "pytorch_zoo.abstract_model.UnetDecoderBlock",
    "_Join": "pytorch_zoo.abstract_model.ConvBottleneck",
}


@pytest.fixture(scope="session")
def made_up() -> dict[str, Any]:
    """The functions of made_up_weights.py."""
    return MADE_UP


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> DPNUNet:
    """A small network with made-up weights; for the time of the test, files are expected to hold such ones."""
    monkeypatch.setattr(weights, "DPN_92", NARROW)
    return narrow_network("narrow")


def narrow_network(seed: str) -> DPNUNet:
    network = DPNUNet(NARROW)
    MADE_UP["fill_by_formula"](network, seed)
    return network.eval()


@pytest.fixture(scope="session")
def another_narrow() -> Callable[[str], DPNUNet]:
    """Small networks by seed."""
    return narrow_network


@pytest.fixture
def as_published(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], nn.Module]:
    """Gives a network the classes that the published files name, for the time of the test."""
    classes: dict[str, type] = {}
    for ours, theirs in _PUBLISHED_NAMES.items():
        module_name, _, name = theirs.rpartition(".")
        module = sys.modules.get(module_name) or ModuleType(module_name)
        classes[ours] = type(name, (nn.Module,), {"__module__": module_name})
        setattr(module, name, classes[ours])
        monkeypatch.setitem(sys.modules, module_name, module)
    monkeypatch.setitem(sys.modules, "pytorch_zoo", ModuleType("pytorch_zoo"))

    def convert(module: nn.Module) -> nn.Module:
        kind = classes.get(type(module).__name__, type(module))
        published: nn.Module = kind.__new__(kind)
        published.__dict__ = dict(module.__dict__)
        published.__dict__["_modules"] = {name: convert(child) for name, child in module._modules.items()}
        # As the classes of the published files have: a class as an attribute.
        published.__dict__["decoder_block"] = classes["_Enlarge"]
        return published

    return convert


@pytest.fixture(params=["zip", "old"])
def save(request: pytest.FixtureRequest) -> Callable[[Any, Path], Path]:
    """``torch.save`` in either format; gives the path back."""

    def write(content: Any, path: Path) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the older format cannot find the source of made-up classes
            torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write
