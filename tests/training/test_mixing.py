from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.training.bags import BagPlan, BagSampler, BagSettings
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.mixing import BagMixer

SETTINGS = BagSettings(
    fields_per_batch=6,
    cells_per_field=8,
    balance=0.0,
    repeats={},
    mosaic=0.0,
    mosaic_fields=4,
    cutmix=0.0,
    cutmix_alpha=1.0,
    validation_cells_per_field=8,
    workers=0,
    seed=7,
)


class World:
    """Fields of 1 to 40 cells; every third has two labels, every seventh none, the others one."""

    def __init__(self, num_fields: int = 30) -> None:
        rng = np.random.default_rng(3)
        sizes = rng.integers(1, 41, num_fields)
        ends = np.cumsum(sizes)
        self.rows = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.field_of_row = np.repeat(np.arange(num_fields), sizes)
        self.labels = np.zeros((num_fields, 5), dtype=bool)
        for field in range(num_fields):
            number = 0 if field % 7 == 6 else 2 if field % 3 == 0 else 1
            self.labels[field, rng.choice(5, number, replace=False)] = True
        self.weights = np.ones(num_fields)

    def sampler(self, **changes: Any) -> BagSampler:
        chosen = replace(SETTINGS, **changes)
        mixer = BagMixer(self.rows, self.labels, self.weights, chosen)
        return BagSampler(self.rows, self.weights, chosen, mix=mixer)

    def plain(self) -> BagSampler:
        return BagSampler(self.rows, self.weights, SETTINGS)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def bags_of(plan: BagPlan) -> list[NDArray[np.int64]]:
    return [plan.rows[plan.bag_index == bag] for bag in range(len(plan.fields))]


def slow_labels(plan: BagPlan, world: World, *, mosaic: bool) -> NDArray[np.float64]:
    """The labels of bags by counting cells."""
    expected = np.zeros((len(plan.fields), 5))
    for bag, rows in enumerate(bags_of(plan)):
        of_cells = np.array([world.labels[world.field_of_row[row]] for row in rows])
        expected[bag] = of_cells.any(axis=0) if mosaic else of_cells.mean(axis=0)
    return expected


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 200), st.integers(2, 12), st.integers(2, 12))
def test_a_mosaic_has_cells_of_fields_of_one_label_each(batch: int, mosaic_fields: int, most: int) -> None:
    world = World()
    sampler = world.sampler(mosaic=1.0, mosaic_fields=mosaic_fields, cells_per_field=most)
    plan = sampler.plan(batch)
    np.testing.assert_array_equal(plan.field_of_row, world.field_of_row[plan.rows])
    for bag, rows in enumerate(bags_of(plan)):
        fields = world.field_of_row[rows]
        assert (world.labels[fields].sum(axis=1) == 1).all()
        assert len(set(fields)) == min(mosaic_fields, most)
        assert plan.fields[bag] in fields
        assert len(set(rows)) == len(rows) <= most
    np.testing.assert_array_equal(plan.field_labels(world.labels), slow_labels(plan, world, mosaic=True))


def test_the_parts_of_a_mosaic_are_of_one_size(world: World) -> None:
    large = World()
    large.rows = [np.arange(100 * field, 100 * field + 100) for field in range(30)]
    plan = large.sampler(mosaic=1.0, mosaic_fields=3).plan(0)
    for bag in range(6):
        counts = np.unique(plan.field_of_row[plan.bag_index == bag], return_counts=True)[1]
        assert sorted(counts) == [2, 3, 3]


def test_a_mosaic_keeps_the_field_it_was_drawn_for_where_that_has_one_label(world: World) -> None:
    for batch in range(10):
        before, after = world.plain().plan(batch), world.sampler(mosaic=1.0).plan(batch)
        single = world.labels[before.fields].sum(axis=1) == 1
        np.testing.assert_array_equal(after.fields[single], before.fields[single])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 200), st.floats(0.05, 20))
def test_cutmix_takes_cells_of_one_other_field(batch: int, alpha: float) -> None:
    world = World()
    before, after = world.plain().plan(batch), world.sampler(cutmix=1.0, cutmix_alpha=alpha).plan(batch)
    np.testing.assert_array_equal(after.fields, before.fields)
    np.testing.assert_array_equal(after.field_of_row, world.field_of_row[after.rows])
    for field, old, new in zip(before.fields, bags_of(before), bags_of(after), strict=True):
        own = world.field_of_row[new] == field
        assert len(new) == len(old) == len(set(new))
        assert set(new[own]) <= set(old)
        assert len(set(world.field_of_row[new[~own]])) <= 1
    np.testing.assert_allclose(
        after.field_labels(world.labels), slow_labels(after, world, mosaic=False), atol=1e-6
    )


def test_the_part_of_the_other_field_is_beta_distributed() -> None:
    world = World()
    world.rows = [np.arange(1000 * field, 1000 * field + 1000) for field in range(30)]
    for alpha, spread in ((1.0, 1 / np.sqrt(12)), (8.0, 1 / np.sqrt(4 * 17))):
        sampler = world.sampler(cutmix=1.0, cutmix_alpha=alpha, cells_per_field=100)
        parts = []
        for batch in range(60):
            plan = sampler.plan(batch)
            own = plan.field_of_row == plan.fields[plan.bag_index]
            parts += [own[plan.bag_index == bag].mean() for bag in range(len(plan.fields))]
        assert np.mean(parts) == pytest.approx(0.5, abs=0.05)
        assert np.std(parts) == pytest.approx(spread, abs=0.03)


def test_as_many_bags_are_mixed_as_was_asked_for(world: World) -> None:
    mosaics, mixed, plain = [], [], []
    sampler, bare = world.sampler(mosaic=0.25, cutmix=0.4, cutmix_alpha=50.0), world.plain()
    for batch in range(200):
        plan, before = sampler.plan(batch), bare.plan(batch)
        several = [len(set(world.field_of_row[rows])) > 1 for rows in bags_of(plan)]
        # The cells of a bag of CutMix have shares of less than 1, unless it has one cell only.
        whole = [plan.label_shares[plan.bag_index == bag][0] == 1 for bag in range(6)]
        mosaics.append(sum(a and b for a, b in zip(several, whole, strict=True)))
        mixed.append(6 - sum(whole))
        untouched = [np.array_equal(*pair) for pair in zip(bags_of(plan), bags_of(before), strict=True)]
        plain.append(sum(untouched))
    assert set(mosaics) == {1, 2}
    assert np.mean(mosaics) == pytest.approx(1.5, abs=0.15)
    assert np.mean(mixed) == pytest.approx(2.4, abs=0.3)
    assert np.mean(plain) > 6 - 1.5 - 2.4 - 0.1


def test_a_batch_is_a_function_of_its_number(world: World) -> None:
    one, two = (world.sampler(mosaic=0.3, cutmix=0.5) for _ in range(2))
    for batch in (9, 0, 4):
        first, second = one.plan(batch), two.plan(batch)
        np.testing.assert_array_equal(first.rows, second.rows)
        np.testing.assert_array_equal(first.label_shares, second.label_shares)
    assert any(
        not np.array_equal(
            one.plan(batch).rows, world.sampler(mosaic=0.3, cutmix=0.5, seed=8).plan(batch).rows
        )
        for batch in range(3)
    )


def test_fields_of_weight_zero_are_never_mixed_in(world: World) -> None:
    lighter = World()
    lighter.weights[10:] = 0
    for batch in range(10):
        plan = lighter.sampler(mosaic=0.5, cutmix=0.5).plan(batch)
        assert plan.field_of_row.max() < 10


def test_further_fields_are_drawn_by_their_weights(world: World) -> None:
    heavier = World()
    single = np.flatnonzero(world.labels.sum(axis=1) == 1)
    heavier.weights[single[: len(single) // 2]] = 9.0
    drawn: list[int] = []
    for batch in range(100):
        plan = heavier.sampler(mosaic=1.0, mosaic_fields=2).plan(batch)
        of_bag = [set(plan.field_of_row[plan.bag_index == bag]) for bag in range(6)]
        drawn += [field for bag, fields in enumerate(of_bag) for field in fields - {plan.fields[bag]}]
    assert np.mean(heavier.weights[drawn] == 9) == pytest.approx(0.9, abs=0.05)


def test_mosaics_of_fewer_fields_where_there_are_no_more(world: World) -> None:
    lighter = World()
    single = np.flatnonzero(world.labels.sum(axis=1) == 1)
    lighter.weights[single[3:]] = 0
    for batch in range(5):
        assert set(lighter.sampler(mosaic=1.0).plan(batch).field_of_row) == set(single[:3])
    lighter.weights[single[1:]] = 0
    with pytest.raises(ValueError, match="but 1 of 13 fields for training have exactly one label"):
        lighter.sampler(mosaic=1.0)


def test_batches_of_an_epoch_are_mixed_each_in_its_own_way(world: World) -> None:
    sampler = world.sampler(mosaic=0.5)
    mosaics = []
    for batch in range(sampler.batches_per_epoch):
        plan = sampler.plan(batch)
        mosaics.append(tuple(len(set(plan.field_of_row[plan.bag_index == bag])) > 1 for bag in range(6)))
    assert sampler.batches_per_epoch == 5
    assert len(set(mosaics)) > 2


def test_nothing_asked_for_changes_nothing(world: World) -> None:
    for batch in range(5):
        before, after = world.plain().plan(batch), world.sampler().plan(batch)
        np.testing.assert_array_equal(after.rows, before.rows)
        np.testing.assert_array_equal(after.bag_index, before.bag_index)
        np.testing.assert_array_equal(after.field_labels(world.labels), world.labels[before.fields])


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"mosaic": 0.25}, [[1, 1], [1, 0]], r"bags.mosaic is 0.25, but 1 of 2 fields .* exactly one label"),
        ({"cutmix": 0.25}, [[1, 1]], r"bags.cutmix is 0.25, but there is only 1 field"),
    ],
)
def test_too_few_fields_to_mix(changes: dict[str, float], labels: list[list[int]], message: str) -> None:
    of_fields = np.array(labels, dtype=bool)
    rows = [np.arange(3)] * len(labels)
    with pytest.raises(ValueError, match=message):
        BagMixer(rows, of_fields, np.ones(len(labels)), replace(SETTINGS, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaic": 1.5}, "bags.mosaic is 1.5"),
        ({"cutmix": float("nan")}, "bags.cutmix is nan"),
        ({"mosaic": 0.6, "cutmix": 0.5}, "bags.mosaic is 0.6 and bags.cutmix 0.5: their sum"),
        ({"mosaic_fields": 1}, "bags.mosaic_fields is 1"),
        ({"cutmix_alpha": 0.0}, "bags.cutmix_alpha is 0.0"),
        ({"cells_per_field": 1, "mosaic": 0.1}, "leaves nothing to mix"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)


def test_only_a_mosaic_prefers_some_fields() -> None:
    """What is left of both where nothing learns from the labels of bags."""
    large = World()
    large.rows = [np.arange(field * 20, field * 20 + 20) for field in range(30)]
    of_several = large.labels.sum(axis=1) != 1

    def share_of_several(**mixed: float) -> float:
        sampler = large.sampler(**mixed)
        return float(np.mean([of_several[sampler.plan(batch).field_of_row].mean() for batch in range(300)]))

    usual = share_of_several()
    assert usual == pytest.approx(of_several.mean(), abs=0.02)
    assert share_of_several(cutmix=1.0) == pytest.approx(usual, abs=0.02)
    assert share_of_several(mosaic=1.0) == 0


@pytest.mark.parametrize("kind", ["mosaic", "cutmix"])
def test_cells_keep_the_labels_of_their_own_field(cells: LabelledCells, kind: str) -> None:
    settings = replace(SETTINGS, **{kind: 1.0, "mosaic_fields": 3, "cells_per_field": 5})
    for bags in BagData(cells, cells, settings).train_dataloader():
        # What a cell shows can be seen: its upper half is bright, all of it, or nothing.
        upper = bags.images[:, 1, 4, 4] > 100
        lower = bags.images[:, 1, 12, 4] > 100
        kinds = torch.stack([upper & ~lower, upper & lower, ~upper], dim=1).float()
        assert torch.equal(bags.cell_targets[:, :3], kinds)
        several = torch.zeros(len(bags.field_labels), 3).index_add(0, bags.bag_index, kinds)
        expected = several.clamp(max=1) if kind == "mosaic" else several / several.sum(dim=1, keepdim=True)
        torch.testing.assert_close(bags.field_labels[:, :3], expected)
        assert ((bags.field_labels > 0).sum(dim=1) > 1).any()


def test_labels_from_a_table_stay_those_of_the_table(cells: LabelledCells) -> None:
    targets = np.random.default_rng(0).random((60, 19), dtype=np.float32)
    mixed = replace(SETTINGS, mosaic=0.5, cutmix=0.5)
    data = BagData(replace(cells, cell_targets=targets), cells, mixed)
    plan = data.train_dataloader()._sampler.plan(0)
    bags = next(iter(data.train_dataloader()))
    np.testing.assert_array_equal(bags.cell_targets.numpy(), targets[plan.rows])
    np.testing.assert_array_equal(bags.field_labels.numpy(), plan.field_labels(cells.labels))


def test_validation_is_never_mixed(cells: LabelledCells) -> None:
    data = BagData(cells, cells, replace(SETTINGS, mosaic=0.5, cutmix=0.5))
    labels = torch.cat([bags.field_labels for bags in data.val_dataloader()])
    assert torch.equal(labels.bool(), torch.from_numpy(cells.labels))
    assert set(labels.unique().tolist()) == {0, 1}
