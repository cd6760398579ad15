from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hpa_cells.models import CellClassifier, ClassifierSettings
from hpa_cells.models.pooling import POOLINGS, GatedAttention, PoolingSettings

SMALL = {"channels": [4, 4, 8, 8], "stem_width": 4}
INDEX = torch.tensor([0, 0, 1, 2, 2])


def build(field_head: str, **pooling: Any) -> CellClassifier:
    torch.manual_seed(0)
    settings = ClassifierSettings(
        num_classes=19,
        encoder="resnet10t",
        encoder_options=SMALL,
        pooling=PoolingSettings(**pooling),
        field_head=field_head,
    )
    return CellClassifier(settings).eval()


@pytest.mark.parametrize("field_head", ["own", "shared"])
@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_shapes(name: str, field_head: str, crops: Tensor) -> None:
    if field_head == "own" and POOLINGS[name].needs_class_logits:
        pytest.skip("refused, see below")
    outputs = build(field_head, name=name)(crops, INDEX)
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
    outputs = build("shared")(crops, INDEX)
    torch.testing.assert_close(outputs.field_logits[2], outputs.cell_logits[3:].mean(0))


def test_a_class_by_a_pooling_of_its_own(crops: Tensor) -> None:
    outputs = build("shared", exceptions={"11": "max"})(crops, INDEX)
    expected = outputs.cell_logits[3:].mean(0)
    expected[11] = outputs.cell_logits[3:, 11].max()
    assert expected[11] != outputs.cell_logits[3:, 11].mean()
    torch.testing.assert_close(outputs.field_logits[2], expected)


@pytest.mark.parametrize("field_head", ["own", "shared"])
def test_gated_attention_looks_at_embeddings(field_head: str, crops: Tensor) -> None:
    """Whichever is pooled; with a shared head, the field is the weighted mean of its cells' logits."""
    classifier = build(field_head, name="gated_attention")
    outputs = classifier(crops, INDEX)
    pooling = classifier.pooling
    assert isinstance(pooling, GatedAttention)
    hidden = pooling.content(outputs.embeddings[3:]).tanh() * pooling.gate(outputs.embeddings[3:]).sigmoid()
    weights = pooling.weight(hidden).softmax(dim=0)
    if field_head == "shared":
        expected = (weights * outputs.cell_logits[3:]).sum(0)
    else:
        assert classifier.field_head is not None
        expected = classifier.field_head((weights * outputs.embeddings[3:]).sum(0))
    torch.testing.assert_close(outputs.field_logits[2], expected)


@pytest.mark.parametrize("field_head", ["own", "shared"])
@pytest.mark.parametrize("name", ["mean", "top_k", "gated_attention"])
def test_half_precision_and_autocast(name: str, field_head: str, crops: Tensor) -> None:
    classifier = build(field_head, name=name)
    expected = classifier(crops, INDEX).field_logits
    with torch.autocast("cpu", torch.bfloat16):
        mixed = classifier(crops, INDEX).field_logits
    half = classifier.bfloat16()(crops.bfloat16(), INDEX).field_logits
    for each in (mixed, half):
        torch.testing.assert_close(each.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        ({"name": "noisy_or"}, r"noisy_or pools probabilities of classes, .*set method\.field_head=shared"),
        ({"name": "noisy_and"}, r"noisy_and pools probabilities of classes, .*set method\.field_head=shared"),
        ({"exceptions": {"11": "max"}}, r"mean has exceptions for classes, .*set method\.field_head=shared"),
    ],
)
def test_poolings_of_classes_need_the_shared_head(pooling: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("own", **pooling)
    build("shared", **pooling)


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
