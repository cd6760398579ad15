"""Single cells as images, read as scPortrait and anndata do."""

from __future__ import annotations

import errno
import logging
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from hpa_cells.cells import normalise_field
from hpa_cells.export import CropsFormat, H5scFormat, open_fields, write_h5sc


@pytest.fixture(scope="module")
def path(pixel_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "cells.h5sc"
    write_h5sc(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), out)
    return out


def crop_of(pixel_run, row: pd.Series, side: int, *, masked: bool = True) -> np.ndarray:
    """(6, side, side) pixel by pixel."""
    segmentation, field = pixel_run.segmentations[row["field_id"]], pixel_run.fields[row["field_id"]]
    channels = normalise_field(field)
    found = np.zeros((6, side, side))
    for y, x in np.ndindex(side, side):
        at_y = row["bbox_y_px"] + row["bbox_height_px"] // 2 - side // 2 + y
        at_x = row["bbox_x_px"] + row["bbox_width_px"] // 2 - side // 2 + x
        if not (0 <= at_y < field.height_px and 0 <= at_x < field.width_px):
            continue
        found[0, y, x] = segmentation.nuclei[at_y, at_x] == row["cell_id"]
        found[1, y, x] = segmentation.cells[at_y, at_x] == row["cell_id"]
        if found[1, y, x] or not masked:
            found[2:, y, x] = channels[:, at_y, at_x] / 255
    return found


def test_every_cell_has_its_image(path: Path, pixel_run) -> None:
    """As many as the table has rows, in its order, also at the edge; against a slow twin."""
    cells = pixel_run.table.cells
    with h5py.File(path) as file:
        images = file["obsm/single_cell_images"]
        assert images.dtype == np.float16
        # The largest cell is 60 px wide: one of the cells of 8 px goes on in the next row.
        side = images.shape[-1]
        assert images.shape == (len(cells), 6, side, side)
        assert side % 8 == 0
        assert side - 8 < cells[["bbox_width_px", "bbox_height_px"]].to_numpy().max() <= side
        assert images.chunks == (1, 1, side, side)
        for row in [0, 1, 2, 3, 10, len(cells) - 1]:
            np.testing.assert_allclose(images[row], crop_of(pixel_run, cells.iloc[row], side), atol=1e-3)
        # Unique in the file, for scPortrait; what is unique in the field is beside it.
        assert file["obs/scportrait_cell_id"][:].tolist() == list(range(1, len(cells) + 1))
        assert file["obs/cell_id"][:].tolist() == cells["cell_id"].tolist()
        # Nothing is cut off: the masks have the areas of the table.
        np.testing.assert_array_equal(images[:, 1].sum(axis=(1, 2), dtype=np.float64), cells["area_px"])
        np.testing.assert_array_equal(
            images[:, 0].sum(axis=(1, 2), dtype=np.float64), cells["nucleus_area_px"]
        )


def test_what_scportrait_looks_for(path: Path, pixel_run) -> None:
    """The names of its reader and data set, in obs, var, uns and the attributes of the array."""
    cells = anndata.read_h5ad(path)
    num_cells, side = len(pixel_run.table.cells), cells.obsm["single_cell_images"].shape[-1]
    assert cells.obs["scportrait_cell_id"].dtype == np.uint64
    assert cells.var_names.tolist() == ["0", "1", "2", "3", "4", "5"]
    names = ["seg_all_nucleus", "seg_all_cytosol", "microtubules", "protein", "nucleus", "ER"]
    kinds = ["mask", "mask", "image_channel", "image_channel", "image_channel", "image_channel"]
    assert cells.var["channels"].tolist() == names
    assert cells.var["channel_mapping"].tolist() == kinds
    with h5py.File(path) as file:
        attributes = dict(file["obsm/single_cell_images"].attrs)
    about = cells.uns["single_cell_images"]
    for found in (attributes, about):
        assert [
            each.decode() if isinstance(each, bytes) else each for each in found["channel_names"]
        ] == names
        assert (found["n_cells"], found["n_channels"], found["n_masks"]) == (num_cells, 6, 2)
        assert (found["n_image_channels"], found["image_size"], found["image_size_x"]) == (4, side, side)
    assert attributes["encoding-type"] == "array"


def test_what_is_known_of_each_cell(path: Path, pixel_run) -> None:
    cells, wanted = anndata.read_h5ad(path), pixel_run.table.cells
    assert cells.obs["field_id"].tolist() == wanted["field_id"].tolist()
    np.testing.assert_array_equal(cells.obs["p_cytosol"], wanted["p_cytosol"])
    np.testing.assert_array_equal(cells.obsm["X_embedding"], np.stack(wanted["embedding"]))
    assert cells.obs["most_probable_class"].dtype == "category"


def test_shrunk_and_unmasked(pixel_run, tmp_path: Path) -> None:
    """Each pixel the mean of nine; neighbours are seen."""
    path = tmp_path / "cells.h5sc"
    H5scFormat(size_px=16, shrink=3, masked=False).write_with_fields(
        pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), path
    )
    with h5py.File(path) as file:
        images = file["obsm/single_cell_images"]
        assert images.shape[-1] == 16
        for row in (0, 1, 2, 50):
            whole = crop_of(pixel_run, pixel_run.table.cells.iloc[row], 48, masked=False)
            wanted = whole.reshape(6, 16, 3, 16, 3).mean(axis=(2, 4))
            np.testing.assert_allclose(images[row], wanted, atol=1e-3)


def test_cells_that_do_not_fit_are_told(pixel_run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        write_h5sc(
            pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path / "c.h5sc", size_px=10
        )
    sides = pixel_run.table.cells[["bbox_width_px", "bbox_height_px"]].max(axis=1)
    assert f"{(sides > 10).sum()} of {len(sides)} cells are larger than 10 px, up to 60" in caplog.text


def test_no_cells_at_all(pixel_run, tmp_path: Path) -> None:
    from dataclasses import replace

    empty = pixel_run.table.fields[pixel_run.table.fields["num_cells"] == 0].reset_index(drop=True)
    table = replace(pixel_run.table, cells=pixel_run.table.cells.iloc[:0], fields=empty)
    write_h5sc(table, open_fields(table, pixel_run.sources), tmp_path / "c.h5sc")
    assert anndata.read_h5ad(tmp_path / "c.h5sc").obsm["single_cell_images"].shape == (0, 6, 8, 8)


def test_a_disk_that_will_be_full_is_told_before_it_is(
    pixel_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 ends the process where it cannot close a file. The first field still fits."""
    free = iter([1 << 30, 4 << 20])
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=next(free)))
    with pytest.raises(OSError, match="No space left") as raised:
        write_h5sc(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path / "c.h5sc")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "c.h5sc"))
    assert not list(tmp_path.iterdir())


def test_a_field_that_fails_leaves_nothing(pixel_run, tmp_path: Path) -> None:
    def broken():
        yield next(open_fields(pixel_run.table, pixel_run.sources))
        raise ValueError("Field b cannot be used")

    with pytest.raises(ValueError, match="Field b"):
        write_h5sc(pixel_run.table, broken(), tmp_path / "c.h5sc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size_px": 0}, r"format\.size_px is 0"), ({"shrink": 0}, r"format\.shrink is 0: give at least 1")],
)
@pytest.mark.parametrize("kind", [H5scFormat, CropsFormat])
def test_settings_out_of_range(kind: type, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


@pytest.mark.skipif(find_spec("scportrait") is None, reason="scportrait is not installed")
@pytest.mark.filterwarnings("ignore")
def test_scportrait_reads_them(path: Path, pixel_run) -> None:
    """Its reader, the look-up of cells by id, and its data set for training."""
    from scportrait.io.h5sc import read_h5sc
    from scportrait.tools.h5sc import get_image_with_cellid
    from scportrait.tools.ml.datasets import H5ScSingleCellDataset

    cells = read_h5sc(path)
    side = cells.obsm["single_cell_images"].shape[-1]
    rows = [2, len(cells) - 1]
    images = get_image_with_cellid(cells, cells.obs["scportrait_cell_id"].iloc[rows].tolist())
    dataset = H5ScSingleCellDataset([path.parent], [0], transform=None, return_id=True)
    assert len(dataset) == len(pixel_run.table.cells)
    for row, image in zip(rows, images, strict=True):
        wanted = crop_of(pixel_run, pixel_run.table.cells.iloc[row], side)
        np.testing.assert_allclose(image, wanted, atol=1e-3)
        np.testing.assert_allclose(dataset[row][0], wanted, atol=1e-3)


@pytest.mark.slow
def test_real_fields(real_data: Path, tmp_path: Path) -> None:
    """As many images as cells, and in their masks the areas of the table."""
    import hpa_cells

    fields = real_data / "hpa2021" / "fields"
    masks = [f"segmenter.folder={real_data}/hpa2021/masks"]
    cells = hpa_cells.predict(fields=fields, out=tmp_path / "run", segmenter="precomputed", overrides=masks)
    settings = {"format": "h5sc", "overrides": ["format.shrink=4"]}
    out = hpa_cells.export(table=tmp_path / "run", fields=fields, out=tmp_path / "c.h5sc", **settings)
    with h5py.File(out) as file:
        images = file["obsm/single_cell_images"]
        assert len(images) == len(cells)
        areas_px = 16 * images[:, 1].sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_array_equal(areas_px, cells["area_px"])
