from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.training.self_supervision import SelfSupervision, SelfSupervisionSettings, vicreg_terms

SETTINGS = SelfSupervisionSettings(
    weight=1.0, invariance=25.0, variance=25.0, covariance=1.0, projection_size=16
)


def slow_twin(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """The paper's terms with a loop for every sum."""
    num_cells, size = one.shape
    invariance = sum((one[n, d] - other[n, d]) ** 2 for n in range(num_cells) for d in range(size)) / (
        num_cells * size
    )
    variance = covariance = 0.0
    for view in (one, other):
        mean = [sum(view[n, d] for n in range(num_cells)) / num_cells for d in range(size)]
        for d in range(size):
            for e in range(size):
                shared = sum((view[n, d] - mean[d]) * (view[n, e] - mean[e]) for n in range(num_cells)) / (
                    num_cells - 1
                )
                if d == e:
                    variance += max(0.0, 1 - (shared + 1e-4) ** 0.5) / size
                else:
                    covariance += shared**2 / size
    return invariance, variance, covariance


def views(num_cells: int = 12, size: int = 5, spread: float = 0.7) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    one = spread * torch.randn(num_cells, size) @ torch.randn(size, size)
    return one, one + 0.3 * torch.randn(num_cells, size)


@pytest.mark.parametrize("spread", [0.05, 0.7, 3.0])
def test_the_terms_are_those_of_the_paper(spread: float) -> None:
    one, other = views(spread=spread)
    found = [term.item() for term in vicreg_terms(one, other)]
    np.testing.assert_allclose(found, slow_twin(one.double().numpy(), other.double().numpy()), rtol=1e-4)


def test_two_cells_are_enough() -> None:
    one, other = views(num_cells=2)
    expected = slow_twin(one.double().numpy(), other.double().numpy())
    np.testing.assert_allclose([term.item() for term in vicreg_terms(one, other)], expected, rtol=1e-4)


def test_each_term_asks_for_one_thing() -> None:
    one, other = views(num_cells=400)
    whitened = torch.linalg.qr(one - one.mean(dim=0)).Q * 399**0.5
    for term in vicreg_terms(whitened, whitened):
        assert term.item() == pytest.approx(0, abs=1e-5)
    collapsed = torch.ones(400, 5)
    assert [round(term.item(), 3) for term in vicreg_terms(collapsed, collapsed)] == [0, 1.98, 0]
    copied = whitened[:, :1].expand(-1, 5)
    invariance, variance, covariance = vicreg_terms(copied, copied)
    assert invariance == 0
    assert variance.item() == pytest.approx(0, abs=1e-5)
    assert covariance.item() == pytest.approx(2 * 4, rel=1e-3)
    assert vicreg_terms(whitened, other)[0] > 0.1


def test_half_precision_is_summed_in_single() -> None:
    one, other = (100 + each for each in views(num_cells=500))
    exact = [term.item() for term in vicreg_terms(one.bfloat16().float(), other.bfloat16().float())]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = vicreg_terms(one.bfloat16(), other.bfloat16())
    assert {term.dtype for term in found} == {torch.float32}
    np.testing.assert_allclose([term.item() for term in found], exact, rtol=1e-5)


def train(variance: float, covariance: float, steps: int = 150) -> tuple[float, float]:
    """Spread and number of directions of what a small network says after training on nothing but this."""
    torch.manual_seed(0)
    cells = torch.randn(64, 10)
    network = nn.Linear(10, 6)
    projection = nn.Linear(6, 6)
    optimizer = torch.optim.Adam([*network.parameters(), *projection.parameters()], lr=0.02)
    for _ in range(steps):
        one, other = (projection(network(cells + 0.5 * torch.randn_like(cells)).relu()) for _ in range(2))
        terms = vicreg_terms(one, other)
        loss = 25 * terms[0] + variance * terms[1] + covariance * terms[2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    said = projection(network(cells).relu()).detach()
    values = torch.linalg.svdvals(said - said.mean(dim=0))
    return said.std(dim=0).mean().item(), (values.sum() / values.max()).item()


def test_embeddings_that_become_equal_are_penalised() -> None:
    assert train(variance=0.0, covariance=0.0)[0] < 0.1
    assert train(variance=25.0, covariance=0.0)[0] > 0.6
    assert train(variance=25.0, covariance=25.0)[1] > 1.3 * train(variance=25.0, covariance=0.0)[1]


def test_the_slope_reaches_the_embeddings_and_the_projection() -> None:
    one, other = (each.requires_grad_(True) for each in views(num_cells=8, size=10))
    objective = SelfSupervision(SETTINGS, embedding_size=10)
    objective(one, other).backward()
    for tensor in (one, other, *objective.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


def test_weights_multiply_their_terms() -> None:
    one, other = views(num_cells=8, size=10)
    objective = SelfSupervision(SETTINGS, embedding_size=10)
    terms = vicreg_terms(objective.projector(one), objective.projector(other))
    for changes, expected in (
        ({"weight": 0.5}, 0.5 * (25 * terms[0] + 25 * terms[1] + terms[2])),
        ({"covariance": 0.0}, 25 * terms[0] + 25 * terms[1]),
        ({"invariance": 2.0, "variance": 3.0}, 2 * terms[0] + 3 * terms[1] + terms[2]),
    ):
        objective.settings = replace(SETTINGS, **changes)
        torch.testing.assert_close(objective(one, other), expected)


@pytest.mark.parametrize("number", [0, 1])
def test_less_than_two_cells_say_nothing(number: int) -> None:
    one = torch.randn(number, 10, requires_grad=True)
    loss = SelfSupervision(SETTINGS, embedding_size=10)(one, one)
    assert loss.item() == 0
    loss.backward()
    assert one.grad is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": -1.0}, r"self_supervision.weight is -1.0"),
        ({"covariance": float("nan")}, r"self_supervision.covariance is nan"),
        ({"variance": 0.0}, r"self_supervision.variance 0.0: without .* all embeddings become equal"),
        ({"invariance": 0.0}, r"self_supervision.invariance is 0.0"),
        ({"projection_size": 1}, r"self_supervision.projection_size is 1"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)


def test_settings_of_the_command_line() -> None:
    assert to_settings(SelfSupervisionSettings, compose("train", []).self_supervision).weight == 0
    chosen = to_settings(
        SelfSupervisionSettings, compose("train", ["self_supervision=vicreg"]).self_supervision
    )
    assert chosen.weight > 0
    assert (chosen.invariance, chosen.variance, chosen.covariance) == (25, 25, 1)
