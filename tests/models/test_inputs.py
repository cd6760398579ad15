from __future__ import annotations

import numpy as np
import pytest
import torch

from hpa_cells.models import model_input


def test_bytes_become_fractions() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8), dtype=np.uint8)
    tensor = model_input(crops)
    np.testing.assert_allclose(tensor.numpy(), crops / 255, rtol=1e-6)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_source_is_left_alone() -> None:
    crops = torch.full((1, 4, 8, 8), 200, dtype=torch.uint8)
    model_input(crops)
    assert (crops == 200).all()


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_other_types_are_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=r"expected uint8"):
        model_input(np.zeros((1, 4, 8, 8), dtype=kind))
