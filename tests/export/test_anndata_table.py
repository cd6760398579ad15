"""The cell table as AnnData: what scanpy sees, and the way back."""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.export import AnnDataFormat, read_anndata, to_anndata, write_anndata
from hpa_cells.table import CellTable, Provenance, TableWriter, read_table
from hpa_cells.types import Segmentation

HOSTILE = ["=cmd()", "'a b'", "名前 é", "NA", "a%2F#", "1e5", "nan"]


@pytest.fixture
def table(make_table) -> CellTable:
    """300 cells in one field that is not square, ids beyond 8 and 16 bit, a field without cells, hostile ids."""
    many = np.zeros((20, 60), np.int32)
    many[:, :] = 1 + np.arange(1200).reshape(20, 60) // 4
    large = np.zeros((9, 14), np.int32)
    large[2:5, 3:9], large[6:, :4] = 70_000, 2**31 - 1
    fields = {"many": many, "large": large, "empty": np.zeros((5, 7), np.int32)}
    hostile = {field_id: np.full((3, 4), 2, np.int32) for field_id in HOSTILE}
    return make_table(fields | hostile, embeddings=6)


def assert_same(found: CellTable, wanted: CellTable) -> None:
    pd.testing.assert_frame_equal(found.cells, wanted.cells, check_exact=True)
    pd.testing.assert_frame_equal(found.fields, wanted.fields, check_exact=True)
    assert found.class_set == wanted.class_set
    assert found.provenance == wanted.provenance


def test_there_and_back(table: CellTable, tmp_path: Path) -> None:
    write_anndata(table, tmp_path / "cells.h5ad")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]
    assert_same(read_anndata(tmp_path / "cells.h5ad"), table)


@pytest.mark.parametrize("embeddings", [0, 1, 5])
def test_there_and_back_with_nuclei_and_settings(tmp_path: Path, embeddings: int, make_table) -> None:
    """Cells with and without a nucleus; settings of a depth that HDF5 does not hold."""
    table = make_table({"a": np.repeat(np.array([[4, 9]], np.int32), 5, axis=0)}, embeddings=embeddings)
    table.cells["nucleus_rle"] = [table.cells["cell_rle"][0], None]
    settings = {"tta": {"name": "d4", "of": [1, None, {"x": 0.1}]}, "none": None}
    table = replace(table, provenance=replace(table.provenance, settings=settings))
    write_anndata(table, tmp_path / "cells.h5ad")
    assert_same(read_anndata(tmp_path / "cells.h5ad"), table)
    assert ("X_embedding" in anndata.read_h5ad(tmp_path / "cells.h5ad").obsm) == (embeddings > 0)


def test_without_masks(table: CellTable, tmp_path: Path) -> None:
    AnnDataFormat(masks=False).write(table, tmp_path / "cells.h5ad")
    wanted = replace(table, cells=table.cells.drop(columns=["cell_rle", "nucleus_rle"]))
    assert_same(read_anndata(tmp_path / "cells.h5ad"), wanted)


@pytest.mark.parametrize("embeddings", [0, 4])
def test_no_cells_at_all(make_table, tmp_path: Path, embeddings: int) -> None:
    table = make_table({"a": np.zeros((4, 6), np.int32)}, embeddings=embeddings)
    write_anndata(table, tmp_path / "cells.h5ad")
    found = read_anndata(tmp_path / "cells.h5ad")
    assert len(found.cells) == 0
    pd.testing.assert_frame_equal(found.fields, table.fields)


def test_a_table_without_probabilities(tmp_path: Path) -> None:
    labels = np.eye(5, 8, dtype=np.int32)
    segmentation = Segmentation(field_id="a", cells=labels, nuclei=np.zeros_like(labels), pixel_size_um=0.1)
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(tmp_path / "run", provenance=provenance) as writer:
        writer.add(cells=cell_rows(segmentation, None), field_row=field_row(segmentation, None))
    table = read_table(tmp_path / "run")
    write_anndata(table, tmp_path / "cells.h5ad")
    assert anndata.read_h5ad(tmp_path / "cells.h5ad").obs["most_probable_class"].isna().all()
    assert_same(read_anndata(tmp_path / "cells.h5ad"), table)


def test_what_others_see(table: CellTable, tmp_path: Path) -> None:
    """Cell by cell, from the rows of the table."""
    write_anndata(table, tmp_path / "cells.h5ad")
    cells = anndata.read_h5ad(tmp_path / "cells.h5ad")
    classes = get_class_set("hpa2021")
    assert cells.X.dtype == np.float32
    assert cells.var_names.tolist() == list(classes.names)
    assert cells.var["key"].tolist() == list(classes.keys)
    assert cells.obs_names.is_unique
    assert cells.obs["cell_id"].dtype == np.int32
    assert cells.obs["touches_border"].dtype == bool
    assert cells.obs["field_id"].dtype == "category"
    assert len(cells) == len(table.cells) == 300 + 2 + len(HOSTILE)
    assert list(cells.layers) == ["of_field"]
    for row, wanted in table.cells.iterrows():
        name = f"{wanted['field_id']}/{wanted['cell_id']}"
        one = cells[name]
        np.testing.assert_array_equal(one.X.ravel(), [wanted[f"p_{key}"] for key in classes.keys])
        np.testing.assert_array_equal(one.obsm["X_embedding"].ravel(), wanted["embedding"])
        x_um = (wanted["centroid_x_px"] + 0.5) * wanted["pixel_size_um"]
        y_um = (wanted["centroid_y_px"] + 0.5) * wanted["pixel_size_um"]
        np.testing.assert_allclose(one.obsm["spatial"].ravel(), [x_um, y_um])
        best = max(classes.locations, key=lambda location: wanted[f"p_{location.key}"])
        assert one.obs["most_probable_class"].item() == best.name
        if row == 20:
            break


def test_the_layer_has_what_the_field_says(table: CellTable) -> None:
    of_field = to_anndata(table).layers["of_field"]
    columns = [name for name in table.fields if name.startswith("p_")]
    by_id = table.fields.set_index("field_id")[columns]
    for row in (0, len(table.cells) // 2, len(table.cells) - 1):
        np.testing.assert_array_equal(of_field[row], by_id.loc[table.cells["field_id"].iloc[row]])


def test_colours_follow_the_categories(table: CellTable) -> None:
    cells = to_anndata(table)
    colors = dict(
        zip(
            cells.obs["most_probable_class"].cat.categories,
            cells.uns["most_probable_class_colors"],
            strict=True,
        )
    )
    assert colors == {location.name: location.color for location in table.class_set.locations}
    assert cells.var["color"].to_dict() == colors


def test_the_first_of_equal_probabilities(make_table) -> None:
    table = make_table({"a": np.ones((3, 3), np.int32)})
    names = [name for name in table.cells if name.startswith("p_")]
    table.cells[names] = np.float32(0.25)
    table.cells.loc[0, names[0]] = np.float32(np.nan)
    assert to_anndata(table).obs["most_probable_class"].tolist() == [table.class_set.names[1]]


def test_the_table_stays_as_it_was(table: CellTable) -> None:
    before = table.cells.copy(deep=True)
    to_anndata(table).obs["cell_id"] = 0
    pd.testing.assert_frame_equal(table.cells, before)


def test_a_part_of_the_cells_reads_back(table: CellTable, tmp_path: Path) -> None:
    """What an analysis leaves out stays out, and what it adds is left aside."""
    cells = to_anndata(table)
    cells.obs["cluster"] = "a"
    cells.obsm["X_umap"] = np.zeros((len(cells), 2))
    kept = cells[cells.obs["field_id"] == "large"].copy()
    kept.write_h5ad(tmp_path / "kept.h5ad")
    wanted = table.cells[table.cells["field_id"] == "large"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_anndata(tmp_path / "kept.h5ad").cells, wanted, check_exact=True)


@pytest.mark.parametrize("content", ["none", "text", "cut", "strange"])
def test_a_file_that_is_none(table: CellTable, tmp_path: Path, content: str) -> None:
    path = tmp_path / "cells.h5ad"
    if content == "none":
        with pytest.raises(FileNotFoundError, match=r"cells\.h5ad does not exist"):
            read_anndata(path)
        return
    if content == "strange":
        anndata.AnnData(X=np.zeros((2, 3), np.float32)).write_h5ad(path)
    else:
        write_anndata(table, path)
        path.write_bytes(path.read_bytes()[:3000] if content == "cut" else b"no HDF5")
    with pytest.raises(ValueError, match=r"cells\.h5ad is no cell table in AnnData"):
        read_anndata(path)


def test_embeddings_of_different_lengths(table: CellTable, tmp_path: Path) -> None:
    table.cells.at[3, "embedding"] = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="embeddings of different lengths"):
        write_anndata(table, tmp_path / "cells.h5ad")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package(table: CellTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpa_cells.export import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    message = r'format=anndata needs the package anndata, .*pip install "hpa-cells\[export\]"'
    with pytest.raises(ValueError, match=message):
        write_anndata(table, tmp_path / "cells.h5ad")


@pytest.mark.slow
def test_scanpy_goes_on_from_it(table: CellTable, tmp_path: Path) -> None:
    """Neighbours, a map and groups, from the embedding and from the probabilities."""
    write_anndata(table, tmp_path / "cells.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc

        cells = sc.read_h5ad(tmp_path / "cells.h5ad")
        sc.pp.neighbors(cells, use_rep="X_embedding", n_neighbors=5)
        sc.tl.umap(cells, maxiter=5)
        sc.pp.neighbors(cells, use_rep="X", n_neighbors=5, key_added="by_class")
        # Three cells of a group are enough for a test.
        common = cells.obs["most_probable_class"].value_counts()
        cells = cells[cells.obs["most_probable_class"].isin(common[common > 2].index)].copy()
        sc.tl.rank_genes_groups(cells, "most_probable_class", method="t-test")
    assert cells.obsm["X_umap"].shape == (len(cells), 2)
    assert np.isfinite(cells.obsm["X_umap"]).all()
    shown = dict(
        zip(
            cells.obs["most_probable_class"].cat.categories,
            cells.uns["most_probable_class_colors"],
            strict=True,
        )
    )
    wanted = {location.name: location.color for location in table.class_set.locations}
    assert shown.items() <= wanted.items()


def test_a_full_disk_is_told_and_ends_nothing(
    make_table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What HDF5 itself cannot write to a full disk ends the process: it must not come to that."""

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_anndata(make_table({"a": np.ones((3, 3), np.int32)}), tmp_path / "cells.h5ad")
    assert not list(tmp_path.iterdir())


def test_the_file_is_as_anndata_writes_it(make_table, tmp_path: Path) -> None:
    labels = np.zeros((3, 5), np.int32)
    labels[:2, :2], labels[2, 4] = 7, 300
    table = make_table({"a": labels, "b": np.ones((2, 9), np.int32)}, embeddings=4)
    write_anndata(table, tmp_path / "ours.h5ad")
    to_anndata(table).write_h5ad(
        tmp_path / "theirs.h5ad", convert_strings_to_categoricals=False, compression="gzip"
    )
    ours, theirs = (contents(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs"))
    assert ours == theirs


def contents(path: Path) -> dict[str, object]:
    """Every group and array of a file with its attributes, type, compression and values."""
    found: dict[str, object] = {}

    def look(name: str, node: h5py.Group | h5py.Dataset) -> None:
        attributes = {key: str(value) for key, value in node.attrs.items()}
        array = (str(node.dtype), node.compression, str(node[()])) if isinstance(node, h5py.Dataset) else None
        found[name] = attributes, array

    with h5py.File(path) as file:
        look("/", file)
        file.visititems(look)
    return found
