from __future__ import annotations

import pickle
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hpa_cells.commands.settings import conf_folder
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import Watershed
from hpa_cells.types import Channel, Field, Segmentation, label_ids


def segment(field: Field, **settings: float) -> Segmentation:
    [segmentation] = Watershed(**settings).segment([field])
    return segmentation


def f1(pairs: list[tuple[NDArray[np.int32], NDArray[np.int32]]], iou_threshold: float) -> float:
    return float(score_instances(pairs, iou_thresholds=[iou_threshold])["f1"].iloc[0])


def test_all_cells_of_a_made_up_field_are_found(field: Field, true_cells: NDArray[np.int32]) -> None:
    segmentation = segment(field)
    assert segmentation.cell_ids.tolist() == [1, 2, 3, 4, 5]
    assert f1([(segmentation.cells, true_cells)], 0.7) == 1


def test_every_cell_has_a_nucleus_inside_it(field: Field) -> None:
    segmentation = segment(field)
    inside = segmentation.nuclei > 0
    assert label_ids(segmentation.nuclei).tolist() == segmentation.cell_ids.tolist()
    np.testing.assert_array_equal(segmentation.nuclei[inside], segmentation.cells[inside])


def test_a_16_bit_copy_gives_the_same_cells(field: Field) -> None:
    copy = replace(field, image=field.image.astype(np.uint16) * 257)
    ours, theirs = segment(field), segment(copy)
    np.testing.assert_array_equal(ours.cells, theirs.cells)
    np.testing.assert_array_equal(ours.nuclei, theirs.nuclei)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_another_pixel_size_gives_about_the_same_cells(field: Field, factor: float) -> None:
    size = (round(field.width_px * factor), round(field.height_px * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    planes = [cv2.resize(plane, size, interpolation=method) for plane in field.image]
    copy = replace(field, image=np.stack(planes), pixel_size_um=field.pixel_size_um / factor)
    cells = cv2.resize(segment(field).cells, size, interpolation=cv2.INTER_NEAREST)
    assert f1([(segment(copy).cells, cells)], 0.9) == 1


def test_a_turned_field_gives_turned_cells(field: Field) -> None:
    turned = replace(field, image=np.ascontiguousarray(np.rot90(field.image, axes=(1, 2))))
    cells = np.rot90(segment(field).cells)
    assert f1([(segment(turned).cells, cells)], 0.97) == 1


def test_fields_do_not_disturb_each_other(field: Field) -> None:
    dark = replace(field, field_id="dark", image=field.image // 4)
    alone, together = segment(dark), Watershed().segment([field, dark])
    assert [each.field_id for each in together] == ["made-up", "dark"]
    np.testing.assert_array_equal(together[1].cells, alone.cells)


def test_the_protein_is_not_looked_at(field: Field) -> None:
    image = field.image.copy()
    image[Channel.PROTEIN] = 255
    np.testing.assert_array_equal(segment(replace(field, image=image)).cells, segment(field).cells)


def test_a_field_without_er(field: Field, true_cells: NDArray[np.int32]) -> None:
    image = field.image.copy()
    image[Channel.ER] = 0
    without = replace(field, image=image, missing=frozenset({Channel.ER}))
    assert f1([(segment(without).cells, true_cells)], 0.7) == 1
    assert Watershed().optional_channels == {Channel.ER, Channel.PROTEIN}


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (256, 256)])
def test_a_flat_field_has_no_cells(value: int, shape: tuple[int, int]) -> None:
    flat = Field(field_id="f", image=np.full((4, *shape), value, dtype=np.uint8), pixel_size_um=0.3)
    segmentation = segment(flat)
    assert segmentation.cells.shape == shape
    assert not segmentation.cells.any()


def test_noise_has_no_cells() -> None:
    noise = np.random.default_rng(0).poisson(5, (4, 400, 500)).astype(np.uint8)
    assert not segment(Field(field_id="f", image=noise, pixel_size_um=0.3)).cells.any()


def test_a_saturated_field_keeps_its_cells(field: Field) -> None:
    saturated = np.minimum(field.image.astype(int) * 8, 255).astype(np.uint8)
    assert len(segment(replace(field, image=saturated)).cell_ids) == 5


def test_one_giant_nucleus_is_one_cell() -> None:
    image = np.full((4, 512, 512), 2, dtype=np.uint8)
    for plane in image:
        cv2.circle(plane, (256, 256), 200, 150, thickness=-1)
    giant = Field(field_id="f", image=image, pixel_size_um=0.32)
    segmentation = segment(giant)
    assert segmentation.cell_ids.tolist() == [1]
    assert f1([(segmentation.cells, (image[0] > 100).astype(np.int32))], 0.9) == 1


def test_three_hundred_cells() -> None:
    image = np.full((4, 800, 600), 3, dtype=np.uint8)
    for index in range(300):
        row, column = divmod(index, 15)
        for channel, radius in ((0, 16), (2, 9), (3, 16)):
            cv2.circle(image[channel], (column * 40 + 20, row * 40 + 20), radius, 160, thickness=-1)
    assert len(segment(Field(field_id="f", image=image, pixel_size_um=0.5)).cell_ids) == 300


def test_the_files_settings_are_the_defaults() -> None:
    node = OmegaConf.load(conf_folder() / "segmenter" / "watershed.yaml")
    assert asdict(instantiate(node)) == asdict(Watershed())
    assert set(node) - {"_target_"} == set(asdict(Watershed()))


def test_it_can_be_sent_to_another_process() -> None:
    settings = Watershed(nucleus_neck=0.7)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_settings_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"segmenter\.ring_um is .*: give a positive number"):
        Watershed(ring_um=value)


def read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


@pytest.fixture(scope="module")
def real_fields(real_data: Path) -> list[tuple[Field, NDArray[np.int32]]]:
    """The four fields of 2021, and their official cells."""
    folder = real_data / "hpa2021"
    pairs = []
    for mask in sorted((folder / "masks").glob("*_cells.png")):
        field_id = mask.name.removesuffix("_cells.png")
        planes = [read(folder / "fields" / f"{field_id}_{channel.color}.png") for channel in Channel]
        field = Field(field_id=field_id, image=np.stack(planes), pixel_size_um=0.08)
        pairs.append((field, read(mask).astype(np.int32)))
    return pairs


def test_cells_of_real_fields(real_fields: list[tuple[Field, NDArray[np.int32]]]) -> None:
    segmentations = Watershed().segment([field for field, _ in real_fields])
    pairs = [(found.cells, truth) for found, (_, truth) in zip(segmentations, real_fields, strict=True)]
    assert f1(pairs, 0.6) >= 0.87
    assert f1(pairs, 0.75) >= 0.7


def test_a_real_field_at_a_quarter_of_its_size(real_fields: list[tuple[Field, NDArray[np.int32]]]) -> None:
    field, _ = real_fields[0]
    planes = [cv2.resize(plane, (512, 512), interpolation=cv2.INTER_AREA) for plane in field.image]
    small = replace(field, image=np.stack(planes), pixel_size_um=0.32)
    cells = cv2.resize(segment(field).cells, (512, 512), interpolation=cv2.INTER_NEAREST_EXACT)
    assert f1([(segment(small).cells, cells)], 0.9) >= 0.95


def test_nuclei_of_real_images(real_data: Path) -> None:
    pairs = []
    for path in sorted((real_data / "nuclei" / "images").iterdir()):
        stain = read(path)
        stain = stain if stain.ndim == 2 else stain.max(axis=2)
        image = np.zeros((4, *stain.shape), dtype=np.uint8)
        image[Channel.NUCLEUS] = stain
        # Their pixel sizes are unknown and unequal; 0.65 um is a camera behind a 10x or 20x lens.
        nuclei = segment(Field(field_id=path.stem, image=image, pixel_size_um=0.65)).nuclei
        pairs.append((nuclei, read(real_data / "nuclei" / "labels" / path.name).astype(np.int32)))
    assert len(pairs) == 36
    assert f1(pairs, 0.5) >= 0.85
