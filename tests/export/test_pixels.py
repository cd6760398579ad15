"""Fields of a table with their pixels and label images."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import replace

import numpy as np
import pytest

from hpa_cells.export import (
    AnnDataFormat,
    CropsFormat,
    CsvFormat,
    H5scFormat,
    OmeTiffFormat,
    OmeZarrFormat,
    PixelFormat,
    SpatialDataFormat,
    SubmissionFormat,
    open_fields,
)
from hpa_cells.fields import find_fields, write_field
from hpa_cells.types import Channel


def test_pixels_and_labels_are_those_of_the_run(pixel_run) -> None:
    opened = list(open_fields(pixel_run.table, pixel_run.sources))
    assert [each.field.field_id for each in opened] == pixel_run.table.fields["field_id"].tolist()
    for each in opened:
        wanted = pixel_run.fields[each.field.field_id]
        np.testing.assert_array_equal(each.field.image, wanted.image)
        assert each.field.missing == wanted.missing
        found = pixel_run.segmentations[each.field.field_id]
        np.testing.assert_array_equal(each.segmentation.cells, found.cells)
        np.testing.assert_array_equal(each.segmentation.nuclei, found.nuclei)
        assert each.cells["cell_id"].tolist() == found.cell_ids.tolist()
    assert sum(len(each.cells) for each in opened) == len(pixel_run.table.cells)


def test_one_field_at_a_time(pixel_run) -> None:
    asked: list[str] = []

    def track(field_ids):
        for field_id in field_ids:
            asked.append(field_id)
            yield field_id

    opened = open_fields(pixel_run.table, pixel_run.sources, track=track)
    assert asked == []
    next(opened)
    assert len(asked) == 1


def test_fields_that_are_not_given(pixel_run) -> None:
    with pytest.raises(
        ValueError, match=r"1 of the table's 4 fields are not among the 3 fields given \(many\)"
    ):
        open_fields(pixel_run.table, [each for each in pixel_run.sources if each.field_id != "many"])


def test_a_field_of_another_size(pixel_run, tmp_path) -> None:
    for field in pixel_run.fields.values():
        swapped = field.image.transpose(0, 2, 1) if field.field_id == "many" else field.image
        write_field(replace(field, image=np.ascontiguousarray(swapped)), tmp_path)
    sources = find_fields(tmp_path, optional=frozenset(Channel))
    with pytest.raises(
        ValueError, match=r"Field many has 60 x 40 px .* in the table 40 x 60: give the fields"
    ):
        list(open_fields(pixel_run.table, sources))


def test_the_pixel_size_of_the_table(pixel_run) -> None:
    """Also where the file states another; where the table knows none, that of the file."""
    table = replace(
        pixel_run.table, fields=pixel_run.table.fields.assign(pixel_size_um=[0.5, 0.5, 0.5, np.nan])
    )
    sizes = [each.field.pixel_size_um for each in open_fields(table, pixel_run.sources)]
    assert sizes == pytest.approx([0.5, 0.5, 0.5, 0.25])


def test_masks_that_overlap_are_told(pixel_run, caplog: pytest.LogCaptureFixture) -> None:
    """The first two cells get the mask of both: the first has no pixel left. Or of one pixel more: it keeps some."""
    from hpa_cells.masks import encode_labels

    cells = pixel_run.table.cells.copy()
    rows = cells.index[cells["field_id"] == "many"]
    lies_over = replace(pixel_run.table, cells=cells.copy())
    lies_over.cells.loc[rows[0], "cell_rle"] = cells.loc[rows[1], "cell_rle"]
    with pytest.raises(
        ValueError, match=r"Field many: 1 of 300 cells have no pixel .*\(1\), since their masks"
    ):
        list(open_fields(lies_over, pixel_run.sources))

    labels = np.where(pixel_run.segmentations["many"].cells <= 2, 2, 0).astype(np.int32)
    labels[0, 0] = 0
    partly = replace(pixel_run.table, cells=cells)
    partly.cells.loc[rows[1], "cell_rle"] = encode_labels(labels)[1][0].decode()
    partly.cells.loc[rows[1], "area_px"] = int((labels == 2).sum())
    with caplog.at_level(logging.WARNING):
        opened = {each.field.field_id: each for each in open_fields(partly, pixel_run.sources)}
    assert "Field many: masks overlap in 7 px" in caplog.text
    assert (opened["many"].segmentation.cells == 1).sum() == 1


def test_masks_that_cannot_be_read(pixel_run) -> None:
    broken = replace(pixel_run.table, cells=pixel_run.table.cells.copy())
    broken.cells.loc[broken.cells["field_id"] == "Large_ids", "cell_rle"] = "1"
    with pytest.raises(ValueError, match="Field Large_ids: "):
        list(open_fields(broken, pixel_run.sources))


@pytest.mark.parametrize("kind", [SpatialDataFormat, OmeZarrFormat, OmeTiffFormat, H5scFormat, CropsFormat])
def test_no_field_is_held_beyond_the_next(pixel_run, tmp_path, kind: type) -> None:
    """While a field is opened, at most the one before it is alive."""
    images: list[weakref.ref] = []

    def watched():
        opened = open_fields(pixel_run.table, pixel_run.sources)
        for _ in range(len(pixel_run.fields)):
            gc.collect()
            assert sum(image() is not None for image in images) <= 1
            each = next(opened)
            images.append(weakref.ref(each.field.image))
            yield each
            del each

    kind().write_with_fields(pixel_run.table, watched(), tmp_path / "out")
    assert len(images) == len(pixel_run.fields)


def test_kinds_of_formats() -> None:
    for kind in (SpatialDataFormat, OmeZarrFormat, OmeTiffFormat, H5scFormat):
        assert isinstance(kind(), PixelFormat)
    assert not isinstance(AnnDataFormat(), PixelFormat)
    assert not isinstance(CsvFormat(), PixelFormat)
    assert not isinstance(SpatialDataFormat(), SubmissionFormat)
