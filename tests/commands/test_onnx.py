"""``hpa-cells onnx``, and what the documentation says of its files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpa_cells as package
from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.commands import onnx as command
from hpa_cells.commands.settings import compose
from hpa_cells.fields import find_fields, read_field
from hpa_cells.models import SHIPPED_MODEL, load_checkpoint, model_input
from hpa_cells.segmentation import UNet, read_segmentation

Program = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs"


def test_the_program_writes_a_file(hpa_cells: Program, small_world: Any, tmp_path: Path) -> None:
    out = tmp_path / "a folder" / "m.onnx"
    ended = hpa_cells("onnx", f"model={small_world.model}", f"out={out}")
    assert ended.status == 0, ended.stderr
    assert ended.stderr == f"INFO {out}: 0.0 MB, the same as torch to 1e-4\n"
    assert ended.stdout == ""
    assert [path.name for path in out.parent.iterdir()] == ["m.onnx"]
    assert package.onnx(model=small_world.model, out=tmp_path / "folder") == tmp_path / "folder"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["classifier.onnx"]


def test_what_is_no_single_model_is_refused(hpa_cells: Program, small_world: Any, tmp_path: Path) -> None:
    out = f"out={tmp_path / 'm.onnx'}"
    ended = hpa_cells("onnx", f"model={tmp_path / 'none'}", out)
    assert (ended.status, "holds no model, neither checkpoint.json nor unet.safetensors" in ended.stderr) == (
        1,
        True,
    )
    for fold in (0, 1):
        shutil.copytree(small_world.model, tmp_path / "folds" / f"fold-{fold}")
    ended = hpa_cells("onnx", f"model={tmp_path / 'folds'}", out)
    assert (ended.status, f"export them one by one, model={tmp_path / 'folds'}/fold-0" in ended.stderr) == (
        1,
        True,
    )
    ended = hpa_cells("onnx", f"model={small_world.model}", out, "opset=18.5")
    assert (ended.status, "opset is 18.5: give a whole number" in ended.stderr) == (1, True)
    ended = hpa_cells("onnx", "model=s3://bucket/model", out)
    assert (ended.status, "takes a path of this machine" in ended.stderr) == (1, True)
    assert not (tmp_path / "m.onnx").exists()


def test_a_name_of_another_ending_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "export_classifier", lambda _model, path, *, opset: write_alike(path, opset))
    (tmp_path / "of.json").mkdir()
    for out, wanted in (
        ("v1.2", "v1.2/classifier.onnx"),
        ("M.ONNX", "M.ONNX"),
        ("a.onnx.d", "a.onnx.d/classifier.onnx"),
        # A folder that is there is one, whatever it is called.
        ("of.json", "of.json/classifier.onnx"),
    ):
        command.run(compose("onnx", [f"out='{tmp_path / out}'", "model=shipped"]))
        assert (tmp_path / wanted).read_text() == "18"


def write_alike(path: Path, opset: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(opset))


@pytest.mark.parametrize(
    ("out", "error", "told"),
    [
        (
            "m.json",
            ValueError,
            r"ends in \.json, and ONNX is written: give a file that ends in \.onnx, or a folder",
        ),
        ("m.PT", ValueError, r"ends in \.PT, and ONNX is written"),
        ("folder.onnx", IsADirectoryError, "is a folder, and by its ending a file"),
        ("a file", NotADirectoryError, "is a file of something else, which is not replaced"),
        ("a_file.json", NotADirectoryError, "is a file of something else, which is not replaced"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused_at_once(
    out: str, error: type[Exception], told: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for name in ("a file", "a_file.json"):
        (tmp_path / name).write_text("precious")
    # Before the model is even looked for.
    with pytest.raises(error, match=told):
        command.run(compose("onnx", [f"out='{tmp_path / out}'", "model=nowhere"]))
    assert {path.name for path in tmp_path.iterdir()} == {"folder.onnx", "a file", "a_file.json"}
    assert (tmp_path / "a file").read_text() == "precious"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Run the block of Python below a heading of ``docs/sharing.md`` in a folder of its own."""

    def run(heading: str) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        text = (DOCS / "sharing.md").read_text(encoding="utf-8").partition(heading)[2]
        block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert block is not None
        names: dict[str, Any] = {}
        exec(compile(block[1], f"docs/sharing.md: {heading}", "exec"), names)
        return names

    return run


def test_the_example_of_a_classifier(
    hpa_cells: Program, example: Any, small_world: Any, tmp_path: Path
) -> None:
    assert hpa_cells("onnx", "model=shipped", f"out={tmp_path / 'model.onnx'}").status == 0
    source = find_fields(small_world.fields)[2]
    field = read_field(source, pixel_size_um=0.5)
    segmentation = read_segmentation(small_world.masks, field.field_id, pixel_size_um=0.5)
    checkpoint = load_checkpoint(SHIPPED_MODEL)
    crops = crop_cells(field, segmentation, CropSettings(**checkpoint.crop_settings))
    np.save(tmp_path / "crops.npy", crops.images)
    names = example("## Without torch")
    cells, fields = checkpoint.model.probabilities(
        model_input(crops.images), torch.zeros(len(crops.images), dtype=torch.int64)
    )
    assert len(crops.images) == small_world.num_cells["f2"] == len(names["cells"])
    assert np.abs(names["cells"] - cells.numpy()).max() < 1e-4
    assert np.abs(names["fields"] - fields.numpy()).max() < 1e-4
    keys, called = checkpoint.class_set.keys, fields[0].numpy() >= checkpoint.thresholds
    assert names["called"] == [key for key, is_called in zip(keys, called, strict=True) if is_called]


def test_the_example_of_a_segmenter(
    hpa_cells: Program, example: Any, small_world: Any, tmp_path: Path
) -> None:
    assert hpa_cells("onnx", "model=shipped_segmenter", f"out={tmp_path / 'segmenter.onnx'}").status == 0
    segmenter = UNet(device="cpu")
    seen = segmenter.see(read_field(find_fields(small_world.fields)[2], pixel_size_um=0.5))
    np.save(tmp_path / "planes.npy", seen)
    names = example("### The segmenter")
    assert names["maps"].shape[1:] == seen.shape[1:]
    assert np.abs(names["maps"] - segmenter.infer([seen])[0].maps).max() < 1e-4
