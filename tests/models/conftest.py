"""A model of a few thousand weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hpa_cells.models import CellClassifier, ClassifierSettings, model_input

SMALL = {"channels": [4, 4, 8, 8], "stem_width": 4}


@pytest.fixture
def classifier() -> CellClassifier:
    torch.manual_seed(0)
    settings = ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=SMALL)
    return CellClassifier(settings).eval()


@pytest.fixture
def crops() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return model_input(torch.randint(0, 256, (5, 4, 32, 32), dtype=torch.uint8, generator=generator))
