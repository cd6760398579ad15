from pathlib import Path
from typing import Any

import pytest
import torch

from hpa_cells.commands.settings import compose
from hpa_cells.commands.training_run import build_trainer
from hpa_cells.training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("asked", "has_amx", "given"),
    [
        ("fastest", True, "bf16-mixed"),
        ("fastest", False, "32-true"),
        ("32-true", True, "32-true"),
        ("bf16-mixed", False, "bf16-mixed"),
    ],
)
def test_sixteen_bits_only_where_the_processor_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, has_amx: bool, given: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert trainer_of(tmp_path, f"trainer.precision={asked}").precision == given


def trainer_of(out: Path, *settings: str) -> Any:
    cfg = compose("train", [f"out={out}", "data.root=.", "trainer=cpu", "logger=none", *settings])
    return build_trainer(cfg, RunFolder(out=out))
