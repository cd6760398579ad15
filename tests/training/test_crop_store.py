from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.training.crop_store import CropStore, ShardPaths, open_store, write_shard
from hpa_cells.types import CellCrops


def crops_of(field_id: str, num_cells: int, seed: int = 0) -> CellCrops:
    rng = np.random.default_rng([seed, num_cells])
    return CellCrops(
        field_id=field_id,
        cell_ids=np.sort(rng.choice(70_000, num_cells, replace=False) + 1).astype(np.int32),
        images=rng.integers(0, 256, (num_cells, 4, 8, 8), dtype=np.uint8),
        touches_border=rng.random(num_cells) < 0.5,
        areas_um2=rng.random(num_cells) * 900,
    )


@pytest.fixture
def parts() -> list[CellCrops]:
    return [crops_of("b", 3), crops_of("a", 300), crops_of("none", 0), crops_of("c", 1)]


def write(folder: Path, parts: list[CellCrops]) -> CropStore:
    shards = [ShardPaths.of(folder, name) for name in ("x", "y")]
    write_shard(shards[0], parts[:2])
    write_shard(shards[1], parts[2:])
    return open_store(shards)


def test_what_goes_in_comes_out(tmp_path: Path, parts: list[CellCrops]) -> None:
    store = write(tmp_path, parts)
    for part in parts:
        rows = store.rows_of_field().get(part.field_id, np.array([], dtype=np.int64))
        np.testing.assert_array_equal(store.read(rows), part.images)
        np.testing.assert_array_equal(store.cells["cell_id"].iloc[rows], part.cell_ids)
        np.testing.assert_array_equal(store.cells["touches_border"].iloc[rows], part.touches_border)
        np.testing.assert_array_equal(store.cells["area_um2"].iloc[rows], part.areas_um2)


def test_rows_in_any_order_across_shards(tmp_path: Path, parts: list[CellCrops]) -> None:
    store = write(tmp_path, parts)
    everything = np.concatenate([part.images for part in parts])
    rows = np.random.default_rng(1).permutation(len(everything))[:50]
    np.testing.assert_array_equal(store.read(rows), everything[rows])


def test_fields_without_cells_have_no_rows(tmp_path: Path, parts: list[CellCrops]) -> None:
    assert sorted(write(tmp_path, parts).rows_of_field()) == ["a", "b", "c"]


def test_no_cell_at_all_is_an_error(tmp_path: Path) -> None:
    paths = ShardPaths.of(tmp_path, "x")
    write_shard(paths, [crops_of("none", 0)])
    with pytest.raises(ValueError, match=r"No cell was found in any field"):
        open_store([paths])


def test_a_shard_is_complete_only_with_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    paths = ShardPaths.of(tmp_path, "x")
    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    with pytest.raises(OSError, match=r"No space"):
        write_shard(paths, [crops_of("a", 2)])
    assert not paths.is_written


@pytest.mark.parametrize("length", [0, 50, -100])
def test_truncated_images(tmp_path: Path, length: int) -> None:
    paths = ShardPaths.of(tmp_path, "x")
    write_shard(paths, [crops_of("a", 5)])
    paths.images.write_bytes(paths.images.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"x\.npy is damaged .*delete its folder"):
        open_store([paths])


def test_images_of_another_shard(tmp_path: Path) -> None:
    first, second = (ShardPaths.of(tmp_path, name) for name in ("x", "y"))
    write_shard(first, [crops_of("a", 5)])
    write_shard(second, [crops_of("b", 6)])
    second.images.replace(first.images)
    with pytest.raises(ValueError, match=r"holds 6 crops, the table beside it lists 5"):
        open_store([first])


def test_a_reader_in_another_process_maps_the_files_itself(tmp_path: Path) -> None:
    parts = [crops_of("a", 300), crops_of("b", 200)]
    store = write(tmp_path, [*parts, crops_of("none", 0)])
    sent = pickle.dumps(store)
    assert len(sent) < 2000
    received = pickle.loads(sent)
    assert all(isinstance(shard, np.memmap) for shard in received.shards)
    rows = np.arange(len(store.cells))
    np.testing.assert_array_equal(received.read(rows), store.read(rows))
    assert received.cells.equals(store.cells)
    in_memory = CropStore(cells=store.cells, shards=(np.array(store.shards[0]),), starts=store.starts[:1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(in_memory)).read(rows[:9]), store.read(rows[:9]))
