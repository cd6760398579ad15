"""Embeddings of cells as a cell table carries them, read without the masks, and what is made of them.

Of each shard only ids, probabilities and embeddings are read: (N, D) and (N, K) numbers are kept, whatever else is in
the table. Shapes: N cells of F fields, D embedding size, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.explore.shards import finished_shards, provenance_of
from hpa_cells.table import Column

__all__ = [
    "CellEmbeddings",
    "carries_embeddings",
    "mean_per_field",
    "plane",
    "read_embeddings",
    "standardised",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellEmbeddings:
    """Cells of some fields, in order of field and cell id.

    Attributes
    ----------
    class_set
        The K classes.
    field_ids
        (F,) names of the fields that have a cell, sorted.
    field_of_cell
        (N,) int64, the position in `field_ids` of each cell's field; ascending.
    cell_ids
        (N,) int32.
    vectors
        (N, D) float32.
    probabilities
        (N, K) float32.
    """

    class_set: ClassSet
    field_ids: tuple[str, ...]
    field_of_cell: NDArray[np.int64]
    cell_ids: NDArray[np.int32]
    vectors: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        num_cells = len(self.cell_ids)
        if not len(self.field_of_cell) == len(self.vectors) == len(self.probabilities) == num_cells:
            raise ValueError(
                f"There are {num_cells} cell ids, {len(self.field_of_cell)} fields of cells, {len(self.vectors)} "
                f"vectors and {len(self.probabilities)} rows of probabilities: give one each a cell."
            )
        if (np.bincount(self.field_of_cell, minlength=len(self.field_ids)) == 0).any():
            raise ValueError("A field has no cell: leave it out.")

    def __len__(self) -> int:
        return len(self.cell_ids)


def carries_embeddings(folder: Path | str) -> bool:
    """Whether the cell table in this folder has embeddings, in all shards that hold a cell."""
    shards = [pq.ParquetFile(path.absolute()) for path in finished_shards(Path(folder), "cells")]
    with_cells = [shard for shard in shards if shard.metadata.num_rows]
    return bool(with_cells) and all(Column.EMBEDDING in shard.schema_arrow.names for shard in with_cells)


def read_embeddings(folder: Path | str) -> CellEmbeddings:
    """The cells of a cell table with their embeddings.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished field.
    ValueError
        If the table has no cell or carries no embeddings, or they differ in length.
    """
    folder = Path(folder)
    if not carries_embeddings(folder):
        raise ValueError(
            f"{folder} carries no embeddings: give a table that `hpa-cells predict embeddings=true` wrote and that "
            "has a cell. (A table that is out of fold has none: each fold's model has a space of its own.)"
        )
    class_set = get_class_set(provenance_of(folder).class_set)
    names = [Column.FIELD_ID, Column.CELL_ID, *Column.probabilities(class_set), Column.EMBEDDING]
    vectors, rows = [], []
    for path in finished_shards(folder, "cells"):
        shard = pq.ParquetFile(path.absolute())
        if shard.metadata.num_rows:
            columns = shard.read(columns=names)
            vectors.append(_stacked(columns[Column.EMBEDDING], path))
            rows.append(columns.drop_columns([Column.EMBEDDING]).to_pandas())
    lengths = sorted({each.shape[1] for each in vectors})
    if len(lengths) > 1:
        raise ValueError(f"{folder} has embeddings of {lengths} numbers: keep the run of one model a folder.")
    cells = pd.concat(rows, ignore_index=True)
    order = cells.sort_values([Column.FIELD_ID, Column.CELL_ID]).index.to_numpy()
    field_ids, field_of_cell = np.unique(
        cells[Column.FIELD_ID].to_numpy(dtype=str)[order], return_inverse=True
    )
    return CellEmbeddings(
        class_set=class_set,
        field_ids=tuple(map(str, field_ids)),
        field_of_cell=field_of_cell.astype(np.int64),
        cell_ids=cells[Column.CELL_ID].to_numpy(dtype=np.int32)[order],
        vectors=np.concatenate(vectors)[order],
        probabilities=cells[Column.probabilities(class_set)].to_numpy(dtype=np.float32)[order],
    )


def standardised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vectors with mean 0 and variance 1 in each dimension, so that none rules the distances.

    Returns
    -------
    (N, D) float32; 0 in a dimension that is the same for all.
    """
    mean, deviation = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    # What rounding leaves of a constant must not be blown up.
    varies = deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    scaled: NDArray[np.float32] = ((vectors - mean.astype(np.float32)) * scale.astype(np.float32)).astype(
        np.float32
    )
    return scaled


def mean_per_field(vectors: NDArray[np.float32], field_of_cell: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean of each field's cells, (F, D) float32; `field_of_cell` is ascending and leaves no field out."""
    if not len(field_of_cell):
        return vectors[:0]
    starts = np.flatnonzero(np.diff(field_of_cell, prepend=-1))
    sums = np.add.reduceat(vectors, starts, axis=0, dtype=np.float64)
    means: NDArray[np.float32] = (sums / np.bincount(field_of_cell)[:, None]).astype(np.float32)
    return means


def plane(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector's place on the two axes along which they vary most: their first principal components.

    The sign of an axis, which is arbitrary, is such that its largest weight is positive.

    Parameters
    ----------
    vectors
        (N, D), as from `standardised`.

    Returns
    -------
    (N, 2) float32; 0 along an axis for which there is no variation left.
    """
    axes = np.zeros((2, vectors.shape[1]), dtype=np.float32)
    if len(vectors):
        centred = vectors - vectors.mean(axis=0)
        # Of (D, D) numbers, however many cells there are.
        covariance = centred.T @ centred / len(vectors)
        variances, components = np.linalg.eigh(covariance.astype(np.float64))
        found = components.T[::-1][: min(2, len(variances))]
        found = found * np.where(variances[::-1][:2, None] > 1e-9 * max(variances[-1], 1e-30), 1, 0)
        signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])
        axes[: len(found)] = found * signs[:, None]
        vectors = centred
    places: NDArray[np.float32] = vectors @ axes.T
    return places


def _stacked(column: pa.ChunkedArray, path: Path) -> NDArray[np.float32]:
    """A column of lists as (rows, D) float32, without a Python object a cell."""
    lists = column.combine_chunks()
    lengths = np.unique(lists.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) != 1 or not lengths[0] > 0:
        raise ValueError(
            f"{path} has embeddings of {lengths.tolist()} numbers, expected one length for all cells."
        )
    values: NDArray[np.float32] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), int(lengths[0]))
