from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from hpa_cells.places import place
from hpa_cells.segmentation import (
    Precomputed,
    is_written,
    read_segmentation,
    write_segmentation,
    written_fields,
)
from hpa_cells.types import Field, Segmentation

label_images = arrays(
    np.int32,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 2**31 - 1]),
)


def segmentation_of(cells: NDArray[np.int32]) -> Segmentation:
    nuclei = np.where(np.indices(cells.shape).sum(axis=0) % 2 == 0, cells, 0)
    return Segmentation(field_id="f", cells=cells, nuclei=nuclei, pixel_size_um=0.1)


@settings(max_examples=40)
@given(label_images)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, cells: NDArray[np.int32]) -> None:
    folder = tmp_path_factory.mktemp("masks")
    written = segmentation_of(cells)
    write_segmentation(written, folder)
    field = Field(field_id="f", image=np.zeros((4, *cells.shape), dtype=np.uint8), pixel_size_um=0.1)
    [precomputed] = Precomputed(folder=folder).segment([field])
    for read in (read_segmentation(folder, "f", pixel_size_um=0.1), precomputed):
        np.testing.assert_array_equal(read.cells, written.cells)
        np.testing.assert_array_equal(read.nuclei, written.nuclei)
    suffix = ".png" if cells.max() <= 65_535 else ".tif"
    assert {path.name for path in folder.iterdir()} == {f"f_cells{suffix}", f"f_nuclei{suffix}"}


def test_a_later_result_replaces_an_earlier_one_of_the_other_format(tmp_path: Path) -> None:
    for top in (70_000, 5, 70_000):
        write_segmentation(segmentation_of(np.full((3, 4), top, dtype=np.int32)), tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        assert read_segmentation(tmp_path, "f", pixel_size_um=0.1).cell_ids.tolist() == [top]


def test_a_field_is_finished_when_both_images_are_there(tmp_path: Path) -> None:
    assert not is_written(tmp_path, "f")
    write_segmentation(segmentation_of(np.ones((3, 4), dtype=np.int32)), tmp_path)
    assert is_written(tmp_path, "f")
    (tmp_path / "f_nuclei.png").unlink()
    assert not is_written(tmp_path, "f")


def test_a_field_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Field f has no f_cells\.png"):
        read_segmentation(tmp_path, "f", pixel_size_um=0.1)


def test_finished_fields_by_one_look(far: Any, tmp_path: Path) -> None:
    for folder in (tmp_path / "masks", f"{far.url}/masks"):
        assert written_fields(folder) == frozenset()
        for field_id, top in (("a b", 5), ("c_cells", 70_000), ("d", 1)):
            segmentation = segmentation_of(np.full((3, 4), top, dtype=np.int32))
            write_segmentation(replace(segmentation, field_id=field_id), folder)
        assert written_fields(folder) == {"a b", "c_cells", "d"}
        (place(folder) / "d_nuclei.png").unlink()
        assert written_fields(folder) == {"a b", "c_cells"}
        assert all(is_written(folder, each) for each in ("a b", "c_cells"))
        assert not is_written(folder, "d")
