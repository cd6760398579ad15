from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hpa_cells.models import CellClassifier, ClassifierSettings
from hpa_cells.models.pooling import POOLINGS

SMALL = {"channels": [4, 4, 8, 8], "stem_width": 4}
INDEX = torch.tensor([0, 0, 1, 2, 2])


@pytest.mark.parametrize("field_head", ["own", "shared"])
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_shapes(pooling: str, field_head: str, crops: Tensor) -> None:
    settings = ClassifierSettings(
        num_classes=19, encoder="resnet10t", encoder_options=SMALL, pooling=pooling, field_head=field_head
    )
    outputs = CellClassifier(settings)(crops, INDEX)
    assert outputs.cell_logits.shape == (5, 19)
    assert outputs.field_logits.shape == (3, 19)
    assert outputs.embeddings.shape == (5, 8)


def test_golden_logits(classifier: CellClassifier) -> None:
    """Given weights and input give these numbers: whatever changes them changes every trained model."""
    with torch.no_grad():
        for parameter in classifier.parameters():
            wave = torch.arange(parameter.numel()).sin().reshape(parameter.shape)
            parameter.copy_(wave if parameter.ndim > 1 else 0.5 + 0.1 * wave)
    ramp = ((torch.arange(5 * 4 * 32 * 32) % 251) / 250).reshape(5, 4, 32, 32) ** 3
    with torch.inference_mode():
        outputs = classifier(ramp, INDEX)
    cell = torch.tensor([50.1098, 11.3010, -52.1375, 5.1412])
    field = torch.tensor([24.5507, 18.5423, -28.6856, -8.9246])
    torch.testing.assert_close(outputs.cell_logits[0, :4], cell, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(outputs.field_logits[2, :4], field, atol=1e-2, rtol=1e-3)


def test_shared_head_pools_the_cells(crops: Tensor) -> None:
    settings = ClassifierSettings(
        num_classes=19, encoder="resnet10t", encoder_options=SMALL, field_head="shared"
    )
    outputs = CellClassifier(settings).eval()(crops, INDEX)
    torch.testing.assert_close(outputs.field_logits[2], outputs.cell_logits[3:].mean(0))


def test_cells_do_not_depend_on_their_company(classifier: CellClassifier, crops: Tensor) -> None:
    with torch.inference_mode():
        together = classifier(crops, INDEX)
        alone = classifier(crops[3:4], torch.tensor([0]))
    torch.testing.assert_close(alone.cell_logits[0], together.cell_logits[3], atol=1e-5, rtol=1e-4)


def test_probabilities(classifier: CellClassifier, crops: Tensor) -> None:
    cells, fields = classifier.probabilities(crops, INDEX)
    for each in (cells, fields):
        assert ((each > 0) & (each < 1)).all()
    assert cells.shape == (5, 19)
    assert fields.shape == (3, 19)


def test_300_cells_of_one_field(classifier: CellClassifier, crops: Tensor) -> None:
    with torch.inference_mode():
        outputs = classifier(crops[:1].expand(300, -1, -1, -1), torch.zeros(300, dtype=torch.int64))
    assert outputs.field_logits.shape == (1, 19)


def test_unknown_field_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'two' is unknown: use own or shared"):
        ClassifierSettings(num_classes=19, encoder="resnet10t", field_head="two")
