"""What several processes do with their parts of a batch is what one does with the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hpa_cells.models import CellOutputs
from hpa_cells.training import losses, processes
from hpa_cells.training.bags import BagPlan, Bags, BagSettings, make_plan, take_bags
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.losses import BagLoss, LossSettings
from hpa_cells.training.processes import check_parts, gather_parts, own_part

BAGS = BagSettings(
    fields_per_batch=4,
    cells_per_field=3,
    balance=0.5,
    repeats={},
    mosaic=0.0,
    mosaic_fields=2,
    cutmix=0.0,
    cutmix_alpha=1.0,
    validation_cells_per_field=4,
    workers=0,
    seed=0,
)
NUM_CLASSES = 5


@contextmanager
def as_process(rank: int, count: int) -> Iterator[None]:
    """Be one of several processes; what these exchange is for the test to bring about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.distributed, "is_initialized", lambda: True)
        patch.setattr(processes.distributed, "get_world_size", lambda: count)
        patch.setattr(processes.distributed, "get_rank", lambda: rank)
        yield


def of_all(count: int, work: Callable[[int], object]) -> list[object]:
    """What each process works out, when they take means together: first each alone, then with the means."""
    shared: list[list[Tensor]] = [[] for _ in range(count)]

    def run(rank: int, exchange: Callable[[Tensor], Tensor]) -> object:
        with as_process(rank, count), pytest.MonkeyPatch.context() as patch:
            patch.setattr(losses, "mean_over_processes", exchange)
            return work(rank)

    def remember(rank: int) -> Callable[[Tensor], Tensor]:
        def exchange(value: Tensor) -> Tensor:
            shared[rank].append(value.detach().clone())
            return value

        return exchange

    for rank in range(count):
        run(rank, remember(rank))
    means = [torch.stack(each).mean(dim=0) for each in zip(*shared, strict=True)]

    def replay() -> Callable[[Tensor], Tensor]:
        left = iter(means)
        return lambda value: next(left).to(value.dtype)

    return [run(rank, replay()) for rank in range(count)]


def random_plan(seed: int, num_bags: int) -> BagPlan:
    """Bags of one to six cells, each from any of nine fields."""
    rng = np.random.default_rng(seed)
    plan = make_plan(rng.integers(0, 9, num_bags), [np.arange(rng.integers(1, 7)) for _ in range(num_bags)])
    num_cells = len(plan.rows)
    return replace(
        plan,
        rows=rng.permutation(100)[:num_cells],
        field_of_row=rng.integers(0, 9, num_cells),
        label_shares=rng.random(num_cells).astype(np.float32),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), num_bags=st.integers(4, 12), count=st.integers(1, 4))
def test_parts_of_a_plan_are_the_whole(seed: int, num_bags: int, count: int) -> None:
    plan = random_plan(seed, num_bags)
    labels = np.random.default_rng(seed).random((9, NUM_CLASSES)) < 0.5
    seen = np.zeros(num_bags, dtype=int)
    for rank in range(count):
        with as_process(rank, count):
            own = own_part(num_bags)
        part = take_bags(plan, own)
        seen[own] += 1
        np.testing.assert_array_equal(part.field_labels(labels), plan.field_labels(labels)[own])
        for position, bag in enumerate(own):
            for name in ("rows", "field_of_row", "label_shares"):
                np.testing.assert_array_equal(
                    getattr(part, name)[part.bag_index == position],
                    getattr(plan, name)[plan.bag_index == bag],
                )
    assert (seen == 1).all()


@pytest.mark.parametrize("weigh_equally", ["cells", "fields"])
@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), num_bags=st.integers(3, 8))
def test_the_mean_of_the_gradients_of_parts_is_the_gradient_of_the_whole(
    weigh_equally: str, weighted: bool, seed: int, num_bags: int
) -> None:
    loss = BagLoss(
        LossSettings(
            name="bce",
            class_weights="none",
            beta=0.9,
            positive_power=0.0,
            smoothing=0.1,
            smoothing_prior="half",
            weigh_equally=weigh_equally,
        ),
        np.ones((1, NUM_CLASSES), dtype=bool),
        field_weight=1.0,
        cell_weight=0.3,
    )
    rng = np.random.default_rng(seed)
    plan = random_plan(seed, num_bags)
    cell_logits = torch.tensor(rng.normal(size=(len(plan.rows), NUM_CLASSES)), requires_grad=True)
    field_logits = torch.tensor(rng.normal(size=(num_bags, NUM_CLASSES)), requires_grad=True)
    cell_targets = torch.tensor(rng.random((len(plan.rows), NUM_CLASSES)))
    field_labels = torch.tensor(rng.random((num_bags, NUM_CLASSES)))
    weights = torch.tensor(rng.choice([0.0, 0.2, 1.0], len(plan.rows))) if weighted else None
    made_up = torch.tensor(rng.random((3, NUM_CLASSES)))

    def of_part(bags: np.ndarray, of_made_up: int) -> Tensor:
        cells = np.flatnonzero(np.isin(plan.bag_index, bags))
        batch = Bags(
            images=torch.zeros(len(cells), 4, 1, 1, dtype=torch.uint8),
            bag_index=torch.from_numpy(take_bags(plan, bags).bag_index),
            field_labels=field_labels[bags],
            cell_targets=cell_targets[cells],
            cell_weights=None if weights is None else weights[cells],
        )
        outputs = CellOutputs(
            cell_logits=cell_logits[cells],
            field_logits=field_logits[bags],
            embeddings=torch.zeros(len(cells), 1),
        )
        further = loss.of_cells(cell_logits[:of_made_up], made_up[:of_made_up])
        return loss(outputs, batch).total + 0.1 * further

    whole = of_part(np.arange(num_bags), 1)
    expected = torch.autograd.grad(whole, (cell_logits, field_logits))
    # The made-up cell is with the first process alone.
    parts = of_all(2, lambda rank: of_part(own_part(num_bags), 1 - rank))
    mean = (parts[0] + parts[1]) / 2  # type: ignore[operator]
    torch.testing.assert_close(mean, whole)
    found = torch.autograd.grad(mean, (cell_logits, field_logits))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_gathered_parts_are_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [np.arange(10).reshape(5, 2), np.arange(6).reshape(3, 2)]
    parts = []
    for rank in range(3):
        with as_process(rank, 3):
            parts.append([batch[own_part(len(batch))] for batch in batches])

    def gather(into: list[object], own: object) -> None:
        into[:] = parts

    monkeypatch.setattr(processes.distributed, "all_gather_object", gather)
    with as_process(0, 3):
        found = gather_parts(list(parts[0]))
    for mine, other in zip(found, batches, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert gather_parts(list(batches)) == batches


@pytest.mark.parametrize(
    ("num_fields", "count", "expected"),
    [(12, 2, [4, 4, 4]), (9, 2, [4, 5]), (10, 2, [4, 4, 2]), (3, 2, [3]), (9, 1, [4, 4, 1])],
)
def test_in_validation_each_process_has_a_field_of_every_batch(
    cells: LabelledCells, num_fields: int, count: int, expected: list[int]
) -> None:
    some = cells.take(np.arange(num_fields))
    data = BagData(some, some, BAGS)
    sizes = np.zeros(len(expected), dtype=int)
    for rank in range(count):
        with as_process(rank, count):
            own = [len(bags.field_labels) for bags in data.val_dataloader()]
        assert min(own) >= 1
        sizes += own
    assert sizes.tolist() == expected


def test_the_loader_of_a_process_has_its_part_and_stops_anywhere(cells: LabelledCells) -> None:
    whole = list(BagData(cells, cells, BAGS).train_dataloader())
    for rank in range(2):
        with as_process(rank, 2):
            data = BagData(cells, cells, BAGS)
            data.load_state_dict({"next_batch": 1})
            parts = list(data.train_dataloader())
        assert len(parts) == len(whole) - 1
        for part, batch in zip(parts, whole[1:], strict=True):
            torch.testing.assert_close(part.field_labels, batch.field_labels[rank::2])
            chosen = np.isin(batch.bag_index, np.arange(rank, 4, 2))
            torch.testing.assert_close(part.images, batch.images[chosen])


def test_fewer_fields_than_processes() -> None:
    enough = {"training_fields": 5, "validation_fields": 4}
    check_parts(4, BAGS, **enough)
    for few in ({"training_fields": 3}, {"validation_fields": 3}):
        [name] = few
        with pytest.raises(ValueError, match=f"number of {name.replace('_', ' ')} is 3, for 4 processes"):
            check_parts(4, BAGS, **(enough | few))
    with pytest.raises(ValueError, match=r"bags\.fields_per_batch is 4, for 5 processes"):
        check_parts(5, BAGS, training_fields=9, validation_fields=9)


def test_one_process_is_alone() -> None:
    assert own_part(3).tolist() == [0, 1, 2]
    value = torch.tensor(2.0)
    assert processes.mean_over_processes(value) is value
    assert processes.total_over_processes(3, torch.device("cpu")) == 3


def test_a_group_of_one_takes_means_and_sums(tmp_path: Path) -> None:
    """The calls themselves, in a real group of a single process."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert processes.num_processes() == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "num_processes", lambda: 2)
            # There is only one in truth: its sum is halved.
            assert processes.mean_over_processes(torch.tensor(3.0)) == 1.5
            assert processes.total_over_processes(3, torch.device("cpu")) == 3
    finally:
        torch.distributed.destroy_process_group()
