"""The cell table as AnnData, the form that scanpy, squidpy and scverse know: one observation a cell."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import get_class_set
from hpa_cells.export.cell_features import CLASS_COLUMN, most_probable
from hpa_cells.export.extra import import_extra
from hpa_cells.export.h5ad import write_h5ad
from hpa_cells.provenance import Provenance
from hpa_cells.table import CELL_COLUMNS, CellTable, Column

__all__ = ["AnnDataFormat", "AnnDataKey", "read_anndata", "to_anndata", "write_anndata"]

_MASKS: Final = [Column.CELL_RLE, Column.NUCLEUS_RLE]
# How HDF5, and R behind it, can hold "no mask": a mask in run lengths is never the empty text.
_NO_MASK: Final = ""
_FORMAT: Final = "format=anndata"


class AnnDataKey:
    """The names in the AnnData that are not columns of the table; nowhere else are they spelt."""

    CLASS: Final = CLASS_COLUMN
    CLASS_COLORS: Final = f"{CLASS}_colors"
    OF_FIELD: Final = "of_field"
    SPATIAL: Final = "spatial"
    EMBEDDING: Final = "X_embedding"
    CLASS_KEY: Final = "key"
    COLOR: Final = "color"
    ABOUT: Final = "hpa_cells"
    PROVENANCE: Final = "provenance"
    FIELDS: Final = "fields"
    UNIT: Final = "spatial_unit"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnDataFormat:
    """An ``.h5ad`` file; the setting is that of `to_anndata`."""

    file_name: ClassVar[str] = "cells.h5ad"
    suffixes: ClassVar[tuple[str, ...]] = (".h5ad",)

    masks: bool = True

    def write(self, table: CellTable, path: Path) -> None:
        """See `write_anndata`."""
        write_anndata(table, path, masks=self.masks)


def to_anndata(table: CellTable, *, masks: bool = True) -> Any:
    """The cell table as `anndata.AnnData`, one observation a cell, one variable a class.

    Parameters
    ----------
    table
        The cell table, of N cells, K classes and embeddings of D numbers.
    masks
        Whether the run-length masks of cells and nuclei are among the columns. With them the table can be made again
        (`read_anndata`), and label images painted.

    Returns
    -------
    anndata.AnnData
        `X` is (N, K) float32, the probabilities; ``layers["of_field"]`` those of the cell's field as a whole, NaN where
        there are none. `obs` is named ``<field_id>/<cell_id>`` and has
        the columns of `CELL_COLUMNS` in their types, ``field_id`` as a category, and ``most_probable_class``, the first
        of the highest (missing where the table has no probabilities), with its colours in `uns`. `var` is named by
        the printed names of the classes. ``obsm["spatial"]`` is (N, 2) float64, x and y of the centroid in um from the
        top left corner of the cell's own field; ``obsm["X_embedding"]`` is (N, D) float32 where the table has
        embeddings. ``uns["hpa_cells"]`` has the provenance as JSON, and the rows of the fields.

    Raises
    ------
    ValueError
        If anndata is not installed, or cells differ in the length of their embedding.
    """
    anndata = import_extra("anndata", wanted_by=_FORMAT)
    key = AnnDataKey
    names = list(table.class_set.names)
    classes = pd.DataFrame(
        {key.CLASS_KEY: list(table.class_set.keys), key.COLOR: list(table.class_set.colors)}, index=names
    )
    embeddings = {key.EMBEDDING: _embeddings(table)} if Column.EMBEDDING in table.cells else {}
    return anndata.AnnData(
        X=table.probabilities(),
        layers={key.OF_FIELD: _of_fields(table)},
        obs=_observations(table, masks=masks),
        var=classes,
        obsm={key.SPATIAL: _centroids_um(table.cells)} | embeddings,
        uns={
            key.CLASS_COLORS: list(table.class_set.colors),
            key.ABOUT: {
                key.PROVENANCE: json.dumps(asdict(table.provenance)),
                key.FIELDS: table.fields.set_axis(table.fields.index.astype(str)),
                key.UNIT: "um",
            },
        },
    )


def _of_fields(table: CellTable) -> NDArray[np.float32]:
    """(N, K) float32, for each cell the probabilities of its field as a whole."""
    rows = pd.Index(table.fields[Column.FIELD_ID]).get_indexer(table.cells[Column.FIELD_ID])
    of_fields: NDArray[np.float32] = table.field_probabilities()[rows]
    return of_fields


def write_anndata(table: CellTable, path: Path, *, masks: bool = True) -> None:
    """Write `to_anndata` as an ``.h5ad`` file, which appears whole or not at all."""
    cells = to_anndata(table, masks=masks)
    with replaced_on_success(path) as temporary:
        write_h5ad(cells, temporary, compression="gzip", wanted_by=_FORMAT)


def read_anndata(path: Path) -> CellTable:
    """The cell table that `write_anndata` wrote, in every row, column and type as it was.

    Without masks, if it was written without them. What was computed since is left aside, and observations that were
    left out stay out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no ``.h5ad`` file of `write_anndata`, or anndata is not installed.
    """
    anndata = import_extra("anndata", wanted_by="read_anndata")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give the file that format=anndata wrote.")
    try:
        return _from_anndata(anndata.read_h5ad(path))
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is no cell table in AnnData ({error}): write it again with `hpa-cells export format=anndata`."
        ) from error


def _from_anndata(cells: Any) -> CellTable:
    """The way back from `to_anndata`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or of another kind.
    """
    about = cells.uns[AnnDataKey.ABOUT]
    provenance = Provenance(**json.loads(str(about[AnnDataKey.PROVENANCE])))
    class_set = get_class_set(provenance.class_set)
    columns = [name for name in CELL_COLUMNS if name in cells.obs or name not in _MASKS]
    rows = cells.obs[columns].reset_index(drop=True)
    for name in rows.columns.intersection([Column.FIELD_ID, *_MASKS]):
        rows[name] = rows[name].astype(object)
    if Column.NUCLEUS_RLE in rows:
        rows[Column.NUCLEUS_RLE] = rows[Column.NUCLEUS_RLE].where(rows[Column.NUCLEUS_RLE] != _NO_MASK, None)
    probabilities = pd.DataFrame(
        np.asarray(cells[:, list(class_set.names)].X, dtype=np.float32),
        columns=Column.probabilities(class_set),
    )
    rows = pd.concat([rows, probabilities], axis=1)
    if AnnDataKey.EMBEDDING in cells.obsm:
        embeddings = np.asarray(cells.obsm[AnnDataKey.EMBEDDING], dtype=np.float32)
        rows[Column.EMBEDDING] = pd.Series(list(embeddings), dtype=object)
    fields = about[AnnDataKey.FIELDS].reset_index(drop=True)
    fields[Column.FIELD_ID] = fields[Column.FIELD_ID].astype(object)
    return CellTable(cells=rows, fields=fields, class_set=class_set, provenance=provenance)


def _observations(table: CellTable, *, masks: bool) -> pd.DataFrame:
    """The columns of `obs`, by unique name of the cell."""
    columns = [name for name in CELL_COLUMNS if name in table.cells and (masks or name not in _MASKS)]
    rows = table.cells[columns].copy()
    rows.index = pd.Index(
        rows[Column.FIELD_ID].astype(str) + "/" + rows[Column.CELL_ID].astype(str), dtype=object
    )
    rows[Column.FIELD_ID] = pd.Categorical(rows[Column.FIELD_ID])
    for name in rows.columns.intersection(_MASKS):
        rows[name] = rows[name].astype(object).fillna(_NO_MASK)
    codes = most_probable(table.probabilities())
    rows[AnnDataKey.CLASS] = pd.Categorical.from_codes(codes, categories=pd.Index(table.class_set.names))
    return rows


def _centroids_um(cells: pd.DataFrame) -> NDArray[np.float64]:
    """(N, 2) float64, x and y from the corner of the field: the centre of its first pixel is half a pixel away."""
    centroids_px = cells[[Column.CENTROID_X_PX, Column.CENTROID_Y_PX]].to_numpy(np.float64)
    pixel_size_um: NDArray[np.float64] = cells[Column.PIXEL_SIZE_UM].to_numpy(np.float64)
    return (centroids_px + 0.5) * pixel_size_um[:, None]


def _embeddings(table: CellTable) -> NDArray[np.float32]:
    """(N, D) float32."""
    embeddings = table.cells[Column.EMBEDDING].tolist()
    lengths = {-1 if each is None else len(each) for each in embeddings}
    if len(lengths) > 1 or -1 in lengths:
        raise ValueError(
            "The cells of the table have embeddings of different lengths, or some have none: make it again with "
            "`hpa-cells predict` and one model."
        )
    stacked: NDArray[np.float32] = np.array(embeddings, dtype=np.float32).reshape(
        len(embeddings), -1 if lengths else 0
    )
    return stacked
