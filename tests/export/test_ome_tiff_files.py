"""OME-TIFF of fields, by our own reader, by tifffile and by a plain reader of XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hpa_cells.export import OmeTiffFormat, open_fields
from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import Precomputed
from hpa_cells.types import Channel


@pytest.fixture(scope="module")
def folder(pixel_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out")
    OmeTiffFormat().write_with_fields(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), path)
    return path


def pixels_of(path: Path) -> ET.Element:
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        pixels = ET.fromstring(file.ome_metadata).find(".//{*}Pixels")
    assert pixels is not None
    return pixels


def test_our_own_way_back(folder: Path, pixel_run) -> None:
    """Fields with their pixel size, and the cells and nuclei of each by their ids."""
    sources = find_fields(folder, optional=frozenset(Channel))
    assert sorted(source.field_id for source in sources) == sorted(pixel_run.fields)
    segmenter = Precomputed(folder=str(folder / "labels"))
    segmenter.prepare()
    for source in sources:
        field, wanted = read_field(source), pixel_run.fields[source.field_id]
        np.testing.assert_array_equal(field.image, wanted.image)
        assert field.image.dtype == wanted.image.dtype
        assert (field.pixel_size_um, field.missing) == (0.25, wanted.missing)
        (found,) = segmenter.segment([field])
        np.testing.assert_array_equal(found.cells, pixel_run.segmentations[source.field_id].cells)
        np.testing.assert_array_equal(found.nuclei, pixel_run.segmentations[source.field_id].nuclei)


def test_what_others_read(folder: Path, pixel_run) -> None:
    for field_id, wanted in pixel_run.fields.items():
        path = folder / f"{field_id}.ome.tif"
        np.testing.assert_array_equal(
            np.squeeze(tifffile.imread(path)), wanted.image[: 4 - len(wanted.missing)]
        )
        pixels = pixels_of(path)
        height, width = wanted.image.shape[1:]
        assert {name: pixels.get(name) for name in ("SizeX", "SizeY", "SizeC", "SizeZ", "SizeT", "Type")} == {
            "SizeX": str(width),
            "SizeY": str(height),
            "SizeC": str(4 - len(wanted.missing)),
            "SizeZ": "1",
            "SizeT": "1",
            "Type": str(wanted.image.dtype),
        }
        for axis in "XY":
            assert float(pixels.get(f"PhysicalSize{axis}", "")) == 0.25
            assert pixels.get(f"PhysicalSize{axis}Unit") == "µm"
        channels = pixels.findall("{*}Channel")
        names = ["microtubules", "protein", "nucleus", "ER"][: len(channels)]
        assert [each.get("Name") for each in channels] == names
        colors = [int(each.get("Color", "")) & 0xFFFFFFFF for each in channels]
        assert colors == [0xFF0000FF, 0x00FF00FF, 0x0000FFFF, 0xFFFF00FF][: len(channels)]


def test_label_images(folder: Path, pixel_run) -> None:
    """Of as many bits as the ids need; also for a reader that knows no OME."""
    for field_id, segmentation in pixel_run.segmentations.items():
        for kind in ("cells", "nuclei"):
            path = folder / "labels" / f"{field_id}_{kind}.tif"
            wanted = getattr(segmentation, kind)
            assert pixels_of(path).get("Type") == ("int32" if wanted.max() > 65_535 else "uint16")
            assert float(pixels_of(path).get("PhysicalSizeX", "")) == 0.25
            np.testing.assert_array_equal(tifffile.imread(path), wanted)
            with Image.open(path) as image:
                np.testing.assert_array_equal(np.asarray(image), wanted)


def test_without_label_images(pixel_run, tmp_path: Path) -> None:
    OmeTiffFormat(labels=False).write_with_fields(
        pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{each}.ome.tif" for each in pixel_run.fields
    )


@pytest.mark.slow
def test_real_fields(real_data: Path, tmp_path: Path) -> None:
    """Predicted, exported and predicted again from the export: the same cells."""
    import hpa_cells

    fields = real_data / "hpa2021" / "fields"
    masks = [f"segmenter.folder={real_data}/hpa2021/masks"]
    first = hpa_cells.predict(fields=fields, out=tmp_path / "run", segmenter="precomputed", overrides=masks)
    out = hpa_cells.export(table=tmp_path / "run", fields=fields, format="ome_tiff", out=tmp_path / "tiff")
    masks = [f"segmenter.folder={out}/labels"]
    second = hpa_cells.predict(fields=out, out=tmp_path / "again", segmenter="precomputed", overrides=masks)
    columns = ["field_id", "cell_id", "cell_rle", "nucleus_rle", "area_px", "p_cytosol", "pixel_size_um"]
    assert first[columns].equals(second[columns])
