"""Folders of trainings and runs that came from elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from hpa_cells.training.outcome import load_best_weights
from hpa_cells.training.run_folder import RunFolder


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("in_torch", [True, False])
def test_a_state_that_would_run_code_is_not_gone_on_from(drawn, tmp_path: Path, in_torch: bool) -> None:
    out, harm = tmp_path / "model", tmp_path / "harm"
    drawn.train(out, "trainer.max_epochs=1")
    folder = RunFolder(out=out)
    (out / folder.product).unlink()
    if in_torch:
        state = torch.load(folder.last, weights_only=True)
        torch.save(state | {"hyper_parameters": Harmful(harm)}, folder.last)
    else:
        folder.last.write_bytes(pickle.dumps(Harmful(harm), protocol=2))
    with pytest.raises(ValueError, match=r"last\.ckpt holds more than the state of a training, and nothing"):
        drawn.train(out, "trainer.max_epochs=1")
    assert not harm.exists()
    # The same state does its harm where it is run.
    torch.load(folder.last, weights_only=False) if in_torch else pickle.loads(folder.last.read_bytes())
    assert harm.exists()


def test_best_weights_that_would_run_code_are_not_taken(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "more": Harmful(tmp_path / "harm")}, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"best\.ckpt holds more than the state of a training, and nothing"):
        load_best_weights(torch.nn.Identity(), tmp_path / "best.ckpt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000, '{"a": {"path": [[['])
def test_settings_of_a_training_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    folder = RunFolder(out=tmp_path)
    folder.settings.parent.mkdir()
    folder.settings.write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json does not tell settings of a training"):
        folder.read_settings()
