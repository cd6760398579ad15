"""SpatialData of a run, by its own reader."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import rgb_of
from hpa_cells.export import SpatialDataFormat, open_fields, write_spatialdata
from hpa_cells.export.anndata_table import _from_anndata
from hpa_cells.export.extra import import_extra, quiet

sd = import_extra("spatialdata", wanted_by="a test")

NAMES = {"=1+1, é": "f_1_1__é", "Large_ids": "Large_ids", "large ids": "large_ids-2", "many": "many"}


@pytest.fixture(scope="module")
def written(pixel_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "cells.zarr"
    write_spatialdata(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), path, scales=3)
    return path


@pytest.fixture
def data(written: Path):
    with quiet():
        yield sd.read_zarr(written)


def level(element, number: int = 0):
    return element if not hasattr(element, "children") else element[f"scale{number}"]["image"]


def test_images_are_those_of_the_fields(data, pixel_run) -> None:
    assert set(data.images) == {f"{name}_image" for name in NAMES.values()}
    for field_id, field in pixel_run.fields.items():
        image = level(data[f"{NAMES[field_id]}_image"])
        names = ["microtubules", "protein", "nucleus", "ER"][: 4 - len(field.missing)]
        assert image.dims == ("c", "y", "x")
        assert image.coords["c"].values.tolist() == names
        assert image.dtype == field.image.dtype
        np.testing.assert_array_equal(image.values, field.image[: len(names)])


def test_label_images_are_those_of_the_run(data, pixel_run) -> None:
    assert set(data.labels) == {f"{name}_{kind}" for name in NAMES.values() for kind in ("cells", "nuclei")}
    for field_id, segmentation in pixel_run.segmentations.items():
        for kind in ("cells", "nuclei"):
            labels = level(data[f"{NAMES[field_id]}_{kind}"])
            np.testing.assert_array_equal(labels.values, getattr(segmentation, kind))


def test_levels(data) -> None:
    assert [level(data["many_cells"], number).shape for number in range(3)] == [(40, 60), (20, 30), (10, 15)]
    assert level(data["many_image"], 2).shape == (4, 10, 15)
    # Labels are picked and images are means, at the same places.
    np.testing.assert_allclose(
        level(data["many_image"], 1).coords["x"], level(data["many_cells"], 1).coords["x"]
    )


def test_every_instance_has_its_row(data, pixel_run) -> None:
    """By pixel value, both ways, also beyond 65,535."""
    table = data["cells"]
    assert table.uns["spatialdata_attrs"]["region_key"] == "region"
    assert table.uns["spatialdata_attrs"]["instance_key"] == "cell_id"
    for field_id, segmentation in pixel_run.segmentations.items():
        name = f"{NAMES[field_id]}_cells"
        with quiet():
            instances = sd.get_element_instances(data[name]).tolist()
        assert sorted(set(instances) - {0}) == segmentation.cell_ids.tolist()
        if not len(segmentation.cell_ids):
            assert name not in set(table.obs["region"])
            continue
        with quiet():
            matched = sd.match_table_to_element(data, element_name=name, table_name="cells")
        assert sorted(matched.obs["cell_id"]) == segmentation.cell_ids.tolist()
        assert set(matched.obs["field_id"]) == {field_id}


def test_the_table_is_whole(data, pixel_run) -> None:
    found = _from_anndata(data["cells"])
    wanted = pixel_run.table.cells.drop(columns=["cell_rle", "nucleus_rle"])
    pd.testing.assert_frame_equal(found.cells, wanted, check_exact=True)
    pd.testing.assert_frame_equal(found.fields, pixel_run.table.fields, check_exact=True)
    assert found.provenance == pixel_run.table.provenance
    about = data.attrs["hpa_cells"]
    assert {each["field_id"]: each["name"] for each in about["elements"]} == NAMES
    assert about["provenance"]["settings"] == {"a": [1, None]}


def test_everything_is_in_um_of_its_own_field(data, pixel_run) -> None:
    """Centroids that spatialdata measures on the label images are those of the table."""
    assert set(data.coordinate_systems) == set(NAMES.values())
    for field_id in ("many", "large ids"):
        name = NAMES[field_id]
        for element in ("image", "cells", "nuclei"):
            systems = sd.transformations.get_transformation(data[f"{name}_{element}"], get_all=True)
            assert list(systems) == [name]
            np.testing.assert_allclose(
                systems[name].to_affine_matrix(("x", "y"), ("x", "y"))[[0, 1], [0, 1]], 0.25
            )
        with quiet():
            points = sd.get_centroids(data[f"{name}_cells"], coordinate_system=name).compute()
            table = sd.match_table_to_element(data, element_name=f"{name}_cells", table_name="cells")
        points = points.loc[[each for each in points.index if each != 0]].sort_index()
        order = np.argsort(table.obs["cell_id"].to_numpy())
        np.testing.assert_allclose(points[["x", "y"]], table.obsm["spatial"][order], rtol=1e-5)


def test_a_part_of_a_field(data, pixel_run) -> None:
    """A box in um has its pixels and its cells."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        part = sd.bounding_box_query(
            data,
            axes=("x", "y"),
            min_coordinate=[0, 0],
            max_coordinate=[4, 2],
            target_coordinate_system="many",
        )
    assert level(part["many_image"]).shape == (4, 8, 16)
    there = np.unique(pixel_run.segmentations["many"].cells[:8, :16])
    assert sorted(part["cells"].obs["cell_id"]) == there.tolist()


def test_one_scale_by_default_and_masks_on_demand(pixel_run, tmp_path: Path) -> None:
    for masks in (False, True):
        SpatialDataFormat(masks=masks).write_with_fields(
            pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path / "x.zarr"
        )
        with quiet():
            data = sd.read_zarr(tmp_path / "x.zarr")
        assert data["many_image"].shape == (4, 40, 60)
        assert ("cell_rle" in data["cells"].obs) == masks
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


def test_no_cells_at_all(pixel_run, tmp_path: Path) -> None:
    empty = pixel_run.table.fields["num_cells"] == 0
    table = replace(
        pixel_run.table,
        cells=pixel_run.table.cells.iloc[:0],
        fields=pixel_run.table.fields[empty].reset_index(drop=True),
    )
    write_spatialdata(table, open_fields(table, pixel_run.sources), tmp_path / "x.zarr")
    with quiet():
        data = sd.read_zarr(tmp_path / "x.zarr")
    assert len(data["cells"]) == 0
    assert not level(data["f_1_1__é_cells"]).values.any()


def test_a_field_that_fails_leaves_what_was_there(pixel_run, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"

    def broken():
        yield next(open_fields(pixel_run.table, pixel_run.sources))
        raise ValueError("Field b cannot be used")

    for before in ([], ["x.zarr"]):
        with pytest.raises(ValueError, match="Field b"):
            write_spatialdata(pixel_run.table, broken(), path)
        assert [each.name for each in tmp_path.iterdir()] == before
        write_spatialdata(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), path)
    with quiet():
        assert len(sd.read_zarr(path)["cells"]) == len(pixel_run.table.cells)


def test_a_folder_of_something_else_is_left_alone(pixel_run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds something else \(notes\.txt\) and is not replaced"):
        write_spatialdata(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"format\.scales is 0: give at least 1"):
        SpatialDataFormat(scales=0)


def test_without_the_package(pixel_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpa_cells.export import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'format=spatialdata needs .*pip install "hpa-cells\[export\]"'):
        write_spatialdata(pixel_run.table, iter(()), tmp_path / "x.zarr")


@pytest.mark.slow
def test_real_fields(real_data: Path, tmp_path: Path) -> None:
    """From the files of four real fields and their masks to pixels, ids and areas in the folder."""
    import hpa_cells

    fields = real_data / "hpa2021" / "fields"
    settings = {
        "segmenter": "precomputed",
        "overrides": [f"segmenter.folder={real_data}/hpa2021/masks"],
    }
    cells = hpa_cells.predict(fields=fields, out=tmp_path / "run", **settings)
    out = hpa_cells.export(
        table=tmp_path / "run",
        fields=fields,
        format="spatialdata",
        out=tmp_path / "x.zarr",
        overrides=["format.scales=4"],
    )
    with quiet():
        data = sd.read_zarr(out)
    assert len(data.images) == 4
    assert len(data["cells"]) == len(cells) > 50
    for name in {each.removesuffix("_image") for each in data.images}:
        labels = level(data[f"{name}_cells"]).values
        assert labels.shape == (2048, 2048)
        of_field = cells[cells["field_id"] == name].set_index("cell_id")
        ids, areas = np.unique(labels[labels > 0], return_counts=True)
        assert dict(zip(ids.tolist(), areas.tolist(), strict=True)) == of_field["area_px"].to_dict()


@pytest.mark.skipif(find_spec("spatialdata_plot") is None, reason="spatialdata-plot is not installed")
@pytest.mark.filterwarnings("ignore")
def test_it_plots(pixel_run, tmp_path: Path) -> None:
    """The image with the cells over it, in the colours of their classes."""
    import matplotlib.pyplot as plt
    import spatialdata
    import spatialdata_plot  # noqa: F401

    write_spatialdata(pixel_run.table, open_fields(pixel_run.table, pixel_run.sources), tmp_path / "c.zarr")
    run = spatialdata.read_zarr(tmp_path / "c.zarr")
    figure, axes = plt.subplots()
    try:
        run.pl.render_images("many_image", channel="protein").pl.render_labels(
            "many_cells", color="most_probable_class", fill_alpha=1.0
        ).pl.show(coordinate_systems="many", ax=axes)
        pictures = [np.asarray(image.get_array())[..., :3] for image in axes.images]
        shown = {text.get_text() for text in axes.get_legend().get_texts()}
        classes = run["cells"].obs.query("field_id == 'many'")["most_probable_class"]
        assert shown == set(classes)
        # 300 cells fill the field: each of its pixels has the colour of a class.
        colors = {tuple(rgb_of(color)) for color in pixel_run.table.class_set.colors}
        seen = {tuple(each) for each in np.rint(255 * pictures[-1]).astype(int).reshape(-1, 3).tolist()}
        assert len(seen & colors) >= len(shown)
    finally:
        plt.close(figure)
