from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.training.crop_store import ShardPaths
from hpa_cells.training.field_store import FieldStore, open_field_store, write_field_shard
from hpa_cells.types import FieldView


def view_of(field_id: str, num_cells: int, shape: tuple[int, int]) -> FieldView:
    rng = np.random.default_rng(len(field_id) + num_cells)
    labels = np.zeros(shape, dtype=np.int32)
    places = rng.permutation(labels.size)
    ids = np.sort(rng.choice(np.arange(1, 100_000), num_cells, replace=False)).astype(np.int32)
    for position, cell_id in enumerate(ids):
        labels.flat[places[3 * position : 3 * position + 3]] = cell_id
    return FieldView(
        field_id=field_id,
        cell_ids=ids,
        image=rng.integers(0, 255, (4, *shape), dtype=np.uint8),
        labels=labels,
        touches_border=rng.random(num_cells) < 0.5,
        areas_um2=rng.random(num_cells) * 900,
    )


@pytest.fixture(scope="module")
def views() -> list[FieldView]:
    return [
        view_of("b", 3, (32, 48)),
        view_of("a", 300, (64, 32)),
        view_of("none", 0, (8, 8)),
        view_of("c", 1, (16, 16)),
    ]


@pytest.fixture
def store(views: list[FieldView], tmp_path: Path) -> FieldStore:
    shards = [ShardPaths.of(tmp_path / "store", name) for name in ("x", "y")]
    write_field_shard(shards[0], views[:1])
    write_field_shard(shards[1], views[1:])
    assert all(shard.is_written for shard in shards)
    return open_field_store(shards)


def test_what_was_written_is_read(store: FieldStore, views: list[FieldView]) -> None:
    rows = store.rows_of_field()
    assert list(rows) == ["a", "b", "c"]
    for view in views:
        if not len(view.cell_ids):
            continue
        own = rows[view.field_id]
        np.testing.assert_array_equal(store.cells["cell_id"].iloc[own], view.cell_ids)
        np.testing.assert_array_equal(store.cells["touches_border"].iloc[own], view.touches_border)
        images, masks = store.read(own, np.zeros(len(own), dtype=np.int64))
        height, width = view.labels.shape
        np.testing.assert_array_equal(images[0, :, :height, :width], view.image)
        ids = np.concatenate([[0], view.cell_ids])
        np.testing.assert_array_equal(ids[masks[0, :height, :width]], view.labels)


def test_a_batch_of_some_cells_in_any_order(store: FieldStore, views: list[FieldView]) -> None:
    """The slow twin looks every pixel's id up."""
    rows = store.rows_of_field()
    chosen = np.concatenate([rows["a"][[17, 4, 200]], rows["b"][[2, 0]], rows["a"][[4, 5]]])
    bag_index = np.array([0, 0, 0, 1, 1, 2, 2])
    images, masks = store.read(chosen, bag_index)
    assert images.shape == (3, 4, 64, 64)
    fields = {view.field_id: view for view in views}
    for image, (field_id, bag) in enumerate([("a", 0), ("b", 1), ("a", 2)]):
        labels = fields[field_id].labels
        expected = np.zeros((64, 64), dtype=np.int32)
        for position in np.flatnonzero(bag_index == bag):
            cell_id = store.cells["cell_id"].iloc[chosen[position]]
            expected[: labels.shape[0], : labels.shape[1]][labels == cell_id] = position + 1
        np.testing.assert_array_equal(masks[image], expected)
        assert (images[image, :, : labels.shape[0], : labels.shape[1]] == fields[field_id].image).all()


def test_a_bag_of_several_fields_has_an_image_of_each(store: FieldStore) -> None:
    rows = store.rows_of_field()
    chosen = np.array([rows["c"][0], rows["a"][3], rows["b"][1], rows["a"][7]])
    images, masks = store.read(chosen, np.array([0, 0, 1, 0]))
    assert len(images) == 3
    found = [set(np.unique(mask)) - {0} for mask in masks]
    assert sorted(map(sorted, found)) == [[1], [2, 4], [3]]


def test_the_many_cells_of_one_field_need_more_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of("many", 70_000, (500, 500))
    paths = ShardPaths.of(tmp_path, "x")
    write_field_shard(paths, [view])
    store = open_field_store([paths])
    assert store.masks[0].dtype == np.uint32
    assert store.masks[0].max() == 70_000


def test_no_cells_anywhere(tmp_path: Path) -> None:
    paths = ShardPaths.of(tmp_path, "x")
    write_field_shard(paths, [view_of("none", 0, (8, 8))])
    assert paths.is_written
    with pytest.raises(ValueError, match="No cell was found in any field"):
        open_field_store([paths])


@pytest.mark.parametrize("name", ["x.npy", "x_masks.npy"])
def test_files_of_another_shard(tmp_path: Path, name: str) -> None:
    first, second = (ShardPaths.of(tmp_path, each) for each in ("x", "y"))
    write_field_shard(first, [view_of("a", 2, (16, 16))])
    write_field_shard(second, [view_of("b", 2, (16, 24))])
    (tmp_path / name.replace("x", "y")).replace(tmp_path / name)
    with pytest.raises(ValueError, match=r"x.*npy holds \d+ pixels, the table beside it lists"):
        open_field_store([first])


def test_a_damaged_file(tmp_path: Path) -> None:
    paths = ShardPaths.of(tmp_path, "x")
    write_field_shard(paths, [view_of("a", 2, (16, 16))])
    (tmp_path / "x_masks.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"x_masks\.npy is damaged .*delete its folder"):
        open_field_store([paths])


def test_a_reader_in_another_process_maps_the_files_itself(store: FieldStore) -> None:
    sent = pickle.dumps(store)
    assert len(sent) < 2000
    received = pickle.loads(sent)
    rows = np.arange(len(store.cells))
    bags = np.zeros(len(rows), dtype=np.int64)
    for mine, theirs in zip(received.read(rows, bags), store.read(rows, bags), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert received.cells.equals(store.cells)
