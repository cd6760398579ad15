from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpa_cells.models import CellOutputs
from hpa_cells.training.bags import Bags
from hpa_cells.training.losses import BagLoss, LossSettings, positive_weights


def example() -> tuple[CellOutputs, Bags]:
    torch.manual_seed(0)
    outputs = CellOutputs(
        cell_logits=torch.randn(5, 3), field_logits=torch.randn(2, 3), embeddings=torch.zeros(5, 1)
    )
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    index = torch.tensor([0, 0, 0, 1, 1])
    crops = torch.zeros(5, 4, 8, 8, dtype=torch.uint8)
    return outputs, Bags(crops=crops, bag_index=index, field_labels=labels, cell_targets=labels[index])


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weight: float = 1.0) -> float:
    """The slow twin."""
    probabilities = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    y = labels.numpy()
    return float(-(weight * y * np.log(probabilities) + (1 - y) * np.log(1 - probabilities)).mean())


def test_weighted_sum_of_both_terms() -> None:
    outputs, bags = example()
    settings = LossSettings(field_weight=1.0, cell_weight=0.1, positive_power=0.0)
    terms = BagLoss(settings, np.ones(3, dtype=np.float32))(outputs, bags)
    field = cross_entropy(outputs.field_logits, bags.field_labels)
    cell = cross_entropy(outputs.cell_logits, bags.cell_targets)
    assert terms.field.item() == pytest.approx(field, rel=1e-5)
    assert terms.cell.item() == pytest.approx(cell, rel=1e-5)
    assert terms.total.item() == pytest.approx(field + 0.1 * cell, rel=1e-5)


def test_positives_can_weigh_more() -> None:
    outputs, bags = example()
    settings = LossSettings(field_weight=1.0, cell_weight=0.0, positive_power=1.0)
    terms = BagLoss(settings, np.full(3, 4, dtype=np.float32))(outputs, bags)
    expected = cross_entropy(outputs.field_logits, bags.field_labels, weight=4)
    assert terms.total.item() == pytest.approx(expected, rel=1e-5)


def test_soft_labels_have_their_least_loss_at_themselves() -> None:
    outputs, bags = example()
    soft = replace(bags, cell_targets=torch.full((5, 3), 0.75))
    settings = LossSettings(field_weight=0.0, cell_weight=1.0, positive_power=0.0)
    loss = BagLoss(settings, np.ones(3, dtype=np.float32))
    for start, slope in ((0.5, -1), (0.75, 0), (0.9, 1)):
        logits = torch.logit(torch.full((5, 3), start)).requires_grad_(True)
        loss(replace(outputs, cell_logits=logits), soft).total.backward()
        assert torch.equal(logits.grad.round(decimals=6).sign(), torch.full((5, 3), float(slope)))


def test_positive_weights() -> None:
    labels = np.zeros((1000, 3), dtype=bool)
    labels[:100, 0] = labels[:1, 1] = True
    np.testing.assert_allclose(positive_weights(labels, 0.0), 1)
    np.testing.assert_allclose(positive_weights(labels, 0.5), [3, np.sqrt(999), 1])
    np.testing.assert_allclose(positive_weights(labels, 1.0), [9, 50, 1])


@pytest.mark.parametrize(("field", "cell"), [(0.0, 0.0), (-1.0, 2.0)])
def test_weights_out_of_range(field: float, cell: float) -> None:
    with pytest.raises(ValueError, match=r"give weights of 0 or more, at least one above 0"):
        LossSettings(field_weight=field, cell_weight=cell, positive_power=0.0)
