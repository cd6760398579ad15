from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hpa_cells.addresses import Address
from hpa_cells.places import Place
from hpa_cells.segmentation import Precomputed
from hpa_cells.types import Channel, Field, Segmentation, label_ids


@pytest.fixture
def cells() -> NDArray[np.int32]:
    """(20, 30) int32 with gaps between the ids."""
    labels = np.zeros((20, 30), dtype=np.int32)
    labels[1:10, 1:12], labels[11:19, 5:20], labels[2:9, 18:29] = 3, 260, 40_000
    return labels


@pytest.fixture
def nuclei(cells: NDArray[np.int32]) -> NDArray[np.int32]:
    labels = np.zeros_like(cells)
    labels[4:7, 4:8], labels[13:16, 10:14] = 3, 260
    return labels


def save(path: Path, labels: NDArray[np.int32]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), labels.astype(np.uint16))


def segment(
    folder: Place,
    shape: tuple[int, int] = (20, 30),
    *,
    nuclei_folder: Path | None = None,
    match: bool = False,
) -> Segmentation:
    field = Field(field_id="f", image=np.zeros((4, *shape), dtype=np.uint8), pixel_size_um=0.2)
    segmenter = Precomputed(folder=folder, nuclei_folder=nuclei_folder, match_nuclei=match)
    [segmentation] = segmenter.segment([field])
    return segmentation


@pytest.mark.parametrize(
    ("cell_name", "nucleus_name"),
    [
        ("f_cells.png", "f_nuclei.png"),
        ("f_cells.tif", "f_nuclei.tif"),
        ("f_cellmask.png", "f_nucleimask.png"),
        ("f.png", "f_nuclei.png"),
    ],
)
def test_layouts(
    tmp_path: Path,
    cells: NDArray[np.int32],
    nuclei: NDArray[np.int32],
    cell_name: str,
    nucleus_name: str,
) -> None:
    save(tmp_path / cell_name, cells)
    without = segment(tmp_path)
    np.testing.assert_array_equal(without.cells, cells)
    assert not without.nuclei.any()
    assert without.pixel_size_um == 0.2
    save(tmp_path / nucleus_name, nuclei)
    np.testing.assert_array_equal(segment(tmp_path).nuclei, nuclei)


@pytest.mark.parametrize("name", ["f.png", "f_nucleimask.png", "f_nuclei.png"])
def test_nuclei_in_another_folder(
    tmp_path: Path, cells: NDArray[np.int32], nuclei: NDArray[np.int32], name: str
) -> None:
    save(tmp_path / "cells" / "f.png", cells)
    save(tmp_path / "nuclei" / name, nuclei)
    found = segment(tmp_path / "cells", nuclei_folder=tmp_path / "nuclei")
    np.testing.assert_array_equal(found.nuclei, nuclei)


def test_npz(tmp_path: Path, cells: NDArray[np.int32], nuclei: NDArray[np.int32]) -> None:
    np.savez_compressed(tmp_path / "f.npz", cells)
    np.testing.assert_array_equal(segment(tmp_path).cells, cells)
    np.savez_compressed(tmp_path / "f.npz", cells=cells, nuclei=nuclei)
    found = segment(tmp_path)
    np.testing.assert_array_equal(found.cells, cells)
    np.testing.assert_array_equal(found.nuclei, nuclei)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Field f has no label image in .*: add f_cells\.png"):
        segment(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        Precomputed(folder=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        Precomputed(folder=tmp_path, nuclei_folder=tmp_path / "nowhere")


def test_two_masks_of_one_field_are_refused(tmp_path: Path, cells: NDArray[np.int32]) -> None:
    save(tmp_path / "f_cells.png", cells)
    save(tmp_path / "f_cellmask.png", cells)
    with pytest.raises(ValueError, match=r"2 label images in .*f_cells\.png, f_cellmask\.png.*: keep one"):
        segment(tmp_path)


def test_another_shape_is_refused(tmp_path: Path, cells: NDArray[np.int32]) -> None:
    save(tmp_path / "f_cells.png", cells)
    with pytest.raises(
        ValueError, match=r"f_cells\.png has height x width \(20, 30\), field f has \(10, 15\)"
    ):
        segment(tmp_path, shape=(10, 15))
    with pytest.raises(ValueError, match="its axes are swapped"):
        segment(tmp_path, shape=(30, 20))


def test_nuclei_without_cells_are_named(
    tmp_path: Path, cells: NDArray[np.int32], nuclei: NDArray[np.int32]
) -> None:
    nuclei[15:18, 25:28] = 9
    save(tmp_path / "f_cells.png", cells)
    save(tmp_path / "f_nuclei.png", nuclei)
    with pytest.raises(ValueError, match=r"f_nuclei\.png has 1 nuclei absent from .*f_cells\.png \(9\)"):
        segment(tmp_path)


def test_nuclei_numbered_apart_are_matched_by_overlap(
    tmp_path: Path,
    cells: NDArray[np.int32],
    nuclei: NDArray[np.int32],
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = np.where(nuclei == 3, 11, np.where(nuclei == 260, 12, 0)).astype(np.int32)
    other[3:5, 8:25] = 13  # reaches from cell 3 into 40,000, where most of it is
    other[0, 14:17] = 14  # outside all cells
    save(tmp_path / "f_cells.png", cells)
    save(tmp_path / "f_nuclei.png", other)
    with caplog.at_level(logging.WARNING):
        matched = segment(tmp_path, match=True).nuclei
    assert "dropped 1 nuclei" in caplog.text
    for theirs, ours in ((11, 3), (12, 260), (13, 40_000), (14, 0)):
        np.testing.assert_array_equal(np.unique(matched[other == theirs]), [ours])


def test_matching_where_there_are_no_nuclei(tmp_path: Path, cells: NDArray[np.int32]) -> None:
    save(tmp_path / "f_cells.png", cells)
    assert not segment(tmp_path, match=True).nuclei.any()
    save(tmp_path / "f_cells.png", 0 * cells)
    assert not segment(tmp_path, match=True).cells.any()


def test_it_reads_any_field_and_can_be_sent_to_another_process(tmp_path: Path) -> None:
    segmenter = Precomputed(folder=tmp_path)
    assert segmenter.optional_channels == set(Channel)
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter


def test_the_real_masks_of_hpacellseg(real_data: Path) -> None:
    folder = real_data / "hpacellseg_masks"
    cells = cv2.imread(str(folder / "1000_A12_2_cellmask.png"), cv2.IMREAD_UNCHANGED)
    field = Field(
        field_id="1000_A12_2", image=np.zeros((4, *cells.shape), dtype=np.uint8), pixel_size_um=0.08
    )
    [exact] = Precomputed(folder=folder).segment([field])
    assert exact.cell_ids.tolist() == list(range(1, 22))
    assert label_ids(exact.nuclei).tolist() == list(range(1, 22))
    # Numbered alike by hpacellseg, and so matching by overlap changes nothing.
    [matched] = Precomputed(folder=folder, match_nuclei=True).segment([field])
    np.testing.assert_array_equal(matched.nuclei, exact.nuclei)


def test_one_npz_of_both_at_an_address(
    far: Any, tmp_path: Path, cells: NDArray[np.int32], nuclei: NDArray[np.int32]
) -> None:
    np.savez(tmp_path / "f_cells.npz", cells=cells, nuclei=nuclei)
    address = Address(f"{far.url}/masks/f_cells.npz")
    address.write_bytes((tmp_path / "f_cells.npz").read_bytes())
    segmentation = segment(address.parent)
    np.testing.assert_array_equal(segmentation.cells, cells)
    np.testing.assert_array_equal(segmentation.nuclei, nuclei)
    # A new segmenter sees what has come since.
    address.with_name("f.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Field f has 2 label images in .*/masks \(f_cells\.npz, f\.png\)"):
        segment(address.parent)
    with pytest.raises(FileNotFoundError, match=r"segmenter folder .*/nothing does not exist"):
        segment(address.parent.with_name("nothing"))
