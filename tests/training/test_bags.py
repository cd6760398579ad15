from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpa_cells.training.bags import Bags, BagSampler, BagSettings, field_weights

SETTINGS = BagSettings(
    fields_per_batch=4,
    cells_per_field=3,
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


def rows_of(sizes: list[int]) -> list[NDArray[np.int64]]:
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def test_an_epoch_shows_every_field_once() -> None:
    sampler = BagSampler(rows_of([5] * 12), np.ones(12), SETTINGS)
    seen = np.concatenate([sampler.plan(batch).fields for batch in range(sampler.batches_per_epoch)])
    assert sorted(seen) == list(range(12))


def test_the_number_of_a_batch_decides_what_is_in_it() -> None:
    first, second = (BagSampler(rows_of([5] * 12), np.ones(12), SETTINGS) for _ in range(2))
    for batch in (7, 0, 3):
        np.testing.assert_array_equal(first.plan(batch).rows, second.plan(batch).rows)
    other = BagSampler(rows_of([5] * 12), np.ones(12), replace(SETTINGS, seed=8))
    assert any((first.plan(batch).rows != other.plan(batch).rows).any() for batch in range(3))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.integers(0, 50))
def test_rows_belong_to_their_field_and_come_once(sizes: list[int], batch: int) -> None:
    rows = rows_of(sizes)
    plan = BagSampler(rows, np.ones(len(sizes)), SETTINGS).plan(batch)
    assert len(plan.fields) == min(4, len(sizes))
    for position, field in enumerate(plan.fields):
        drawn = plan.rows[plan.bag_index == position]
        assert len(set(drawn)) == len(drawn) == min(3, sizes[field])
        assert set(drawn) <= set(rows[field])


def test_shares_are_kept_to_within_one() -> None:
    weights = np.array([1.0, 1.0, 2.0, 4.0])
    sampler = BagSampler(rows_of([1] * 4), weights, replace(SETTINGS, fields_per_batch=4))
    counts = [Counter(sampler.plan(epoch).fields.tolist()) for epoch in range(40)]
    for field, weight in enumerate(weights):
        expected = 4 * weight / weights.sum()
        each = [count[field] for count in counts]
        assert set(each) <= {int(np.floor(expected)), int(np.ceil(expected))}
        assert abs(np.mean(each) - expected) < 0.25


def test_balance_brings_rare_classes_up() -> None:
    labels = np.zeros((100, 2), dtype=bool)
    labels[:90, 0] = labels[90:, 1] = True
    np.testing.assert_allclose(field_weights(labels, 0.0), 1)
    full = field_weights(labels, 1.0)
    assert full[labels[:, 0]].sum() == pytest.approx(full[labels[:, 1]].sum())
    half = field_weights(labels, 0.5)
    assert half[0] < half[99] < full[99]


def test_fields_without_any_label_have_a_weight() -> None:
    assert np.isfinite(field_weights(np.zeros((3, 2), dtype=bool), 1.0)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"fields_per_batch": 0}, "bags.fields_per_batch is 0"), ({"balance": 1.5}, "bags.balance is 1.5")],
)
def test_settings_out_of_range(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_moving_keeps_everything() -> None:
    bags = Bags(
        images=torch.zeros(2, 4, 8, 8, dtype=torch.uint8),
        bag_index=torch.tensor([0, 1]),
        field_labels=torch.ones(2, 3),
        cell_targets=torch.zeros(2, 3),
    )
    moved = bags.to("cpu", non_blocking=True)
    assert moved.images.dtype == torch.uint8
    assert torch.equal(moved.field_labels, bags.field_labels)
