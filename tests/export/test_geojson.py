"""GeoJSON: what QuPath reads, what other programs read, and the way back."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from numpy.typing import NDArray

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.classes import color_on_dark, get_class_set
from hpa_cells.export import GeoJsonFormat, read_geojson, write_geojson
from hpa_cells.masks import paint_labels
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, Segmentation

FieldMaker: TypeAlias = Callable[..., CellTable]


@pytest.fixture
def one_field() -> FieldMaker:
    """A field of 40 x 56 px: a cell in two pieces, one with a hole, one without a nucleus, one at the border."""

    def make(field_id: str = "f") -> CellTable:
        cells = np.zeros((40, 56), dtype=np.int32)
        y, x = np.indices(cells.shape)
        cells[np.hypot(y - 14, x - 14) < 10] = 300
        cells[10:12, 10:12] = 0
        cells[np.hypot(y - 30, x - 12) < 6] = 5
        cells[3:9, 30:40] = cells[9:15, 40:44] = cells[20:24, 30:35] = 70_000
        cells[np.hypot(y - 36, x - 50) < 11] = 65_536
        nuclei = np.where(
            (np.hypot(y - 16, x - 17) < 4) | (y + x > 78) | (cells == 70_000) & (y < 6), cells, 0
        )
        segmentation = Segmentation(field_id=field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.16)
        classes = get_class_set("hpa2021")
        rng = np.random.default_rng(0)
        scores = CellScores(
            field_id=field_id,
            class_set=classes,
            cell_ids=segmentation.cell_ids,
            probabilities=rng.random((len(segmentation.cell_ids), len(classes)), dtype=np.float32),
            field_probabilities=rng.random(len(classes), dtype=np.float32),
            embeddings=np.zeros((len(segmentation.cell_ids), 0), dtype=np.float32),
        )
        with TemporaryDirectory() as folder:
            provenance = Provenance(version="0", class_set=classes.name, source="test")
            with TableWriter(Path(folder), provenance=provenance) as writer:
                writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
            return read_table(folder)

    return make


CYTOSOL = list(color_on_dark("#72b7b2"))


def collection(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="ascii")))


def features(path: Path) -> dict[int, dict[str, Any]]:
    """By the id of the cell."""
    found = collection(path)["features"]
    return {each["properties"]["measurements"]["cell_id"]: each for each in found}


def label_image(table: CellTable, column: str = Column.CELL_RLE) -> NDArray[np.int32]:
    rows = table.cells[table.cells[column].notna()]
    field = table.fields.iloc[0]
    counts = [rle.encode() for rle in rows[column]]
    return paint_labels(
        rows[Column.CELL_ID].tolist(), counts, int(field[Column.HEIGHT_PX]), int(field[Column.WIDTH_PX])
    )


def test_a_cell_is_an_object_of_qupath(one_field: FieldMaker, tmp_path: Path) -> None:
    """The keys that QuPath's importer asks for, and the kinds of value that it takes."""
    table = one_field()
    write_geojson(table, tmp_path / "f.geojson")
    whole = collection(tmp_path / "f.geojson")
    assert whole["type"] == "FeatureCollection"
    assert len(whole["features"]) == len(table.cells)
    for feature in whole["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        properties = feature["properties"]
        assert properties["objectType"] == "cell"
        assert properties["name"] == str(properties["measurements"]["cell_id"])
        assert "isLocked" not in properties
        # Its map of measurements takes numbers only: no null, and no NaN, which is no JSON.
        assert all(type(value) in (int, float) for value in properties["measurements"].values())
        color = properties["classification"]["color"]
        assert len(color) == 3
        assert all(type(value) is int and 0 <= value <= 255 for value in color)
        assert set(properties["classification"]) == {"name", "color"}
        assert ":" not in properties["classification"]["name"]
        for name in ("geometry", "nucleusGeometry"):
            if name in feature:
                assert shapely.geometry.shape(feature[name]).is_valid


def test_outlines_nuclei_and_measurements_are_those_of_the_table(
    one_field: FieldMaker, tmp_path: Path
) -> None:
    table = one_field()
    write_geojson(table, tmp_path / "f.geojson")
    found = features(tmp_path / "f.geojson")
    columns = [Column.AREA_PX, Column.AREA_UM2, Column.NUCLEUS_AREA_PX, Column.NUCLEUS_AREA_UM2]
    for row in table.cells.to_dict("records"):
        feature = found[row[Column.CELL_ID]]
        measured = feature["properties"]["measurements"]
        for column in columns:
            assert measured[column] == row[column]
        assert measured[Column.TOUCHES_BORDER] == int(row[Column.TOUCHES_BORDER])
        for column in Column.probabilities(table.class_set):
            assert np.float32(measured[column]) == np.float32(row[column])
        assert shapely.geometry.shape(feature["geometry"]).area == row[Column.AREA_PX]
        assert ("nucleusGeometry" in feature) == (row[Column.NUCLEUS_AREA_PX] > 0)
        if "nucleusGeometry" in feature:
            nucleus = shapely.geometry.shape(feature["nucleusGeometry"])
            assert nucleus.area == row[Column.NUCLEUS_AREA_PX]
            assert nucleus.within(shapely.geometry.shape(feature["geometry"]))
    # A cell in two pieces, a cell with a hole, a cell without a nucleus.
    assert found[70_000]["geometry"]["type"] == "MultiPolygon"
    assert len(found[300]["geometry"]["coordinates"]) == 2
    assert "nucleusGeometry" not in found[5]


def test_geopandas_reads_it(one_field: FieldMaker, tmp_path: Path) -> None:
    table = one_field()
    write_geojson(table, tmp_path / "f.geojson")
    frame = geopandas.read_file(tmp_path / "f.geojson")
    assert frame.is_valid.all()
    assert frame["name"].astype(int).tolist() == table.cells[Column.CELL_ID].tolist()
    assert frame["id"].nunique() == len(table.cells)
    # Without a reference system of their own, GeoJSON's coordinates are taken for degrees.
    frame = frame.set_crs(None, allow_override=True)
    assert frame.area.tolist() == table.cells[Column.AREA_PX].tolist()
    assert set(frame["objectType"]) == {"cell"}
    bounds = frame.bounds
    assert bounds["minx"].tolist() == table.cells[Column.BBOX_X_PX].tolist()
    assert bounds["miny"].tolist() == table.cells[Column.BBOX_Y_PX].tolist()


@pytest.mark.parametrize("name", ["f.geojson", "f.geojson.gz", "f.json"])
def test_export_then_import_keeps_ids_masks_nuclei_and_probabilities(
    one_field: FieldMaker, tmp_path: Path, name: str
) -> None:
    table = one_field()
    write_geojson(table, tmp_path / name)
    read = read_geojson(tmp_path / name)
    pd.testing.assert_frame_equal(read.cells, table.cells, check_dtype=False, check_exact=False)
    for column in (Column.CELL_RLE, Column.NUCLEUS_RLE, Column.CELL_ID):
        assert read.cells[column].tolist() == table.cells[column].tolist()
    columns = [Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX, Column.PIXEL_SIZE_UM, Column.NUM_CELLS]
    pd.testing.assert_frame_equal(read.fields[columns], table.fields[columns], check_dtype=False)
    np.testing.assert_array_equal(label_image(read), label_image(table))
    np.testing.assert_array_equal(
        label_image(read, Column.NUCLEUS_RLE), label_image(table, Column.NUCLEUS_RLE)
    )


def test_a_folder_has_a_file_a_field_also_an_empty_one(small_table: CellTable, tmp_path: Path) -> None:
    write_geojson(small_table, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.geojson",
        "b.geojson",
        "c.geojson",
    ]
    assert collection(tmp_path / "out" / "c.geojson")["features"] == []
    empty = read_geojson(tmp_path / "out" / "c.geojson")
    assert len(empty.cells) == 0
    assert empty.fields[[Column.HEIGHT_PX, Column.WIDTH_PX]].to_numpy().tolist() == [[9, 7]]
    assert read_geojson(tmp_path / "out" / "a.geojson").cells[Column.CELL_ID].tolist() == [3, 7, 300]


def test_several_fields_are_not_put_into_one_file(small_table: CellTable, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"The table has 3 fields, a GeoJSON file such as .* holds one: give a folder"
    ):
        write_geojson(small_table, tmp_path / "all.geojson")
    assert list(tmp_path.iterdir()) == []


def test_ids_of_features_stay_and_are_no_two_alike(one_field: FieldMaker, tmp_path: Path) -> None:
    ids = {}
    for name, field_id in (("1", "f"), ("2", "f"), ("3", "g")):
        write_geojson(one_field(field_id), tmp_path / f"{name}.geojson")
        ids[name] = [each["id"] for each in collection(tmp_path / f"{name}.geojson")["features"]]
    assert ids["1"] == ids["2"]
    assert len({*ids["1"], *ids["3"]}) == 2 * len(ids["1"])


def with_probabilities(table: CellTable, **values: float) -> CellTable:
    zeros = dict.fromkeys(Column.probabilities(table.class_set), np.float32(0))
    chosen = {f"p_{key}": np.float32(value) for key, value in values.items()}
    return replace(table, cells=table.cells.assign(**(zeros | chosen)))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"name": "Cytosol", "color": CYTOSOL}),
        ({"threshold": 0.75}, {"name": "Cytosol", "color": CYTOSOL}),
        ({"threshold": 0.76}, None),
        (
            {"threshold": 0.5, "all_classes": True},
            {"names": ["Golgi apparatus", "Cytosol"], "color": CYTOSOL},
        ),
        ({"threshold": 0.6, "all_classes": True}, {"name": "Cytosol", "color": CYTOSOL}),
    ],
)
def test_classification(
    one_field: FieldMaker, tmp_path: Path, settings: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    table = with_probabilities(one_field(), golgi_apparatus=0.5, cytosol=0.75, nucleoli=np.nan)
    GeoJsonFormat(**settings).write(table, tmp_path / "f.geojson")
    for feature in features(tmp_path / "f.geojson").values():
        assert feature["properties"].get("classification") == expected
        assert "p_nucleoli" not in feature["properties"]["measurements"]


def test_a_cell_without_a_probability_is_unclassified(one_field: FieldMaker, tmp_path: Path) -> None:
    for table in (with_probabilities(one_field()), with_probabilities(one_field(), cytosol=np.nan)):
        write_geojson(table, tmp_path / "f.geojson")
        assert not any(
            "classification" in each["properties"] for each in features(tmp_path / "f.geojson").values()
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, r"format\.threshold is 1\.5"),
        ({"tolerance_px": -1.0}, r"format\.tolerance_px is -1"),
        ({"tolerance_px": float("nan")}, r"format\.tolerance_px is nan"),
        ({"all_classes": True}, r"gives every cell every class: give a threshold"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeoJsonFormat(**settings)


def test_fewer_corners_on_request(one_field: FieldMaker, tmp_path: Path) -> None:
    sizes = []
    for tolerance in (0.0, 2.0):
        GeoJsonFormat(tolerance_px=tolerance, compress=True).write(one_field(), tmp_path / "f.geojson")
        data = gzip.decompress((tmp_path / "f.geojson.gz").read_bytes())
        sizes.append(len(data))
        for feature in json.loads(data)["features"]:
            assert shapely.geometry.shape(feature["geometry"]).is_valid
    assert sizes[1] < sizes[0]
    # The same cells make the same bytes.
    before = (tmp_path / "f.geojson.gz").read_bytes()
    GeoJsonFormat(tolerance_px=2.0, compress=True).write(one_field(), tmp_path / "f.geojson")
    assert (tmp_path / "f.geojson.gz").read_bytes() == before


HOSTILE = ['"</script><script>alert(1)</script>', "=1+1", "ÄÖ 细胞 🧫", "a\nb", "../../x", "{}", "\u202e"]


@pytest.mark.parametrize("field_id", HOSTILE)
def test_hostile_ids_come_back_from_a_file(one_field: FieldMaker, tmp_path: Path, field_id: str) -> None:
    write_geojson(one_field(field_id), tmp_path / "f.geojson")
    assert read_geojson(tmp_path / "f.geojson").fields[Column.FIELD_ID].tolist() == [field_id]
    # QuPath reads it in the encoding of its machine, and it may be put into a page.
    assert (tmp_path / "f.geojson").read_bytes().isascii()
    geopandas.read_file(tmp_path / "f.geojson")


@pytest.mark.parametrize("field_id", ["../../x", "a/b", '"</script>', "a\nb", "NUL"])
def test_hostile_ids_are_no_file_names(one_field: FieldMaker, tmp_path: Path, field_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be a file name everywhere"):
        write_geojson(one_field(field_id), tmp_path / "out")
    assert list(tmp_path.rglob("*")) == []


def test_after_a_person_has_worked_on_it_in_qupath(one_field: FieldMaker, tmp_path: Path) -> None:
    """QuPath writes none of our members, two decimals, and drawn cells without measurements."""
    table = one_field()
    write_geojson(table, tmp_path / "f.geojson")
    whole = collection(tmp_path / "f.geojson")
    del whole["hpa_cells"], whole["features"][0]
    drawn = {
        "type": "Polygon",
        "coordinates": [[[0.25, 0.25], [2.75, 0.3], [2.7, 1.6], [0.25, 1.6], [0.25, 0.25]]],
    }
    whole["features"].append(
        {"type": "Feature", "geometry": drawn, "properties": {"objectType": "annotation"}}
    )
    (tmp_path / "mine.geojson").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="does not say the height_px of its field: give `height_px`"):
        read_geojson(tmp_path / "mine.geojson")
    height_px, width_px = label_image(table).shape
    read = read_geojson(
        tmp_path / "mine.geojson", height_px=height_px, width_px=width_px, class_set="hpa2021"
    )
    kept = table.cells[Column.CELL_ID].tolist()[1:]
    assert read.cells[Column.CELL_ID].tolist() == [*kept, 70_001]
    assert read.fields[Column.FIELD_ID].tolist() == ["mine"]
    assert np.argwhere(label_image(read) == 70_001).tolist() == [
        [0, 0],
        [0, 1],
        [0, 2],
        [1, 0],
        [1, 1],
        [1, 2],
    ]
    assert read.cells[Column.probabilities(read.class_set)].iloc[-1].isna().all()


RING = [[0, 0], [4, 0], [4, 4], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole.pop("features"), r"its features \(None\) is no list"),
        (lambda whole: whole["features"].append(3), r"features\[4\] is no object"),
        (lambda whole: whole["features"][1].pop("geometry"), r"features\[1\]: its geometry"),
        (
            lambda whole: whole["features"][0]["geometry"].update(type="Point"),
            "is not Polygon or MultiPolygon",
        ),
        (
            lambda whole: whole["features"][0]["geometry"].update(type="Polygon", coordinates=[[[0, 0]]]),
            "ring that is no list of 4",
        ),
        (
            lambda whole: whole["features"][0]["geometry"].update(
                type="Polygon", coordinates=[[*RING, [0, 1e9]]]
            ),
            "ring that is no list of 4",
        ),
        (
            lambda whole: whole["features"][0]["properties"]["measurements"].update(cell_id=0),
            r"measurements: its cell_id \(0\) is no whole number",
        ),
        (
            lambda whole: whole["features"][0]["properties"]["measurements"].update(cell_id=300),
            "has the cell_id 300 twice",
        ),
        (
            lambda whole: whole["features"][0]["properties"]["measurements"].update(p_cytosol="1"),
            r"its p_cytosol \('1'\) is no number",
        ),
        (lambda whole: whole["hpa_cells"].update(height_px=10**6), "no whole number from 1 to 32768"),
        (lambda whole: whole["hpa_cells"].update(height_px=1), "has no pixel in the field"),
        (lambda whole: whole["hpa_cells"].update(class_set="x"), "Class set 'x' is unknown"),
        (lambda whole: whole["hpa_cells"].update(pixel_size_um=-1), "pixel_size_um"),
    ],
)
def test_what_is_wrong_is_said(one_field: FieldMaker, tmp_path: Path, change: Any, message: str) -> None:
    write_geojson(one_field(), tmp_path / "f.geojson")
    whole = collection(tmp_path / "f.geojson")
    change(whole)
    (tmp_path / "f.geojson").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=message):
        read_geojson(tmp_path / "f.geojson")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b"\x1f\x8b\x08"])
def test_files_that_are_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f.geojson").write_bytes(data)
    with pytest.raises(ValueError, match=r"f\.geojson (cannot be read as JSON|holds a list)"):
        read_geojson(tmp_path / "f.geojson")


def test_a_file_that_unpacks_to_far_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpa_cells.export.json_values.unpacked_limit", lambda packed: 1000 * packed)
    (tmp_path / "f.geojson").write_bytes(gzip.compress(b"[" + b" " * 10_000_000))
    with pytest.raises(ValueError, match="unpacks to far too much"):
        read_geojson(tmp_path / "f.geojson")


def test_real_masks(real_data: Path, make_table: Any, tmp_path: Path) -> None:
    import cv2

    masks = sorted((real_data / "hpa2021" / "masks").glob("*_cells.png"))
    images = {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32) for path in masks}
    table = make_table(images)
    write_geojson(table, tmp_path / "out")
    for field_id, image in images.items():
        read = read_geojson(tmp_path / "out" / f"{field_id}.geojson")
        np.testing.assert_array_equal(label_image(read), image)
        assert geopandas.read_file(tmp_path / "out" / f"{field_id}.geojson").is_valid.all()
