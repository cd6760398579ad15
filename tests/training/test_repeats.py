from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.classes import get_class_set
from hpa_cells.training.bags import BagSampler, BagSettings, field_weights
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.repeats import field_repeats

CLASSES = get_class_set("hpa2021")
FACTORS = {"mitotic_spindle": 7, "aggresome": 3}
SETTINGS = BagSettings(
    fields_per_batch=1,
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


def labels_of(*fields: tuple[str, ...]) -> NDArray[np.bool_]:
    labels = np.zeros((len(fields), len(CLASSES)), dtype=bool)
    for row, keys in enumerate(fields):
        labels[row, [CLASSES.index(key) for key in keys]] = True
    return labels


LABELS = labels_of(
    ("cytosol",),
    ("mitotic_spindle",),
    ("aggresome",),
    ("aggresome", "mitotic_spindle"),
    ("nucleoli", "aggresome"),
    (),
)


def test_a_field_counts_with_the_largest_factor_of_its_labels() -> None:
    assert field_repeats(LABELS, CLASSES, FACTORS).tolist() == [1, 7, 3, 7, 3, 1]
    assert field_repeats(LABELS, CLASSES, {}).tolist() == [1] * 6


def test_a_class_that_is_none() -> None:
    message = (
        "bags.repeats names spindle, moon, which class set hpa2021 does not have: use some of nucleoplasm"
    )
    with pytest.raises(ValueError, match=message):
        field_repeats(LABELS, CLASSES, {"spindle": 2, "cytosol": 2, "moon": 1})


def shown(weights: NDArray[np.float64], repeats: NDArray[np.int64] | None) -> list[Counter[int]]:
    """How often each field comes in each of 40 epochs."""
    sampler = BagSampler([np.arange(3)] * 6, weights, SETTINGS, repeats=repeats)
    size = sampler.batches_per_epoch
    return [
        Counter(int(sampler.plan(epoch * size + batch).fields[0]) for batch in range(size))
        for epoch in range(40)
    ]


def test_an_epoch_shows_each_field_exactly_so_often() -> None:
    repeats = field_repeats(LABELS, CLASSES, FACTORS)
    for counts in shown(np.ones(6), repeats):
        assert [counts[field] for field in range(6)] == [1, 7, 3, 7, 3, 1]


def test_repeats_multiply_with_balance() -> None:
    repeats = field_repeats(LABELS, CLASSES, FACTORS)
    weights = field_weights(LABELS, 0.5)
    counts = shown(weights, repeats)
    mean = np.array([np.mean([count[field] for count in counts]) for field in range(6)])
    np.testing.assert_allclose(mean, 22 * weights * repeats / (weights * repeats).sum(), atol=0.3)
    without = shown(weights, None)
    assert sum(map(Counter.total, without)) == 40 * 6


def test_none_asked_for_changes_nothing() -> None:
    weights = field_weights(LABELS, 0.5)
    one = BagSampler([np.arange(3)] * 6, weights, SETTINGS)
    two = BagSampler([np.arange(3)] * 6, weights, SETTINGS, repeats=field_repeats(LABELS, CLASSES, {}))
    assert one.batches_per_epoch == two.batches_per_epoch
    for batch in range(20):
        assert one.plan(batch).fields == two.plan(batch).fields


def test_the_training_batches_are_repeated_and_validation_is_not(cells: LabelledCells) -> None:
    # Of 12 fields a third shows each of the first three classes.
    data = BagData(cells, cells, replace(SETTINGS, repeats={"nucleoli": 4}))
    batches = list(data.train_dataloader())
    assert len(batches) == 8 + 4 * 4
    assert sum(int(bags.field_labels[0, 2]) for bags in batches) == 16
    assert sum(len(bags.field_labels) for bags in data.val_dataloader()) == 12


def test_factors_below_one() -> None:
    with pytest.raises(ValueError, match=r"bags.repeats.aggresome is 0: give at least 1"):
        replace(SETTINGS, repeats={"aggresome": 0})
