from __future__ import annotations

import pytest
import torch

from hpa_cells.segmentation.devices import chosen_device


def test_devices_by_name() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    assert chosen_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "tpu9x", "meta", "", "cuda:x"])
def test_a_device_of_no_kind(name: str) -> None:
    with pytest.raises(ValueError, match=f"The device is '{name}': give auto, cpu, cuda or cuda:0"):
        chosen_device(name)


@pytest.mark.parametrize(("num_gpus", "found"), [(0, "no GPU"), (1, "1 GPU")])
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, num_gpus: int, found: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    with pytest.raises(ValueError, match=f"'cuda:1', but torch finds {found} here: give cpu or auto"):
        chosen_device("cuda:1")
