"""Single cells in a plain Zarr folder, read back by zarr."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from hpa_cells.cells import normalise_field
from hpa_cells.export import CropsFormat, open_fields, write_crops


@pytest.fixture(scope="module")
def crops(pixel_run, tmp_path_factory: pytest.TempPathFactory) -> zarr.Group:
    out = tmp_path_factory.mktemp("out") / "crops.zarr"
    write_crops(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), out)
    return zarr.open_group(str(out), mode="r")


def test_images_and_masks_are_the_pixels_around_each_cell(crops, pixel_run) -> None:
    """Cell by cell and pixel by pixel, also beyond the edge of the field."""
    cells = pixel_run.table.cells
    side = crops["images"].shape[-1]
    assert crops["images"].shape == (len(cells), 4, side, side)
    assert crops["masks"].shape == (len(cells), 2, side, side)
    for row in [0, 1, 2, 150, 299, 300, 301, len(cells) - 1]:
        cell = cells.iloc[row]
        segmentation = pixel_run.segmentations[cell["field_id"]]
        channels = normalise_field(pixel_run.fields[cell["field_id"]])
        top = cell["bbox_y_px"] + cell["bbox_height_px"] // 2 - side // 2
        left = cell["bbox_x_px"] + cell["bbox_width_px"] // 2 - side // 2
        wanted = np.zeros((6, side, side), np.uint8)
        for y, x in np.ndindex(side, side):
            if 0 <= top + y < channels.shape[1] and 0 <= left + x < channels.shape[2]:
                at = (top + y, left + x)
                wanted[:, y, x] = [
                    255 * (segmentation.nuclei[at] == cell["cell_id"]),
                    255 * (segmentation.cells[at] == cell["cell_id"]),
                    *channels[(slice(None), *at)],
                ]
        np.testing.assert_array_equal(crops["masks"][row], wanted[:2])
        np.testing.assert_array_equal(crops["images"][row], wanted[2:])


def test_what_is_known_of_each_cell(crops, pixel_run) -> None:
    cells = pixel_run.table.cells
    assert crops["field_id"][:].tolist() == cells["field_id"].tolist()
    assert crops["cell_id"][:].tolist() == cells["cell_id"].tolist()
    assert crops["cell_id"][:].max() == 2**31 - 1
    np.testing.assert_array_equal(crops["probabilities"][:], pixel_run.table.probabilities())
    np.testing.assert_array_equal(crops["embeddings"][:], np.stack(cells["embedding"]))
    assert crops.attrs["channels"] == ["microtubules", "protein", "nucleus", "ER"]
    assert crops.attrs["classes"] == list(pixel_run.table.class_set.keys)
    assert crops.attrs["provenance"]["settings"] == {"a": [1, None]}


def test_a_class_is_picked_as_the_guide_says(crops) -> None:
    nucleolar = crops["probabilities"][:, crops.attrs["classes"].index("nucleoli")] >= 0.5
    proteins = crops["images"].oindex[nucleolar, 1] * (crops["masks"].oindex[nucleolar, 1] > 0)
    rows = np.flatnonzero(nucleolar)
    assert len(rows) > 10
    for protein, row in zip(proteins, rows, strict=True):
        np.testing.assert_array_equal(protein, crops["images"][row, 1] * (crops["masks"][row, 1] == 255))


def test_chunks_of_several_cells_and_rows_out_of_order(crops, pixel_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hpa_cells.export.crops_folder._CHUNK_BYTES", 40_000)
    order = np.random.default_rng(0).permutation(len(pixel_run.table.cells))
    table = replace(pixel_run.table, cells=pixel_run.table.cells.iloc[order].reset_index(drop=True))
    size_px = crops["images"].shape[-1]
    write_crops(table, open_fields(table, pixel_run.sources), tmp_path / "c.zarr", size_px=size_px)
    shuffled = zarr.open_group(str(tmp_path / "c.zarr"), mode="r")
    assert shuffled["cell_id"][:].tolist() == crops["cell_id"][:][order].tolist()
    # Cells of a field come by the rows of the table, whatever these are.
    for name in ("images", "masks"):
        assert 1 < shuffled[name].chunks[0] < len(order)
        np.testing.assert_array_equal(shuffled[name][:], crops[name][:][order])


def test_shrunk_and_masked(pixel_run, tmp_path: Path) -> None:
    opened = open_fields(pixel_run.table, pixel_run.sources)
    CropsFormat(size_px=12, shrink=3, masked=True).write_with_fields(
        pixel_run.table, opened, tmp_path / "c.zarr"
    )
    found = zarr.open_group(str(tmp_path / "c.zarr"), mode="r")
    assert found["images"].shape[1:] == (4, 12, 12)
    outside = found["masks"][:, 1:] == 0
    assert outside.any()
    assert not found["images"][:][np.broadcast_to(outside, found["images"].shape)].any()


def test_no_cells_at_all(pixel_run, tmp_path: Path) -> None:
    empty = pixel_run.table.fields[pixel_run.table.fields["num_cells"] == 0].reset_index(drop=True)
    table = replace(pixel_run.table, cells=pixel_run.table.cells.iloc[:0], fields=empty)
    write_crops(table, open_fields(table, pixel_run.sources), tmp_path / "c.zarr")
    assert zarr.open_group(str(tmp_path / "c.zarr"), mode="r")["images"].shape == (0, 4, 8, 8)


def test_what_else_is_there_stays(pixel_run, tmp_path: Path) -> None:
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "c.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"c\.zarr"):
        write_crops(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path / "c.zarr")
    assert (tmp_path / "c.zarr" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_real_fields(real_data: Path, tmp_path: Path) -> None:
    """In the masks are the areas of the table."""
    import hpa_cells

    fields = real_data / "hpa2021" / "fields"
    masks = [f"segmenter.folder={real_data}/hpa2021/masks"]
    cells = hpa_cells.predict(fields=fields, out=tmp_path / "run", segmenter="precomputed", overrides=masks)
    settings = {"format": "crops", "overrides": ["format.shrink=4"]}
    out = hpa_cells.export(table=tmp_path / "run", fields=fields, out=tmp_path / "c.zarr", **settings)
    found = zarr.open_group(str(out), mode="r")
    # Each pixel is the mean of 16, in 255 levels.
    areas_px = np.rint(found["masks"][:, 1] * (16 / 255)).sum(axis=(1, 2))
    np.testing.assert_array_equal(areas_px, cells["area_px"])
