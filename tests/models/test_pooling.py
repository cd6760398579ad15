"""Every pooling against a plain loop in numpy, and at the ends of the range of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from hpa_cells.models.pooling import (
    POOLINGS,
    BagPooling,
    GatedAttention,
    NoisyAndPooling,
    PoolingSettings,
    bag_softmax,
    build_pooling,
)

NUM_VALUES, EMBEDDING_SIZE = 5, 3
ALL = {name: PoolingSettings(name=name) for name in POOLINGS} | {
    "by_class": PoolingSettings(name="top_k", exceptions={"1": "max", "4": "noisy_or", "2": "max"})
}
# A bag of one cell is that cell, and so is a bag of equal cells.
MEANS = ["gated_attention", "log_sum_exp", "max", "mean", "top_k"]


def build(name: str, **options: Any) -> BagPooling:
    torch.manual_seed(0)
    chosen = PoolingSettings(name=name, options=options) if options else ALL[name]
    return build_pooling(chosen, NUM_VALUES, EMBEDDING_SIZE)


@pytest.fixture(params=sorted(ALL))
def pooling(request: pytest.FixtureRequest) -> BagPooling:
    return build(request.param)


def bags(sizes: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Values, bag index (in no order) and embeddings, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    index = index[torch.randperm(len(index), generator=generator)]
    values, embeddings = (
        torch.randn(len(index), size, generator=generator, dtype=torch.float64)
        for size in (NUM_VALUES, EMBEDDING_SIZE)
    )
    return 3 * values, index, embeddings


def one_bag(values: Tensor) -> tuple[Tensor, Tensor, int, Tensor]:
    """What a pooling is called with for a single bag, whose embeddings are all 0."""
    index = torch.zeros(len(values), dtype=torch.int64)
    return values, index, 1, values.new_zeros(len(values), EMBEDDING_SIZE)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def plain(name: str, cells: list[float]) -> float:
    """The slow twin: one value of the cells of one bag, with default options."""
    probabilities = [sigmoid(value) for value in cells]
    match name:
        case "mean":
            return sum(cells) / len(cells)
        case "max":
            return max(cells)
        case "log_sum_exp":
            return math.log(sum(math.exp(value) for value in cells) / len(cells))
        case "top_k":
            best = sorted(cells)[-math.ceil(0.3 * len(cells)) :]
            return sum(best) / len(best)
        case "noisy_or":
            nowhere = math.prod(sigmoid(-value) for value in cells)
            return math.log((1 - nowhere) / nowhere)
        case "noisy_and":
            mean = sum(probabilities) / len(cells)
            low, high = sigmoid(-10 * 0.5), sigmoid(10 * (1 - 0.5))
            return logit((sigmoid(10 * (mean - 0.5)) - low) / (high - low))
    raise AssertionError(name)


def plain_by_class(values: NDArray[np.float64]) -> list[float]:
    names = ["top_k", "max", "max", "top_k", "noisy_or"]
    return [plain(name, list(column)) for name, column in zip(names, values.T, strict=True)]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 99))
def test_each_bag_as_in_a_plain_loop(sizes: list[int], seed: int) -> None:
    values, index, embeddings = bags(sizes, seed)
    for name in sorted(set(ALL) - {"gated_attention"}):
        pooled = build(name).double()(values, index, len(sizes), embeddings).detach().numpy()
        for bag in range(len(sizes)):
            cells = values[index == bag].numpy()
            if name == "by_class":
                expected = plain_by_class(cells)
            else:
                expected = [plain(name, list(column)) for column in cells.T]
            np.testing.assert_allclose(pooled[bag], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_gated_attention_is_the_published_formula() -> None:
    pooling = build("gated_attention").double()
    assert isinstance(pooling, GatedAttention)
    values, index, embeddings = bags([4, 1, 3])
    pooled = pooling(values, index, 3, embeddings).detach().numpy()
    content, gate, last = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (pooling.content, pooling.gate, pooling.weight)
    )
    for bag in range(3):
        weights = []
        for each in embeddings[index == bag].numpy():
            hidden = [
                math.tanh(content[0][row] @ each + content[1][row])
                * sigmoid(gate[0][row] @ each + gate[1][row])
                for row in range(64)
            ]
            weights.append(math.exp(last[0][0] @ hidden + last[1][0]))
        expected = np.array(weights) @ values[index == bag].numpy() / sum(weights)
        np.testing.assert_allclose(pooled[bag], expected, rtol=1e-12)


def test_attention_of_one_cell_is_one_for_all_its_values() -> None:
    pooling = build("gated_attention").double()
    assert isinstance(pooling, GatedAttention)
    _, index, embeddings = bags([1, 7, 260])
    attention = pooling.attention(embeddings, index, 3)
    assert attention.shape == (268, 1)
    torch.testing.assert_close(
        torch.zeros(3, 1, dtype=torch.float64).index_add(0, index, attention),
        torch.ones(3, 1, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("share", "size", "num_kept"),
    [(0.07, 100, 7), (0.3, 10, 3), (0.3, 11, 4), (0.1, 3, 1), (1e-6, 5, 1), (1, 9, 9)],
)
def test_how_many_cells_top_k_keeps(share: float, size: int, num_kept: int) -> None:
    values = torch.arange(size, dtype=torch.float64)[:, None].expand(-1, NUM_VALUES)
    expected = sum(range(size - num_kept, size)) / num_kept
    pooled = build("top_k", share=share)(*one_bag(values))
    np.testing.assert_allclose(pooled, expected, rtol=1e-12)


def test_top_k_chooses_for_each_value_apart() -> None:
    values = torch.tensor([[1.0, 9, 0, 0, 5], [2, 8, 0, 0, 5], [3, 7, 0, 1, 5]])
    assert build("top_k")(*one_bag(values)).tolist() == [[3, 9, 0, 1, 5]]


def test_log_sum_exp_lies_between_mean_and_maximum() -> None:
    values = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64).expand(-1, NUM_VALUES)
    soft, sharp = (build("log_sum_exp", sharpness=each)(*one_bag(values)) for each in (1e-6, 1e4))
    np.testing.assert_allclose(soft, 2, atol=1e-4)
    np.testing.assert_allclose(sharp, 5, atol=1e-3)


def test_noisy_and_by_hand() -> None:
    """Probabilities 0.2 and 0.6: (sigmoid(-1) - sigmoid(-5)) / (sigmoid(5) - sigmoid(-5)) = 0.265806."""
    values = torch.tensor([[logit(0.2)], [logit(0.6)]]).expand(-1, NUM_VALUES)
    np.testing.assert_allclose(build("noisy_and")(*one_bag(values)).sigmoid().detach(), 0.265806, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.97])
@pytest.mark.parametrize("slope", [0.5, 10, 40])
def test_noisy_and_with_other_thresholds(threshold: float, slope: float) -> None:
    pooling = build("noisy_and", slope=slope).double()
    assert isinstance(pooling, NoisyAndPooling)
    with torch.no_grad():
        pooling.threshold_logits.fill_(logit(threshold))
    np.testing.assert_allclose(pooling.thresholds().detach(), threshold, rtol=1e-12)
    for mean in (0.01, 0.4, 0.6, 0.99):
        low, high = sigmoid(-slope * threshold), sigmoid(slope * (1 - threshold))
        expected = (sigmoid(slope * (mean - threshold)) - low) / (high - low)
        values = torch.full((3, NUM_VALUES), logit(mean), dtype=torch.float64)
        np.testing.assert_allclose(pooling(*one_bag(values)).sigmoid().detach(), expected, rtol=1e-9)


def test_noisy_poolings_beyond_the_range_of_probabilities() -> None:
    """In float32 ``exp(-200)`` is 0 and ``1 - exp(-200)`` is 1: only logits can tell these fields apart."""
    low, high = torch.full((4, NUM_VALUES), -200.0), torch.full((4, NUM_VALUES), 200.0)
    # 1 - (1 - p)^4 is 4 p for small p, and 1 - (1 - p)^4 has the odds (1 / (1 - p))^4 for p close to 1.
    np.testing.assert_allclose(build("noisy_or")(*one_bag(low)), -200 + math.log(4), rtol=1e-6)
    np.testing.assert_allclose(build("noisy_or")(*one_bag(high)), 800, rtol=1e-6)
    # The slope of noisy-AND at 0 and at 1 is 10 sigmoid'(5) / (sigmoid(5) - sigmoid(-5)) = 5 / sinh(5).
    offset = math.log(5 / math.sinh(5))
    np.testing.assert_allclose(build("noisy_and")(*one_bag(low)).detach(), -200 + offset, rtol=1e-6)
    np.testing.assert_allclose(build("noisy_and")(*one_bag(high)).detach(), 200 - offset, rtol=1e-6)


@pytest.mark.parametrize("name", ["noisy_and", "noisy_or"])
def test_noisy_poolings_have_no_seam_where_their_formula_changes(name: str) -> None:
    """Neighbouring logits give neighbouring fields and slopes, in float64, over the whole range."""
    values = torch.linspace(-60, 60, 24001, dtype=torch.float64)[:, None].expand(-1, NUM_VALUES)
    values = values.clone().requires_grad_(True)
    index = torch.arange(len(values))
    embeddings = values.new_zeros(len(values), EMBEDDING_SIZE)
    pooled = build(name).double()(values, index, len(values), embeddings)
    (slope,) = torch.autograd.grad(pooled.sum(), values)
    step = 0.005
    torch.testing.assert_close(pooled.diff(dim=0) / step, (slope[1:] + slope[:-1]) / 2, atol=1e-4, rtol=1e-4)
    assert (slope.diff(dim=0).abs() < 0.02).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [-6e4, -104, -30, -1e-3, 0, 1e-3, 30, 104, 6e4])
def test_results_and_gradients_stay_finite(pooling: BagPooling, value: float, dtype: torch.dtype) -> None:
    values = torch.full((4, NUM_VALUES), value, dtype=dtype)
    values[1] = -value
    values.requires_grad_(True)
    embeddings = torch.zeros(4, EMBEDDING_SIZE, dtype=dtype)
    pooled = pooling.to(dtype)(values, torch.tensor([0, 0, 1, 1]), 2, embeddings)
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    for each in (values, *pooling.parameters()):
        assert each.grad is not None
        assert torch.isfinite(each.grad).all()


@pytest.mark.parametrize("threshold_logit", [-1e4, 1e4])
def test_noisy_and_with_a_threshold_at_the_end_of_its_range(threshold_logit: float) -> None:
    pooling = build("noisy_and")
    assert isinstance(pooling, NoisyAndPooling)
    with torch.no_grad():
        pooling.threshold_logits.fill_(threshold_logit)
    values = torch.tensor([-200.0, -3, 0, 3, 200])[:, None].repeat(1, NUM_VALUES).requires_grad_(True)
    pooled = pooling(values, torch.arange(5), 5, torch.zeros(5, EMBEDDING_SIZE))
    pooled.sum().backward()
    assert values.grad is not None
    assert pooling.threshold_logits.grad is not None
    for each in (pooled, values.grad, pooling.threshold_logits.grad):
        assert torch.isfinite(each).all()
    assert (pooled.diff(dim=0) > 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(pooling: BagPooling, dtype: torch.dtype) -> None:
    values, index, embeddings = bags([300, 2, 1])
    values, embeddings = values.to(dtype), embeddings.to(dtype)
    half = pooling.to(dtype)(values, index, 3, embeddings)
    double = pooling.double()(values.double(), index, 3, embeddings.double())
    assert half.dtype == torch.float32
    # The layers of gated attention do compute in half precision.
    tolerance = 3e-2 if isinstance(pooling, GatedAttention) else 2e-5
    torch.testing.assert_close(half.double(), double, atol=tolerance, rtol=tolerance)


def test_gradients_are_right(pooling: BagPooling) -> None:
    values, index, embeddings = bags([2, 3])
    pooling = pooling.double()

    def pool(values: Tensor, embeddings: Tensor) -> Any:
        return pooling(values, index, 2, embeddings)

    assert torch.autograd.gradcheck(pool, (values.requires_grad_(True), embeddings.requires_grad_(True)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same(pooling: BagPooling) -> None:
    values, index, embeddings = bags([40, 1, 7])
    expected = pooling.double()(values, index, 3, embeddings)
    there = pooling.cuda()(values.cuda(), index.cuda(), 3, embeddings.cuda())
    torch.testing.assert_close(there.cpu(), expected)


def test_softmax_sums_to_one_in_each_bag() -> None:
    logits, index, _ = bags([1, 7, 260])
    sums = torch.zeros(3, NUM_VALUES, dtype=torch.float64).index_add(0, index, bag_softmax(logits, index, 3))
    torch.testing.assert_close(sums, torch.ones_like(sums))
