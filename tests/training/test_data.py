from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from hpa_cells.training.bags import BagSettings
from hpa_cells.training.data import BagData, BagLoader, LabelledCells

SETTINGS = BagSettings(
    fields_per_batch=4,
    cells_per_field=3,
    balance=0.5,
    repeats={},
    mosaic=0.0,
    mosaic_fields=4,
    cutmix=0.0,
    cutmix_alpha=1.0,
    validation_cells_per_field=4,
    workers=0,
    seed=0,
)


def data_of(cells: LabelledCells, **changes: int) -> BagData:
    return BagData(cells, cells, replace(SETTINGS, **changes))


def test_bags_carry_what_belongs_together(cells: LabelledCells) -> None:
    for bags in data_of(cells).train_dataloader():
        assert bags.images.shape == (12, 4, 16, 16)
        assert bags.bag_index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        upper = bags.images[:, 1, 4, 4] > 100
        assert torch.equal(upper, bags.field_labels[bags.bag_index, :2].any(dim=1))
        assert torch.equal(bags.cell_targets, bags.field_labels[bags.bag_index])


def test_cell_labels_replace_those_of_the_field(cells: LabelledCells) -> None:
    targets = np.random.default_rng(0).random((60, 19), dtype=np.float32)
    labelled = replace(cells, cell_targets=targets)
    for bags in data_of(labelled).train_dataloader():
        assert {tuple(row) for row in bags.cell_targets.tolist()} <= {tuple(row) for row in targets.tolist()}


def test_a_loader_goes_on_where_another_stopped(cells: LabelledCells) -> None:
    whole = data_of(cells).train_dataloader()
    expected = [bags.images for _ in range(3) for bags in whole]
    assert len(expected) == 9
    for stop in (0, 2, 3, 4, 8):
        first = data_of(cells).train_dataloader()
        seen = list(islice((bags.images for _ in range(3) for bags in first), stop))
        data = data_of(cells)
        data.load_state_dict(first.state_dict())
        second = data.train_dataloader()
        while len(seen) < 9:
            seen += [bags.images for bags in second]
        assert all(torch.equal(*pair) for pair in zip(seen, expected, strict=True)), stop


def test_length_is_that_of_an_epoch(cells: LabelledCells) -> None:
    loader = data_of(cells).train_dataloader()
    assert isinstance(loader, BagLoader)
    assert len(loader) == len(list(loader)) == 3


def test_fewer_fields_than_a_batch(cells: LabelledCells) -> None:
    few = cells.take(np.arange(2))
    [bags] = data_of(few).train_dataloader()
    assert len(bags.field_labels) == 2


def test_validation_is_every_field_once_and_always_the_same(cells: LabelledCells) -> None:
    first, second = (list(data_of(cells).val_dataloader()) for _ in range(2))
    assert [len(bags.field_labels) for bags in first] == [4, 4, 4]
    labels = torch.cat([bags.field_labels for bags in first])
    assert torch.equal(labels.bool(), torch.from_numpy(cells.labels))
    assert all(torch.equal(one.images, two.images) for one, two in zip(first, second, strict=True))
    assert all(len(bags.images) == 16 for bags in first)


def test_take_keeps_the_order_asked_for(cells: LabelledCells) -> None:
    some = cells.take(np.array([7, 2]))
    assert some.field_ids == ("f007", "f002")
    assert some.num_cells == 10
    assert some.store.cells["field_id"].iloc[some.rows_of_field[0]].unique().tolist() == ["f007"]
