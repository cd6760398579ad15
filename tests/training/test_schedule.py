from __future__ import annotations

import pytest
import torch

from hpa_cells.training.schedule import warmup_cosine, warmup_cosine_factor


def test_rises_then_falls() -> None:
    rates = [
        warmup_cosine_factor(step, num_steps=100, warmup_fraction=0.1, final_factor=0.01)
        for step in range(101)
    ]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.01)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_very_short_trainings(num_steps: int) -> None:
    for step in range(num_steps + 3):
        factor = warmup_cosine_factor(step, num_steps=num_steps, warmup_fraction=0.5, final_factor=0.0)
        assert 0 <= factor <= 1


def test_optimizer_follows() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = warmup_cosine(optimizer, num_steps=4, warmup_fraction=0.5, final_factor=0.0)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0, 2.0, 2.0, 1.0, 0.0])
