from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.training.element_losses import (
    ELEMENT_LOSSES,
    OWN_SETTINGS,
    asymmetric,
    binary_cross_entropy,
    focal,
)

CASES: list[tuple[str, dict[str, Any]]] = [
    ("bce", {}),
    *(
        ("focal", {"gamma": gamma, "alpha": alpha})
        for gamma, alpha in itertools.product((0.0, 0.5, 1.0, 2.0, 5.0), (None, 0.25))
    ),
    *(
        ("asymmetric", {"gamma_positive": positive, "gamma_negative": negative, "shift": shift})
        for positive, negative, shift in itertools.product((0.0, 0.5, 1.0), (0.0, 0.5, 4.0), (0.0, 0.05, 0.6))
    ),
]
WEIGHT = 3.0
LOGITS = (-100.0, -40.0, -15.0, -6.0, -2.2, -0.7, -0.01, 0.02, 0.5, 1.7, 4.0, 9.0, 20.0, 60.0, 100.0)
TARGETS = (0.0, 0.1, 0.3, 0.55, 0.8, 1.0)


def twin(name: str, z: float, t: float, **own: Any) -> float:
    """The formulas as they are printed, one element in double precision, where neither p nor 1 - p is 0."""
    p, not_p = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))
    cross_entropy = -(WEIGHT * t * math.log(p) + (1 - t) * math.log(not_p))
    if name == "bce":
        return cross_entropy
    if name == "focal":
        alpha = own["alpha"]
        balance = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
        return float(balance * abs(t - p) ** own["gamma"] * cross_entropy)
    shifted = max(p - own["shift"], 0.0)
    positive = not_p ** own["gamma_positive"] * math.log(p)
    negative = shifted ** own["gamma_negative"] * math.log(min(not_p + own["shift"], 1.0))
    return float(-(WEIGHT * t * positive + (1 - t) * negative))


def value_and_slope(name: str, z: float, t: float, **own: Any) -> tuple[float, float]:
    """Of the function that is tested."""
    logits = torch.tensor([[z]], requires_grad=True)
    loss = ELEMENT_LOSSES[name](logits, torch.tensor([[t]]), torch.tensor([WEIGHT]), **own)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    return loss.item(), slope.item()


@pytest.mark.parametrize(("name", "own"), CASES)
def test_values_are_those_of_the_formula(name: str, own: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    points = [
        *itertools.product(LOGITS, TARGETS),
        *zip(random.normal(0, 5, 50), random.random(50), strict=True),
    ]
    for z, t in points:
        value, _ = value_and_slope(name, z, t, **own)
        assert value == pytest.approx(twin(name, z, t, **own), rel=2e-4, abs=1e-6), (z, t)


@pytest.mark.parametrize(("name", "own"), CASES)
def test_gradients_are_finite_differences_of_the_formula(name: str, own: dict[str, Any]) -> None:
    for z, t in itertools.product(LOGITS, TARGETS):
        _, slope = value_and_slope(name, z, t, **own)
        step = 1e-5
        difference = (twin(name, z + step, t, **own) - twin(name, z - step, t, **own)) / (2 * step)
        assert slope == pytest.approx(difference, rel=1e-3, abs=1e-5), (z, t)


@pytest.mark.parametrize(("name", "own"), CASES)
def test_everything_is_finite_where_powers_and_logarithms_are_not(name: str, own: dict[str, Any]) -> None:
    """Where a probability is 0 or 1, equals its label, or equals the shift."""
    kinks = (-1e4, -1e2, math.log(0.05 / 0.95), 0.0, math.log(0.6 / 0.4), 1e2, 1e4)
    for z, t in itertools.product(kinks, (0.0, 0.05, 0.5, 0.6, 1.0)):
        value, slope = value_and_slope(name, z, t, **own)
        assert 0 <= value < math.inf
        assert math.isfinite(slope), (z, t)


def test_close_to_the_label_a_power_below_one_is_flat() -> None:
    """Its slope would be 350 at this distance of 6e-8, the smallest there is, and falls to 0 on the label."""
    value, slope = value_and_slope("focal", 2e-7, 0.5, gamma=0.5, alpha=None)
    assert value == pytest.approx(1e-6**0.5 * (WEIGHT + 1) / 2 * math.log(2), rel=1e-3)
    assert abs(slope) < 1e-3
    value, slope = value_and_slope("asymmetric", 2e-7, 0.0, gamma_positive=0.0, gamma_negative=0.5, shift=0.5)
    assert value == pytest.approx(0, abs=1e-9)
    assert abs(slope) < 1e-3


def test_values_by_hand() -> None:
    zero, one, weight = torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1)
    assert binary_cross_entropy(zero, one, weight).item() == pytest.approx(math.log(2))
    assert focal(zero, one, weight, gamma=2.0, alpha=0.25).item() == pytest.approx(math.log(2) / 16)
    assert focal(zero, zero, weight, gamma=2.0, alpha=0.25).item() == pytest.approx(3 * math.log(2) / 16)
    # 0.75 ** 1 * log(2) for the label 1 - 0.25, at a distance of 0.25.
    soft = torch.full((1, 1), 0.75)
    assert focal(zero, soft, weight, gamma=1.0, alpha=None).item() == pytest.approx(math.log(2) / 4)
    options = {"gamma_positive": 1.0, "gamma_negative": 2.0, "shift": 0.1}
    assert asymmetric(zero, one, weight, **options).item() == pytest.approx(math.log(2) / 2)
    assert asymmetric(zero, zero, weight, **options).item() == pytest.approx(-0.16 * math.log(0.6))


def random_elements() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(40, 3, generator=generator)
    logits[0] = torch.tensor([-100.0, 0.0, 100.0])
    return logits, torch.rand(40, 3, generator=generator), torch.tensor([1.0, 2.0, 0.5])


def slope_of(loss: Callable[..., torch.Tensor], targets: torch.Tensor, **own: Any) -> torch.Tensor:
    logits, _, weight = random_elements()
    logits.requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(logits, targets, weight, **own).sum(), logits)
    return slope


def test_each_is_cross_entropy_at_zero() -> None:
    logits, targets, weight = random_elements()
    expected = binary_cross_entropy(logits, targets, weight)
    slope = slope_of(binary_cross_entropy, targets)
    zeros = dict.fromkeys(OWN_SETTINGS["asymmetric"], 0.0)
    torch.testing.assert_close(focal(logits, targets, weight, gamma=0.0, alpha=None), expected)
    torch.testing.assert_close(slope_of(focal, targets, gamma=0.0, alpha=None), slope)
    torch.testing.assert_close(asymmetric(logits, targets, weight, **zeros), expected)
    torch.testing.assert_close(slope_of(asymmetric, targets, **zeros), slope)


def test_asymmetric_with_one_gamma_is_focal_for_labels_of_0_and_1() -> None:
    logits, targets, weight = random_elements()
    hard = targets.round()
    same = {"gamma_positive": 2.0, "gamma_negative": 2.0, "shift": 0.0}
    expected = focal(logits, hard, weight, gamma=2.0, alpha=None)
    torch.testing.assert_close(asymmetric(logits, hard, weight, **same), expected)
    slope = slope_of(focal, hard, gamma=2.0, alpha=None)
    torch.testing.assert_close(slope_of(asymmetric, hard, **same), slope)
    between = focal(logits, targets, weight, gamma=2.0, alpha=None)
    assert not torch.allclose(asymmetric(logits, targets, weight, **same), between)


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_soft_labels_have_their_least_focal_loss_at_themselves(gamma: float, alpha: float | None) -> None:
    probabilities = torch.linspace(0.01, 0.99, 99)[:, None]
    targets = torch.full_like(probabilities, 0.3)
    loss = focal(probabilities.logit(), targets, torch.ones(1), gamma=gamma, alpha=alpha)
    assert probabilities[loss.argmin()].item() == pytest.approx(0.3)


def test_half_precision_is_computed_in_full() -> None:
    logits, targets, weight = random_elements()
    half = logits.bfloat16()
    for name, own in CASES:
        loss = ELEMENT_LOSSES[name](half, targets, weight, **own)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, ELEMENT_LOSSES[name](half.float(), targets, weight, **own))
