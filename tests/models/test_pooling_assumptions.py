"""What each pooling promises of a set of cells, and what it does not: see the table in `hpa_cells.models.pooling`.

After Raff and Holt, "Reproducibility in multiple instance learning: a case for algorithmic unit tests", NeurIPS
2023, arXiv 2310.17867. All in float64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hpa_cells.models.pooling import POOLINGS, BagPooling, GatedAttention, PoolingSettings, build_pooling

SOME = PoolingSettings(name="top_k", exceptions={"1": "max", "4": "noisy_or", "2": "max"})
ALL = {name: PoolingSettings(name=name) for name in POOLINGS} | {"by_class": SOME}
NUM_VALUES, EMBEDDING_SIZE = 5, 3

cells = st.lists(st.floats(-30, 30), min_size=1, max_size=12)
without_attention = pytest.mark.parametrize("name", sorted(set(ALL) - {"gated_attention"}))


def build(name: str) -> BagPooling:
    torch.manual_seed(0)
    return build_pooling(ALL[name], NUM_VALUES, EMBEDDING_SIZE).double()


@pytest.fixture(params=sorted(ALL))
def pooling(request: pytest.FixtureRequest) -> BagPooling:
    return build(request.param)


def bags(sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    values, embeddings = (
        torch.randn(len(index), size, generator=generator, dtype=torch.float64)
        for size in (NUM_VALUES, EMBEDDING_SIZE)
    )
    return values, index, embeddings


def pool_one(pooling: BagPooling, values: Tensor) -> Tensor:
    """(V,): a single bag of cells of equal embeddings, from (N, V) or, the same for each value, (N,)."""
    values = values if values.ndim == 2 else values[:, None].expand(-1, NUM_VALUES)
    embeddings = values.new_zeros(len(values), EMBEDDING_SIZE)
    pooled = pooling(values, torch.zeros(len(values), dtype=torch.int64), 1, embeddings)
    assert isinstance(pooled, Tensor)
    return pooled[0].detach()


def field(name: str, logits: list[float]) -> Tensor:
    return pool_one(build(name), torch.tensor(logits, dtype=torch.float64))


# A set.


def test_order_of_cells_does_not_matter(pooling: BagPooling) -> None:
    values, index, embeddings = bags([3, 1, 6])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        pooling(values[order], index[order], 3, embeddings[order]), pooling(values, index, 3, embeddings)
    )


def test_bags_do_not_touch_each_other(pooling: BagPooling) -> None:
    values, index, embeddings = bags([3, 5])
    before = pooling(values, index, 2, embeddings)
    values[index == 1] += 7
    embeddings[index == 1] -= 2
    after = pooling(values, index, 2, embeddings)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] > before[1] + 1).all()


def test_a_bag_is_as_if_alone(pooling: BagPooling) -> None:
    values, index, embeddings = bags([3, 5, 1])
    together = pooling(values, index, 3, embeddings)
    for bag in range(3):
        chosen = index == bag
        alone = pooling(values[chosen], torch.zeros_like(index[chosen]), 1, embeddings[chosen])
        torch.testing.assert_close(alone[0], together[bag])


@pytest.mark.parametrize("name", sorted(set(ALL) - {"noisy_and"}))
def test_a_bag_of_one_is_its_cell(name: str) -> None:
    values = torch.linspace(-40, 40, 500, dtype=torch.float64).reshape(100, NUM_VALUES)
    embeddings = values[:, :EMBEDDING_SIZE]
    torch.testing.assert_close(build(name)(values, torch.arange(100), 100, embeddings), values)


def test_a_bag_of_one_is_a_rising_function_of_its_cell_in_noisy_and() -> None:
    values = torch.linspace(-40, 40, 500, dtype=torch.float64)[:, None].expand(-1, NUM_VALUES)
    pooled = build("noisy_and")(values, torch.arange(500), 500, values[:, :EMBEDDING_SIZE])
    assert (pooled.diff(dim=0) > 0).all()


@pytest.mark.parametrize("num_cells", [2, 7, 300])
@pytest.mark.parametrize("logit", [-50.0, -2.0, 0.0, 3.0])
def test_a_bag_of_equal_cells(num_cells: int, logit: float) -> None:
    for name in ("mean", "max", "log_sum_exp", "top_k", "gated_attention"):
        np.testing.assert_allclose(field(name, [logit] * num_cells), logit, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(field("noisy_and", [logit] * num_cells), field("noisy_and", [logit]))
    strength = num_cells * math.log1p(math.exp(logit))
    expected = strength + math.log(-math.expm1(-strength))
    np.testing.assert_allclose(field("noisy_or", [logit] * num_cells), expected, rtol=1e-9)


# More evidence in a cell.


@without_attention
@settings(deadline=None, max_examples=30)
@given(logits=cells)
def test_more_evidence_in_a_cell_never_lowers_the_field(name: str, logits: list[float]) -> None:
    values = torch.tensor(logits, dtype=torch.float64)[:, None].repeat(1, NUM_VALUES).requires_grad_(True)
    index = torch.zeros(len(values), dtype=torch.int64)
    pooled = build(name)(values, index, 1, torch.zeros(len(values), EMBEDDING_SIZE, dtype=torch.float64))
    (slopes,) = torch.autograd.grad(pooled.sum(), values)
    assert (slopes >= -1e-12).all()
    assert (slopes.sum(dim=0) > 0).all()


def attention_away_from_large_values() -> GatedAttention:
    """One value and one hidden unit: the weight of a cell is the softmax of -10 tanh(value)."""
    pooling = GatedAttention(1, 1, num_hidden=1).double()
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.zero_()
        pooling.content.weight.fill_(1)
        pooling.gate.bias.fill_(100)
        pooling.weight.weight.fill_(-10)
    return pooling


def test_gated_attention_turns_away_from_a_cell_as_its_evidence_grows() -> None:
    """A weakness, not a feature: cells of 0.1 and 0 make a field of 0.027, cells of 2 and 0 one of 0.00013."""
    pooling = attention_away_from_large_values()
    fields = []
    for evidence in (0.1, 2.0):
        values = torch.tensor([[evidence], [0.0]], dtype=torch.float64)
        pooled = pooling(values, torch.tensor([0, 0]), 1, values).item()
        assert pooled == pytest.approx(evidence / (1 + math.exp(10 * math.tanh(evidence))))
        fields.append(pooled)
    assert fields == pytest.approx([0.02696, 0.00013], abs=1e-5)


# Negative and positive cells, of logits below and above 0.


@pytest.mark.parametrize("name", ["gated_attention", "log_sum_exp", "max", "mean", "noisy_and", "top_k"])
@settings(deadline=None, max_examples=30)
@given(logits=st.lists(st.floats(-30, -1e-3), min_size=1, max_size=40))
def test_a_field_of_negatives_is_negative(name: str, logits: list[float]) -> None:
    assert (field(name, logits) < 0).all()


@pytest.mark.parametrize("name", ["log_sum_exp", "max", "mean", "noisy_and", "top_k"])
def test_fields_of_negatives_do_not_drift_with_their_size(name: str) -> None:
    np.testing.assert_allclose(field(name, [-4.6] * 1000), field(name, [-4.6]), atol=1e-9)


def test_noisy_or_drifts_with_the_number_of_negatives() -> None:
    """Of probability 0.01 each: 10 make a field of 1 - 0.99^10 = 0.096, 69 are positive, 100 make 0.634."""
    cell = math.log(0.01 / 0.99)
    for num_cells, expected in ((1, 0.01), (10, 0.0956), (68, 0.4951), (69, 0.5002), (100, 0.6340)):
        probability = field("noisy_or", [cell] * num_cells).sigmoid()
        np.testing.assert_allclose(probability, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["max", "noisy_or"])
@settings(deadline=None, max_examples=30)
@given(logits=cells, added=st.floats(-30, 30))
def test_an_added_cell_never_lowers_the_field(name: str, logits: list[float], added: float) -> None:
    assert (field(name, [*logits, added]) >= field(name, logits) - 1e-12).all()


@pytest.mark.parametrize("name", ["log_sum_exp", "mean", "top_k"])
@settings(deadline=None, max_examples=30)
@given(logits=cells, more=st.floats(0, 5))
def test_an_added_cell_above_the_field_never_lowers_it(name: str, logits: list[float], more: float) -> None:
    before = field(name, logits)
    assert (field(name, [*logits, before[0].item() + more]) >= before - 1e-12).all()


@pytest.mark.parametrize(
    ("name", "before", "added", "after"),
    [
        ("mean", [5], 1, 3),
        ("top_k", [5, 5, 5], 1, 5),  # still the best one
        ("top_k", [5, 1, 1], 1, 3),  # now the best two of four
        ("log_sum_exp", [5], 1, math.log((math.exp(5) + math.exp(1)) / 2)),
    ],
)
def test_a_positive_cell_below_the_field_may_lower_it(
    name: str, before: list[float], added: float, after: float
) -> None:
    np.testing.assert_allclose(field(name, [*before, added]), after)


@pytest.mark.parametrize("name", ["max", "noisy_or"])
@settings(deadline=None, max_examples=30)
@given(negatives=st.lists(st.floats(-30, -1e-3), max_size=40), positive=st.floats(1e-3, 30))
def test_one_positive_cell_makes_the_field_positive(
    name: str, negatives: list[float], positive: float
) -> None:
    assert (field(name, [*negatives, positive]) >= positive - 1e-9).all()


@pytest.mark.parametrize(
    ("name", "positive", "is_positive"),
    # Among 19 cells of -5, a cell decides a field by log_sum_exp if it is above log(20 - 19 exp(-5)) = 2.99.
    [
        ("log_sum_exp", 2.98, False),
        ("log_sum_exp", 3.0, True),
        ("mean", 90, False),
        ("top_k", 20, False),
        ("noisy_and", 100, False),
    ],
)
def test_one_positive_cell_among_negatives(name: str, positive: float, is_positive: bool) -> None:
    assert ((field(name, [-5.0] * 19 + [positive]) > 0) == is_positive).all()


# Learning: a field is positive if one cell shows A. B is no evidence, but it tells the training fields apart.


def draw(b_in_negatives: float, b_in_positives: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells (N, 3), their bags (N,) and the labels (F,) of 200 fields of 8 cells.

    A shows in the first number of one cell of each positive field, B in the second of three cells of the given
    shares of fields; the third is noise, as is 0.3 of each.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(200) % 2
    cells = 0.3 * rng.standard_normal((200, 8, 3))
    for bag, label in enumerate(labels):
        places = rng.permutation(8)
        cells[bag, places[0], 0] += label
        cells[bag, places[1:4], 1] += rng.random() < (b_in_positives if label else b_in_negatives)
    index = torch.arange(200).repeat_interleave(8)
    return torch.from_numpy(cells.reshape(-1, 3)), index, torch.from_numpy(labels).double()


def area_under_curve(scores: Tensor, labels: Tensor) -> float:
    """How often a positive field is above a negative one."""
    above = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float(((above > 0).double() + 0.5 * (above == 0)).mean())


def train_and_test(name: str) -> tuple[float, float]:
    """AUC on the training fields, and on fields where B tells the opposite."""
    torch.manual_seed(2)
    pooling = build_pooling(PoolingSettings(name=name), 1, 3).double()
    head = nn.Linear(3, 1).double()

    def score(cells: Tensor, index: Tensor) -> Tensor:
        pooled = pooling(head(cells), index, 200, cells)
        assert isinstance(pooled, Tensor)
        return pooled[:, 0]

    cells, index, labels = draw(b_in_negatives=0.95, b_in_positives=0.05, seed=0)
    optimizer = torch.optim.Adam([*head.parameters(), *pooling.parameters()], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(score(cells, index), labels)
        torch.autograd.backward(loss)
        optimizer.step()
    trained = area_under_curve(score(cells, index), labels)
    cells, index, labels = draw(b_in_negatives=0.05, b_in_positives=0.95, seed=1)
    return trained, area_under_curve(score(cells, index), labels)


@pytest.mark.parametrize("name", ["max", "noisy_or", "log_sum_exp", "top_k"])
def test_learns_what_is_there(name: str) -> None:
    trained, tested = train_and_test(name)
    assert trained > 0.9
    assert tested > 0.7


@pytest.mark.parametrize("name", ["mean", "noisy_and"])
def test_learns_from_what_is_absent(name: str) -> None:
    """An honest weakness: a cell that shows B counts against A, and the ranks turn round with B."""
    trained, tested = train_and_test(name)
    assert trained > 0.9
    assert tested < 0.4


def test_gated_attention_learns_from_what_is_absent() -> None:
    trained, tested = train_and_test("gated_attention")
    assert trained > 0.9
    assert tested < trained - 0.1
