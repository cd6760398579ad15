from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.training.segmenter.nucleus_images import read_nucleus_images
from hpa_cells.types import Channel

STAIN = np.random.default_rng(0).integers(0, 65535, (30, 40), dtype=np.uint16)
NUCLEI = np.arange(1200, dtype=np.uint16).reshape(30, 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image in 16 bits, one in colour with transparency; not in the order of their names."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    colour = np.dstack([STAIN // 512, STAIN // 256, STAIN // 1024, np.full_like(STAIN, 255)])
    for name, stain in (("b", colour.astype(np.uint8)), ("a", STAIN)):
        cv2.imwrite(str(tmp_path / f"images/{name}.png"), stain)
        cv2.imwrite(str(tmp_path / f"labels/{name}.png"), NUCLEI)
    return tmp_path


def test_images_become_fields_of_one_channel(folder: Path) -> None:
    images = list(read_nucleus_images(folder, um_per_px=0.5))
    assert [field.field_id for field, _ in images] == ["a", "b"]
    for (field, nuclei), stain in zip(images, (STAIN, STAIN // 256), strict=True):
        assert field.pixel_size_um == 0.5
        np.testing.assert_array_equal(field.image[Channel.NUCLEUS], stain)
        assert not np.delete(field.image, Channel.NUCLEUS, axis=0).any()
        assert nuclei.dtype == np.int32
        np.testing.assert_array_equal(nuclei, NUCLEI)


def test_images_and_labels_go_in_pairs(folder: Path) -> None:
    (folder / "labels/b.png").unlink()
    with pytest.raises(ValueError, match=r"images/b\.png has no .*labels/b\.png: .* go in pairs"):
        list(read_nucleus_images(folder, um_per_px=0.5))


def test_labels_of_another_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels/a.png"), NUCLEI[:20])
    with pytest.raises(ValueError, match=r"a\.png has 30 x 40 px, .*a\.png 20 x 40: labels are as large"):
        list(read_nucleus_images(folder, um_per_px=0.5))


def test_a_damaged_image(folder: Path) -> None:
    path = folder / "images/a.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"images/a\.png cannot be used: it is cut off"):
        list(read_nucleus_images(folder, um_per_px=0.5))
