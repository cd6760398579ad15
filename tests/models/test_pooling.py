from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hpa_cells.models.pooling import POOLINGS, BagPooling, bag_softmax, build_pooling

NUM_VALUES = 5


@pytest.fixture(params=sorted(POOLINGS))
def pooling(request: pytest.FixtureRequest) -> BagPooling:
    torch.manual_seed(0)
    return build_pooling(request.param, NUM_VALUES)


def bags(sizes: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    values = torch.randn(sum(sizes), NUM_VALUES, generator=torch.Generator().manual_seed(seed))
    return values, torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def pool_one(name: str, values: Tensor) -> Tensor:
    """The slow twin: one bag, no index."""
    match name:
        case "MeanPooling":
            return values.mean(0)
        case "MaxPooling":
            return values.max(0).values
        case "LogSumExpPooling":
            return torch.logsumexp(values, 0) - math.log(len(values))
    raise AssertionError(name)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_each_bag_as_if_alone(sizes: list[int], seed: int) -> None:
    values, index = bags(sizes, seed)
    for name in ("mean", "max", "log_sum_exp"):
        pooling = build_pooling(name, NUM_VALUES)
        alone = [pool_one(type(pooling).__name__, values[index == bag]) for bag in range(len(sizes))]
        torch.testing.assert_close(pooling(values, index, len(sizes)), torch.stack(alone))


def test_gated_attention_is_the_published_formula() -> None:
    torch.manual_seed(0)
    pooling = build_pooling("gated_attention", NUM_VALUES)
    values, _ = bags([4])
    hidden = torch.tanh(pooling.content(values)) * torch.sigmoid(pooling.gate(values))
    weights = torch.softmax(pooling.weight(hidden), dim=0)
    expected = (weights * values).sum(0, keepdim=True)
    torch.testing.assert_close(pooling(values, torch.zeros(4, dtype=torch.int64), 1), expected)


def test_order_of_cells_does_not_matter(pooling: BagPooling) -> None:
    values, index = bags([3, 1, 6])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(pooling(values[order], index[order], 3), pooling(values, index, 3))


def test_bag_of_one_is_its_cell(pooling: BagPooling) -> None:
    values, index = bags([1, 1, 1])
    torch.testing.assert_close(pooling(values, index, 3), values)


def test_a_bag_twice_over_is_the_same_bag(pooling: BagPooling) -> None:
    values, _ = bags([4])
    once = pooling(values, torch.zeros(4, dtype=torch.int64), 1)
    torch.testing.assert_close(pooling(values.repeat(2, 1), torch.zeros(8, dtype=torch.int64), 1), once)


def test_bags_do_not_touch_each_other(pooling: BagPooling) -> None:
    values, index = bags([3, 5])
    before = pooling(values, index, 2)
    values[index == 1] += 7
    after = pooling(values, index, 2)
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_result_lies_within_the_bag(pooling: BagPooling) -> None:
    values, index = bags([300, 2], seed=3)
    pooled = pooling(values, index, 2)
    for bag in range(2):
        assert (pooled[bag] <= values[index == bag].max(0).values + 1e-5).all()
        assert (pooled[bag] >= values[index == bag].min(0).values - 1e-5).all()


def test_large_values_stay_finite(pooling: BagPooling) -> None:
    values = torch.full((4, NUM_VALUES), 1e4, requires_grad=True)
    pooled = pooling(values, torch.tensor([0, 0, 1, 1]), 2)
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    assert torch.isfinite(values.grad).all()


def test_gradients_are_right(pooling: BagPooling) -> None:
    values, index = bags([2, 3])
    pooling = pooling.double()
    assert torch.autograd.gradcheck(
        lambda each: pooling(each, index, 2), values.double().requires_grad_(True), atol=1e-6
    )


def test_attention_sums_to_one_in_each_bag() -> None:
    logits, index = bags([1, 7, 260])
    sums = torch.zeros(3, NUM_VALUES).index_add(0, index, bag_softmax(logits, index, 3))
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'median' is unknown: use one of mean, max"):
        build_pooling("median", NUM_VALUES)
