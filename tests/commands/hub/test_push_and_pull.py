"""Models put up on a hub and used from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[..., Any]

# Of huggingface-hub to the package below it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>'")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pushed_then_pulled_is_the_same_model_with_the_same_answers(
    hub: Any, hpa_cells: Program, predict: Program, small_world: Any, tmp_path: Path
) -> None:
    ended = hpa_cells("push", f"model={small_world.model}", "out=hf://lab/cells", "license=cc-by-4.0")
    assert ended.status == 0, ended.stderr
    sha = hub.repositories["lab/cells"].refs["main"]
    assert f"hf://lab/cells@{sha}: README.md, checkpoint.json, model.safetensors" in ended.stderr
    assert hub.repositories["lab/cells"].private
    files = hub.files("lab/cells")
    assert set(files) == {".gitattributes", "README.md", "checkpoint.json", "model.safetensors"}
    for name in ("checkpoint.json", "model.safetensors"):
        assert files[name] == (small_world.model / name).read_bytes()

    ended = hpa_cells("pull", "model=hf://lab/cells", f"out={tmp_path / 'mine'}")
    assert ended.status == 0, ended.stderr
    assert names(tmp_path / "mine") == {"README.md", "checkpoint.json", "model.safetensors"}
    assert all((tmp_path / "mine" / name).read_bytes() == files[name] for name in names(tmp_path / "mine"))

    assert predict().status == 0
    expected = (tmp_path / "run" / "cells-000000.parquet").read_bytes()
    ended = predict("model=hf://lab/cells", f"out={tmp_path / 'far'}")
    assert ended.status == 0, ended.stderr
    assert len(expected) > 0
