from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.classes import get_class_set
from hpa_cells.explore import CellEmbeddings, carries_embeddings, read_embeddings
from hpa_cells.explore.embeddings import mean_per_field, plane, standardised
from hpa_cells.table import read_table


def vectors_of(number: int, size: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, size)).astype(np.float32)


def test_cells_are_read_in_the_order_of_the_table(write_table: Callable[..., Path]) -> None:
    folder = write_table({"c": vectors_of(4, seed=1), "b": np.zeros((0, 3)), "a": vectors_of(2, seed=2)})
    found, table = read_embeddings(folder), read_table(folder)
    assert found.field_ids == ("a", "c")
    assert [found.field_ids[each] for each in found.field_of_cell] == table.cells["field_id"].tolist()
    assert found.cell_ids.tolist() == table.cells["cell_id"].tolist() == [11, 12, 11, 12, 13, 14]
    np.testing.assert_array_equal(found.vectors, np.stack(table.cells["embedding"]))
    np.testing.assert_array_equal(found.probabilities, table.probabilities())
    assert (found.vectors.dtype, found.cell_ids.dtype, len(found)) == (np.float32, np.int32, 6)


def test_masks_are_never_read(write_table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_table({"a": vectors_of(2)})
    read, asked = pq.ParquetFile.read, []
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda self, columns: asked.extend(columns) or read(self, columns=columns)
    )
    read_embeddings(folder)
    assert {"embedding", "p_cytosol", "cell_id"} < set(asked)
    assert not {"cell_rle", "nucleus_rle"} & set(asked)


def test_whether_a_table_carries_embeddings(write_table: Callable[..., Path]) -> None:
    # Two fields a shard: the first shard has no cell at all.
    assert carries_embeddings(write_table({"a": 0, "b": 0, "c": vectors_of(1)}))


@pytest.mark.parametrize("cells", [{"a": 3}, {"a": 0}, {"a": np.zeros((2, 3)), "b": 1}])
def test_a_table_without_embeddings(write_table: Callable[..., Path], cells: dict[str, int]) -> None:
    folder = write_table(cells, shard_fields=1)
    assert not carries_embeddings(folder)
    with pytest.raises(ValueError, match=r"run carries no embeddings: give a table .* embeddings=true"):
        read_embeddings(folder)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no cell table"):
        carries_embeddings(tmp_path)


def test_embeddings_of_several_lengths(write_table: Callable[..., Path]) -> None:
    folder = write_table({"a": vectors_of(1), "b": vectors_of(1, size=4)}, shard_fields=1)
    with pytest.raises(ValueError, match=r"embeddings of \[3, 4\] numbers"):
        read_embeddings(folder)


def test_embeddings_of_several_lengths_in_one_shard(write_table: Callable[..., Path]) -> None:
    folder = write_table({"a": vectors_of(1), "b": vectors_of(1, size=4)})
    with pytest.raises(ValueError, match=r"cells-000000.parquet has embeddings of \[3, 4\] numbers"):
        read_embeddings(folder)


def test_what_does_not_belong_together() -> None:
    whole = {
        "class_set": get_class_set("hpa2021"),
        "field_ids": ("a",),
        "field_of_cell": np.zeros(2, np.int64),
        "cell_ids": np.arange(2, dtype=np.int32),
        "vectors": np.zeros((2, 3), np.float32),
        "probabilities": np.zeros((2, 19), np.float32),
    }
    assert len(CellEmbeddings(**whole)) == 2
    with pytest.raises(ValueError, match="2 cell ids, 2 fields of cells, 1 vectors"):
        CellEmbeddings(**whole | {"vectors": np.zeros((1, 3), np.float32)})
    with pytest.raises(ValueError, match="A field has no cell"):
        CellEmbeddings(**whole | {"field_ids": ("a", "b")})


def test_standardised_is_mean_0_and_variance_1_but_for_constants() -> None:
    vectors = 1000 + vectors_of(50, 4) * [1, 10, 0.1, 0]
    found = standardised(vectors.astype(np.float32))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found[:, :2].std(axis=0), 1, rtol=1e-3)
    assert not found[:, 3].any()
    assert standardised(vectors_of(1)).tolist() == [[0, 0, 0]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_mean_per_field_is_that_of_a_loop(sizes: list[int]) -> None:
    field_of_cell = np.repeat(np.arange(len(sizes)), sizes)
    vectors = vectors_of(sum(sizes))
    expected = [vectors[field_of_cell == field].mean(axis=0) for field in range(len(sizes))]
    np.testing.assert_allclose(mean_per_field(vectors, field_of_cell), expected, rtol=1e-5, atol=1e-6)


def test_mean_of_no_field() -> None:
    assert mean_per_field(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)).shape == (0, 3)


def test_the_plane_keeps_most_of_what_varies() -> None:
    vectors = vectors_of(200, 6) * [1, 5, 1, 3, 1, 1] + 7
    places = plane(vectors.astype(np.float32))
    centred = vectors - vectors.mean(axis=0)
    # A singular value decomposition gives the same axes up to their signs.
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    for axis in range(2):
        sign = np.sign(places[0, axis] * expected[0, axis])
        np.testing.assert_allclose(places[:, axis], sign * expected[:, axis], rtol=1e-2, atol=1e-2)
    assert np.corrcoef(places[:, 0], vectors[:, 1])[0, 1] > 0.99


def test_the_sign_of_an_axis_does_not_depend_on_the_order_of_cells() -> None:
    vectors = vectors_of(100, 5) * np.arange(1, 6, dtype=np.float32)
    np.testing.assert_allclose(plane(vectors[::-1])[::-1], plane(vectors), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 1)])
def test_the_plane_of_few(shape: tuple[int, int]) -> None:
    places = plane(vectors_of(*shape))
    assert places.shape == (shape[0], 2)
    assert not places[:, 1].any()
    assert places[:, 0].any() == (shape == (4, 1))
