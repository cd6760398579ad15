from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hpa_cells.cells import CropSettings, crop_cells, normalise_field
from hpa_cells.commands.settings import to_settings
from hpa_cells.types import CellCrops, Field, Segmentation

HEIGHT, WIDTH = 120, 200


@pytest.fixture
def field() -> Field:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 4)).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return Field(field_id="f", image=np.ascontiguousarray(image.transpose(2, 0, 1)), pixel_size_um=0.2)


@pytest.fixture
def segmentation() -> Segmentation:
    """Cells in two corners, at an edge, inside (round), and a larger one; ids with gaps, beyond 16 bit."""
    cells = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    cells[:20, :13] = 4
    cells[100:, 181:] = 300
    cells[50:63, 190:] = 70_000
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    cells[(y - 60) ** 2 + (x - 70) ** 2 <= 15**2] = 9
    cells[30:110, 100:170] = 12
    return Segmentation(field_id="f", cells=cells, nuclei=np.zeros_like(cells), pixel_size_um=0.2)


def slow_twin(
    field: Field, segmentation: Segmentation, settings: CropSettings, cell_id: int
) -> NDArray[np.uint8]:
    """One cell at a time, by padding the whole field with zeros on all sides."""
    image = normalise_field(field).transpose(1, 2, 0)
    labels = segmentation.cells
    y, x = np.nonzero(labels == cell_id)
    side_px = max(np.ptp(y), np.ptp(x)) + 1
    middle = np.array([(x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2])
    size = settings.size_px
    scale = 1.0 if settings.um_per_px is None else field.pixel_size_um / settings.um_per_px
    fitted = settings.um_per_px is None or side_px * scale > size
    factor = 1
    if fitted:
        window = int(np.ceil(side_px / (1 - 2 * settings.margin)))
        scale = 1.0
        while window >= 2 * factor * size:
            factor *= 2
        window = int(np.ceil(window / factor)) * factor
    else:
        window = size
        shape = (round(WIDTH * scale), round(HEIGHT * scale))
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        labels = cv2.resize(labels, shape, interpolation=cv2.INTER_NEAREST_EXACT)
    pad = 4 * max(window, size)
    pad -= pad % factor
    image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    labels = np.pad(labels, pad)
    left, top = (factor * int(np.rint((value * scale - window / 2) / factor)) + pad for value in middle)
    crop = image[top : top + window, left : left + window].copy()
    mask = labels[top : top + window, left : left + window]
    if fitted:
        # In two steps, the first of which is the same for the whole field.
        window //= factor
        crop = cv2.resize(crop, (window, window), interpolation=cv2.INTER_AREA)
        method = cv2.INTER_AREA if size < window else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (size, size), interpolation=method)
        mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    if settings.masked:
        crop[mask != cell_id] = 0
    return crop.transpose(2, 0, 1)


@pytest.mark.parametrize("um_per_px", [None, 0.2, 0.37, 0.1])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size_px", [8, 32, 65])
def test_agrees_with_the_slow_twin(
    field: Field, segmentation: Segmentation, um_per_px: float | None, masked: bool, size_px: int
) -> None:
    settings = CropSettings(size_px=size_px, masked=masked, um_per_px=um_per_px)
    crops = crop_cells(field, segmentation, settings)
    assert crops.cell_ids.tolist() == [4, 9, 12, 300, 70_000]
    assert crops.touches_border.tolist() == [True, False, False, True, True]
    pixels = [int((segmentation.cells == cell_id).sum()) for cell_id in crops.cell_ids]
    np.testing.assert_allclose(crops.areas_um2, np.array(pixels) * segmentation.pixel_size_um**2)
    for cell_id, image in zip(crops.cell_ids, crops.images, strict=True):
        np.testing.assert_array_equal(image, slow_twin(field, segmentation, settings, cell_id))


def crop_one(field: Field, segmentation: Segmentation, cell_id: int, **settings: object) -> NDArray[np.uint8]:
    crops: CellCrops = crop_cells(field, segmentation, CropSettings(**settings))  # type: ignore[arg-type]
    return crops.images[crops.cell_ids.tolist().index(cell_id)]


def test_at_the_fields_own_scale_a_crop_is_a_cutting(field: Field, segmentation: Segmentation) -> None:
    image = crop_one(field, segmentation, 12, size_px=90, um_per_px=0.2, masked=False)
    np.testing.assert_array_equal(image, normalise_field(field)[:, 25:115, 90:180])


def test_a_masked_crop_shows_one_cell_only(field: Field, segmentation: Segmentation) -> None:
    bright = replace(field, image=np.full_like(field.image, 255))
    bright.image[:, ::7] = 0  # something to be normalised
    image = crop_one(bright, segmentation, 9, size_px=64, um_per_px=0.2)
    shown = image[0].max(axis=1) > 0
    assert 25 <= shown.sum() <= 31
    assert not image[:, 0].any()


def test_a_fitted_cell_fills_the_crop_but_for_the_margin(field: Field, segmentation: Segmentation) -> None:
    bright = replace(field, image=np.full_like(field.image, 255))
    bright.image[:, 0] = 0
    bright.image[:, :, 0] = 0
    image = crop_one(bright, segmentation, 12, size_px=100, margin=0.1)
    rows = np.flatnonzero(image[0].max(axis=1))
    assert abs(rows[0] - 10) <= 1
    assert abs(rows[-1] - 89) <= 1


def test_a_cell_larger_than_a_crop_of_fixed_scale_is_shrunk_to_fit(
    field: Field, segmentation: Segmentation
) -> None:
    fixed = crop_one(field, segmentation, 12, size_px=32, um_per_px=0.2)
    fitted = crop_one(field, segmentation, 12, size_px=32)
    np.testing.assert_array_equal(fixed, fitted)


def test_three_hundred_cells() -> None:
    cells = np.zeros((400, 300), dtype=np.int32)
    for index in range(300):
        row, column = divmod(index, 15)
        cells[row * 20 + 2 : row * 20 + 18, column * 20 + 2 : column * 20 + 18] = 1000 - index
    rng = np.random.default_rng(0)
    field = Field(field_id="f", image=rng.integers(0, 255, (4, 400, 300)).astype(np.uint8), pixel_size_um=0.1)
    segmentation = Segmentation(field_id="f", cells=cells, nuclei=cells, pixel_size_um=0.1)
    crops = crop_cells(field, segmentation, CropSettings(size_px=16, margin=0))
    assert crops.cell_ids.tolist() == list(range(701, 1001))
    assert crops.images.shape == (300, 4, 16, 16)
    np.testing.assert_array_equal(crops.images[-1], normalise_field(field)[:, 2:18, 2:18])
    assert not crops.touches_border.any()


def test_a_field_without_cells_gives_no_crops(field: Field, segmentation: Segmentation) -> None:
    empty = replace(segmentation, cells=np.zeros_like(segmentation.cells))
    crops = crop_cells(field, empty, CropSettings(size_px=32))
    assert crops.images.shape == (0, 4, 32, 32)


def test_16_bit_gives_the_same_crops(field: Field, segmentation: Segmentation) -> None:
    copy = replace(field, image=field.image.astype(np.uint16) * 257)
    settings = CropSettings(size_px=48)
    np.testing.assert_array_equal(
        crop_cells(field, segmentation, settings).images, crop_cells(copy, segmentation, settings).images
    )


@pytest.mark.parametrize("um_per_px", [None, 0.2])
def test_a_flipped_field_gives_flipped_crops(
    field: Field, segmentation: Segmentation, um_per_px: float | None
) -> None:
    settings = CropSettings(size_px=64, um_per_px=um_per_px, masked=False)
    flipped_field = replace(field, image=np.ascontiguousarray(field.image[:, :, ::-1]))
    flipped_cells = replace(segmentation, cells=np.ascontiguousarray(segmentation.cells[:, ::-1]))
    crops = crop_cells(field, segmentation, settings)
    flipped = crop_cells(flipped_field, flipped_cells, settings)
    assert flipped.cell_ids.tolist() == crops.cell_ids.tolist()
    # The middle of cell 12 lies between two pixels of its crop, so that the mirror image is exact.
    position = crops.cell_ids.tolist().index(12)
    difference = crops.images[position, :, :, ::-1].astype(int) - flipped.images[position]
    assert np.abs(difference).max() <= 1


def test_another_fields_cells_are_refused(field: Field, segmentation: Segmentation) -> None:
    other = replace(segmentation, field_id="g")
    with pytest.raises(ValueError, match="its segmentation is of g"):
        crop_cells(field, other, CropSettings())
    turned = replace(segmentation, cells=segmentation.cells.T, nuclei=segmentation.nuclei.T)
    with pytest.raises(ValueError, match=r"shape \(200, 120\)"):
        crop_cells(field, turned, CropSettings())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size_px", 4), ("um_per_px", 0.0), ("um_per_px", float("nan")), ("margin", 0.5), ("margin", -0.1)],
)
def test_impossible_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"crops\.{setting} is"):
        CropSettings(**{setting: value})  # type: ignore[arg-type]


def test_settings_come_from_a_configuration() -> None:
    node = OmegaConf.create({"size_px": 64, "masked": False, "um_per_px": 0.4, "margin": 0.0})
    assert to_settings(CropSettings, node) == CropSettings(
        size_px=64, masked=False, um_per_px=0.4, margin=0.0
    )
    node = OmegaConf.create({"um_per_px": None})
    assert to_settings(CropSettings, node) == CropSettings()
