from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.models import CellOutputs
from hpa_cells.training.bags import Bags
from hpa_cells.training.losses import BagLoss, LossSettings

NO_LABELS = np.zeros((4, 3), dtype=bool)
FIELD_OF_CELL = (0, 1, 0, 0, 1)


def settings(**changes: Any) -> LossSettings:
    plain: dict[str, Any] = {
        "name": "bce",
        "class_weights": "none",
        "beta": 0.999,
        "positive_power": 0.0,
        "smoothing": 0.0,
        "smoothing_prior": "half",
        "weigh_equally": "cells",
    }
    return LossSettings(**plain | changes)


def bag_loss(labels: NDArray[np.bool_] = NO_LABELS, field: float = 0.0, **changes: Any) -> BagLoss:
    """Of the cells, unless the fields count too."""
    return BagLoss(settings(**changes), labels, field_weight=field, cell_weight=1.0)


def example() -> tuple[CellOutputs, Bags]:
    """Three cells of one field and two of another."""
    torch.manual_seed(0)
    outputs = CellOutputs(
        cell_logits=torch.randn(5, 3), field_logits=torch.randn(2, 3), embeddings=torch.zeros(5, 1)
    )
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    index = torch.tensor(FIELD_OF_CELL)
    crops = torch.zeros(5, 4, 8, 8, dtype=torch.uint8)
    return outputs, Bags(images=crops, bag_index=index, field_labels=labels, cell_targets=labels[index])


def cross_entropies(logits: torch.Tensor, labels: torch.Tensor, weight: float = 1.0) -> NDArray[np.float64]:
    """The slow twin, of each cell and class."""
    probabilities = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    y = labels.numpy().astype(np.float64)
    each: NDArray[np.float64] = -(weight * y * np.log(probabilities) + (1 - y) * np.log(1 - probabilities))
    return each


def test_weighted_sum_of_both_terms() -> None:
    outputs, bags = example()
    terms = BagLoss(settings(), NO_LABELS, field_weight=1.0, cell_weight=0.1)(outputs, bags)
    field = cross_entropies(outputs.field_logits, bags.field_labels).mean()
    cell = cross_entropies(outputs.cell_logits, bags.cell_targets).mean()
    assert terms.field.item() == pytest.approx(field, rel=1e-5)
    assert terms.cell.item() == pytest.approx(cell, rel=1e-5)
    assert terms.total.item() == pytest.approx(field + 0.1 * cell, rel=1e-5)


def test_positives_can_weigh_more() -> None:
    outputs, bags = example()
    one_in_five = np.eye(5, 3, dtype=bool)
    terms = bag_loss(one_in_five, field=1.0, positive_power=1.0)(outputs, bags)
    field = cross_entropies(outputs.field_logits, bags.field_labels, weight=4).mean()
    cell = cross_entropies(outputs.cell_logits, bags.cell_targets, weight=4).mean()
    assert terms.total.item() == pytest.approx(field + cell, rel=1e-5)


def test_rare_classes_can_weigh_more() -> None:
    outputs, bags = example()
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    terms = bag_loss(labels, class_weights="inverse_root")(outputs, bags)
    weights = np.array([1.2, 0.6, 1.2])
    field = (weights * cross_entropies(outputs.field_logits, bags.field_labels)).mean()
    cell = (weights * cross_entropies(outputs.cell_logits, bags.cell_targets)).mean()
    assert terms.field.item() == pytest.approx(field, rel=1e-5)
    assert terms.cell.item() == pytest.approx(cell, rel=1e-5)


def test_the_chosen_loss_with_its_own_settings() -> None:
    outputs, bags = example()
    cross_entropy = cross_entropies(outputs.cell_logits, bags.cell_targets)
    p = 1 / (1 + np.exp(-outputs.cell_logits.numpy().astype(np.float64)))
    distance = np.abs(bags.cell_targets.numpy() - p)
    terms = bag_loss(name="focal", gamma=1.5)(outputs, bags)
    assert terms.cell.item() == pytest.approx((distance**1.5 * cross_entropy).mean(), rel=1e-5)
    terms = bag_loss(name="asymmetric", gamma_positive=1.0, gamma_negative=3.0)(outputs, bags)
    power = np.where(bags.cell_targets.numpy() == 1, 1.0, 3.0)
    assert terms.cell.item() == pytest.approx((distance**power * cross_entropy).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("prior", "one", "zero"),
    [
        # 0.8 + 0.2 * 0.5, and 0.2 * 0.5.
        ("half", [0.9, 0.9, 0.9], [0.1, 0.1, 0.1]),
        # 0.8 + 0.2 * share, and 0.2 * share.
        ("frequency", [0.95, 0.85, 0.8], [0.15, 0.05, 0.0]),
    ],
)
def test_labels_of_fields_and_cells_can_be_smoothed(prior: str, one: list[float], zero: list[float]) -> None:
    outputs, bags = example()
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    loss = BagLoss(settings(smoothing=0.2, smoothing_prior=prior), labels, field_weight=1.0, cell_weight=1.0)
    terms = loss(outputs, bags)
    field_labels = torch.tensor([[one[0], zero[1], zero[2]], [zero[0], one[1], one[2]]])
    cell_labels = field_labels[list(FIELD_OF_CELL)]
    field = cross_entropies(outputs.field_logits, field_labels).mean()
    cell = cross_entropies(outputs.cell_logits, cell_labels).mean()
    assert terms.field.item() == pytest.approx(field, rel=1e-5)
    assert terms.cell.item() == pytest.approx(cell, rel=1e-5)


def test_no_smoothing_leaves_labels_alone() -> None:
    outputs, bags = example()
    half = bag_loss(smoothing_prior="half")(outputs, bags)
    frequency = bag_loss(np.eye(4, 3, dtype=bool), smoothing_prior="frequency")(outputs, bags)
    assert half.cell.item() == frequency.cell.item()
    assert half.cell.item() == pytest.approx(
        cross_entropies(outputs.cell_logits, bags.cell_targets).mean(), rel=1e-5
    )


def test_cells_or_fields_weigh_equally() -> None:
    outputs, bags = example()
    each = cross_entropies(outputs.cell_logits, bags.cell_targets).mean(axis=1)
    cells = bag_loss(weigh_equally="cells")(outputs, bags)
    assert cells.cell.item() == pytest.approx(each.mean(), rel=1e-5)
    fields = bag_loss(weigh_equally="fields")(outputs, bags)
    assert fields.cell.item() == pytest.approx((each[[0, 2, 3]].mean() + each[[1, 4]].mean()) / 2, rel=1e-5)
    assert fields.cell.item() != pytest.approx(each.mean(), rel=1e-3)
    assert fields.field.item() == cells.field.item()


def test_cells_can_weigh_each_its_own() -> None:
    outputs, bags = example()
    each = cross_entropies(outputs.cell_logits, bags.cell_targets).mean(axis=1)
    weights = torch.tensor([1.0, 3.0, 0.0, 3.0, 1.0])
    weighted = replace(bags, cell_weights=weights)
    by_cell = bag_loss()(outputs, weighted)
    expected = (each[0] + 3 * each[1] + 3 * each[3] + each[4]) / 8
    assert by_cell.cell.item() == pytest.approx(expected, rel=1e-5)
    by_field = bag_loss(weigh_equally="fields")(outputs, weighted)
    expected = ((each[0] + 3 * each[3]) / 4 + (3 * each[1] + each[4]) / 4) / 2
    assert by_field.cell.item() == pytest.approx(expected, rel=1e-5)
    for equal in ("cells", "fields"):
        loss = bag_loss(weigh_equally=equal)
        same = loss(outputs, replace(bags, cell_weights=torch.full((5,), 0.3))).cell.item()
        assert same == pytest.approx(loss(outputs, bags).cell.item(), rel=1e-6)


@pytest.mark.parametrize("equal", ["cells", "fields"])
def test_weights_of_zero(equal: str) -> None:
    outputs, bags = example()
    logits = outputs.cell_logits.requires_grad_(True)
    loss = bag_loss(weigh_equally=equal)
    second_field = replace(bags, cell_weights=torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0]))
    second_field_only = loss(outputs, second_field).cell.item()
    each = cross_entropies(logits.detach(), bags.cell_targets).mean(axis=1)
    assert second_field_only == pytest.approx(each[[1, 4]].mean(), rel=1e-5)
    terms = loss(outputs, replace(bags, cell_weights=torch.zeros(5)))
    assert terms.cell.item() == 0
    (slope,) = torch.autograd.grad(terms.total, logits)
    assert torch.equal(slope, torch.zeros(5, 3))


def test_weights_of_another_shape() -> None:
    outputs, bags = example()
    with pytest.raises(ValueError, match=r"have shape \(5, 1\): give one a cell, \(5,\)"):
        bag_loss()(outputs, replace(bags, cell_weights=torch.ones(5, 1)))


def test_soft_labels_have_their_least_loss_at_themselves() -> None:
    outputs, bags = example()
    soft = replace(bags, cell_targets=torch.full((5, 3), 0.75))
    for start, slope in ((0.5, -1), (0.75, 0), (0.9, 1)):
        logits = torch.logit(torch.full((5, 3), start)).requires_grad_(True)
        (found,) = torch.autograd.grad(bag_loss()(replace(outputs, cell_logits=logits), soft).total, logits)
        assert torch.equal(found.round(decimals=6).sign(), torch.full((5, 3), float(slope)))


OF_ITS_OWN = {"gamma": 1.5, "alpha": 0.3}, {"gamma_negative": 3.0, "gamma_positive": 1.0, "shift": 0.05}


@pytest.mark.parametrize(
    ("name", "own"), [("bce", {}), ("focal", OF_ITS_OWN[0]), ("asymmetric", OF_ITS_OWN[1])]
)
@pytest.mark.parametrize("class_weights", ["none", "one_minus_share", "inverse_root", "effective_number"])
def test_every_loss_takes_the_soft_labels_of_mixed_bags(
    name: str, own: dict[str, float], class_weights: str
) -> None:
    outputs, bags = example()
    of_fields = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    loss = bag_loss(of_fields, field=1.0, name=name, class_weights=class_weights, positive_power=0.5, **own)

    def field_loss(labels: torch.Tensor) -> torch.Tensor:
        return loss(outputs, replace(bags, field_labels=labels)).field

    logits = outputs.field_logits.requires_grad_(True)
    mixed = torch.full((2, 3), 0.25)
    terms = loss(outputs, replace(bags, field_labels=mixed))
    (slope,) = torch.autograd.grad(terms.total, logits)
    assert torch.isfinite(slope).all()
    assert (slope != 0).all()
    positive, negative = field_loss(torch.ones(2, 3)), field_loss(torch.zeros(2, 3))
    if name == "focal":
        # Closest to the label its weight vanishes: a soft label costs less than its two ends.
        assert 0 < terms.field < 0.25 * positive + 0.75 * negative
        exact = replace(outputs, field_logits=torch.logit(mixed))
        assert loss(exact, replace(bags, field_labels=mixed)).field < terms.field
    else:
        torch.testing.assert_close(terms.field, 0.25 * positive + 0.75 * negative)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "hinge"}, r"loss.name is 'hinge': use one of bce, focal, asymmetric"),
        ({"class_weights": "inverse"}, r"loss.class_weights is 'inverse': use one of none, one_minus_share"),
        ({"smoothing_prior": "zero"}, r"loss.smoothing_prior is 'zero': use one of half, frequency"),
        ({"weigh_equally": "bags"}, r"loss.weigh_equally is 'bags': use one of cells, fields"),
        ({"beta": 1.0}, r"loss.beta is 1.0: give a number from 0 to below 1"),
        ({"smoothing": -0.1}, r"loss.smoothing is -0.1: give a number from 0 to below 1"),
        ({"smoothing": math.nan}, r"loss.smoothing is nan: give a number"),
        ({"positive_power": -1.0}, r"loss.positive_power is -1.0: give 0 or more"),
        ({"name": "focal", "gamma": -2.0}, r"loss.gamma is -2.0: give 0 or more"),
        ({"name": "focal", "gamma": math.inf}, r"loss.gamma is inf: give 0 or more"),
        ({"name": "focal", "alpha": 1.0}, r"loss.alpha is 1.0: give a number between 0 and 1, or null"),
        ({"name": "asymmetric", "gamma_negative": math.nan}, r"loss.gamma_negative is nan"),
        ({"name": "asymmetric", "shift": 1.0}, r"loss.shift is 1.0: give a number from 0 to below 1"),
        ({"gamma": 2.0}, r"loss.gamma is 2.0, which loss bce does not have: .* use loss=focal"),
        ({"name": "focal", "shift": 0.05}, r"loss.shift is 0.05, which loss focal .* use loss=asymmetric"),
        ({"name": "asymmetric", "alpha": 0.25}, r"loss.alpha is 0.25, .* use loss=focal"),
    ],
)
def test_settings_that_make_no_loss(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_settings_of_the_command_line() -> None:
    overrides = ["loss=focal", "loss.gamma=1.5", "loss.class_weights=one_minus_share", "loss.smoothing=0.1"]
    chosen = to_settings(LossSettings, compose("train", overrides).loss)
    assert chosen == settings(name="focal", gamma=1.5, class_weights="one_minus_share", smoothing=0.1)
    assert to_settings(LossSettings, compose("train", []).loss) == settings()
    published = to_settings(LossSettings, compose("train", ["loss=asymmetric"]).loss)
    assert published == settings(name="asymmetric", gamma_positive=0.0, gamma_negative=4.0, shift=0.05)
