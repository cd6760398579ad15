from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpa_cells.segmentation.hpacellseg import CellSegmentator
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet
from hpa_cells.segmentation.hpacellseg.weights import NUCLEI

ROWS, COLUMNS = slice(40, 120), slice(400, 600)


class Bright(nn.Module):
    """Finds an interior where one plane of the image is bright, and counts its batches."""

    def __init__(self, plane: int = 2) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.plane = plane
        self.batches: list[tuple[int, ...]] = []

    def forward(self, planes: Tensor) -> Tensor:
        self.batches.append(tuple(planes.shape))
        mean = (124, 117, 104)[self.plane] / 255
        brightness = planes[:, self.plane] / (0.0167 * 255) + mean
        nothing = torch.zeros_like(brightness)
        return torch.stack([nothing, nothing - 20, 40 * (brightness - 0.5) * self.factor], dim=1)


def image_of(height: int, width: int) -> NDArray[np.uint8]:
    image = np.zeros((height, width), dtype=np.uint8)
    image[ROWS, COLUMNS] = 255
    return image


def segmentator(nuclei: Any = None, cells: Any = None, **settings: Any) -> CellSegmentator:
    return CellSegmentator(nuclei or Bright(), cells or Bright(), device="cpu", **settings)


def assert_found(prediction: NDArray[np.uint8], image: NDArray[Any]) -> None:
    assert prediction.dtype == np.uint8
    assert prediction.shape == (*image.shape[:2], 3)
    assert not prediction[..., 0].any()
    found, wanted = prediction[..., 2] > 127, image > 0
    assert (found & wanted).sum() > 0.95 * (found | wanted).sum()


def test_arguments_are_those_that_scripts_give() -> None:
    parameters = inspect.signature(CellSegmentator).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "nuclei_model": "./nuclei_model.pth",
        "cell_model": "./cell_model.pth",
        "scale_factor": 0.25,
        "device": "cuda",
        "padding": False,
        "multi_channel_model": True,
    }
    assert list(inspect.signature(CellSegmentator.pred_cells).parameters) == ["self", "images", "precombined"]


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("shape", [(640, 640), (400, 640), (1200, 648), (1728, 1728)])
def test_height_and_width_stay_where_they_are(shape: tuple[int, int], padding: bool) -> None:
    """The published package turns (400, 640) into (640, 400), and fails on 1728 px without padding."""
    image = image_of(*shape)
    predictor = segmentator(padding=padding)
    [of_nuclei] = predictor.pred_nuclei([image])
    [of_cells] = predictor.pred_cells([[image], [image], [image]])
    assert_found(of_nuclei, image)
    assert_found(of_cells, image)


def test_images_go_through_together() -> None:
    """The published package takes one image at a time."""
    nuclei = Bright()
    images = [image_of(400, 640), image_of(640, 640), image_of(400, 640), image_of(400, 640)]
    for prediction, image in zip(segmentator(nuclei).pred_nuclei(images), images, strict=True):
        assert_found(prediction, image)
    assert sorted(nuclei.batches) == [(1, 3, 160, 160), (3, 3, 128, 160)]


@pytest.mark.parametrize("scale_factor", [0.25, 0.5, 1, 0.3])
def test_scales(scale_factor: float) -> None:
    image = image_of(400, 640)
    assert_found(segmentator(scale_factor=scale_factor).pred_nuclei([image])[0], image)


def test_depths_are_alike() -> None:
    image = image_of(400, 640) // 2 + 30
    depths = [image, image.astype(np.uint16) * 257, image / 255]
    first, *others = segmentator().pred_nuclei(depths)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_channels_of_unlike_depth() -> None:
    image = image_of(400, 640)
    [found] = segmentator(cells=Bright(1)).pred_cells(
        [[image], [image.astype(np.uint16) * 257], [image / 255]]
    )
    assert_found(found, image)


def test_nuclei_are_in_the_last_plane() -> None:
    image = image_of(400, 640)
    colored = np.dstack([np.full_like(image, 255), np.full_like(image, 255), image])
    assert_found(segmentator().pred_nuclei([colored])[0], image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_files(tmp_path: Path, suffix: str) -> None:
    image = image_of(400, 640)
    cv2.imwrite(str(tmp_path / f"grey{suffix}"), image.astype(np.uint16) * 257)
    # OpenCV writes blue first.
    cv2.imwrite(str(tmp_path / f"colored{suffix}"), np.dstack([image, 255 - image, 255 - image]))
    grey, colored = str(tmp_path / f"grey{suffix}"), tmp_path / f"colored{suffix}"
    for prediction in segmentator().pred_nuclei([grey, colored]):
        assert_found(prediction, image)
    assert_found(segmentator().pred_cells([[grey], [grey], [grey]])[0], image)
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
        segmentator().pred_nuclei([str(tmp_path / "none.png")])


def test_files_of_strangers(tmp_path: Path) -> None:
    """They are read as those of fields are, and not by what a library makes of a path."""
    whole = cv2.imencode(".png", image_of(400, 640))[1].tobytes()
    for name, data, found in (
        ("cut", whole[:-200], "it is cut off after"),
        ("promise", whole[:16] + b"\0\1\0\0" * 2 + whole[24:], "more than 32768 px a side"),
        ("other", b"BM" + whole, "it is not a PNG, JPEG or TIFF"),
        ("empty", b"", "it is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} cannot be used: .*{found}"):
            segmentator().pred_nuclei([tmp_path / name])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe cannot be used: it is no regular file"):
        segmentator().pred_nuclei([tmp_path / "pipe"])


def test_transparency_is_left_out(tmp_path: Path) -> None:
    image = image_of(400, 640)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([image, 255 - image, 255 - image, image // 2]))
    assert_found(segmentator().pred_nuclei([tmp_path / "a.png"])[0], image)


@pytest.mark.parametrize("plane", range(3))
def test_cell_channels_are_microtubules_er_and_nuclei(plane: int) -> None:
    image = image_of(400, 640)
    channels = [image if index == plane else np.zeros_like(image) for index in range(3)]
    predictor = segmentator(cells=Bright(plane))
    [found] = predictor.pred_cells([[channel] for channel in channels])
    [combined] = predictor.pred_cells([np.dstack(channels)], precombined=True)
    assert_found(found, image)
    np.testing.assert_array_equal(found, combined)


def test_the_er_may_be_left_out_for_its_network() -> None:
    image = image_of(400, 640)
    [found] = segmentator(cells=Bright(0), multi_channel_model=False).pred_cells([[image], None, [image]])
    assert_found(found, image)
    [found] = segmentator(cells=Bright(1), multi_channel_model=False).pred_cells([[image], None, [image]])
    assert not (found[..., 2] > 127).any()


class Records(Bright):
    """Keeps what it sees, as pixels from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[NDArray[np.float32]] = []

    def forward(self, planes: Tensor) -> Tensor:
        mean = torch.tensor([124, 117, 104])[:, None, None] / 255
        self.seen.append((planes / (0.0167 * 255) + mean).numpy())
        return super().forward(planes)


def flat(value: int) -> list[NDArray[np.uint8]]:
    return [np.full((256, 256), value, dtype=np.uint8)]


@pytest.mark.parametrize(
    ("images", "multi_channel", "seen"),
    [
        ([flat(51), flat(102), flat(204)], True, [0.2, 0.4, 0.8]),
        ([flat(51), None, flat(204)], False, [0.2, 0, 0.8]),
    ],
)
def test_the_network_sees_each_channel_in_its_plane(
    images: list[Any], multi_channel: bool, seen: list[float]
) -> None:
    network = Records()
    segmentator(cells=network, multi_channel_model=multi_channel).pred_cells(images)
    [batch] = network.seen
    wanted = np.broadcast_to(np.array(seen)[:, None, None], batch.shape[1:])
    np.testing.assert_allclose(batch[0], wanted, atol=1e-5)


@pytest.mark.parametrize("multi_channel", [False, True])
@pytest.mark.parametrize(
    ("images", "missing"),
    [
        ([None, flat(102), flat(204)], "microtubules"),
        ([flat(51), flat(102), None], "nuclei"),
        ([None, None, flat(204)], "microtubules"),
        ([flat(51), None, None], "nuclei"),
        ([None, None, None], "microtubules"),
    ],
)
def test_no_channel_but_the_er_may_be_missing(images: list[Any], missing: str, multi_channel: bool) -> None:
    network = Records()
    with pytest.raises(ValueError, match=f"images of the {missing} are None"):
        segmentator(cells=network, multi_channel_model=multi_channel).pred_cells(images)
    assert network.seen == []


@pytest.mark.parametrize("images", [[flat(51), [None], flat(204)], [[None], flat(102), flat(204)]])
def test_no_single_image_may_be_missing(images: list[Any]) -> None:
    with pytest.raises(TypeError, match="An image is of type NoneType: give an array or the path"):
        segmentator().pred_cells(images)


@pytest.mark.parametrize("scale_factor", [0, -1, float("nan"), float("inf")])
def test_scales_that_are_not_positive_are_refused(scale_factor: float) -> None:
    with pytest.raises(ValueError, match=f"scale_factor is {scale_factor}: give a positive number"):
        segmentator(scale_factor=scale_factor)


def test_images_without_a_pixel_are_refused() -> None:
    empty = np.zeros((0, 640), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"Image 1 has the shape \(0, 640\), without a pixel"):
        segmentator().pred_nuclei([IMAGE, empty])
    with pytest.raises(ValueError, match="Image 0 has the shape"):
        segmentator().pred_cells([[empty], [empty], [empty]])
    with pytest.raises(ValueError, match="Image 0 has the shape"):
        segmentator().pred_cells([np.dstack([empty] * 3)], precombined=True)


def test_floats_beyond_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="Image 0 has floats from 0 to 255: divide"):
        segmentator().pred_nuclei([IMAGE.astype(np.float32)])


IMAGE = image_of(400, 640)


@pytest.mark.parametrize(
    ("images", "multi_channel", "found"),
    [
        ([[IMAGE], None, [IMAGE]], True, "The ER is missing"),
        ([[IMAGE], [IMAGE], [IMAGE]], False, "multi_channel_model=False"),
        ([[IMAGE], [IMAGE]], True, "2 lists of images"),
        ([[IMAGE], [IMAGE], []], True, "have 1, 1, 0 images"),
        ([[IMAGE], [IMAGE[:100]], [IMAGE]], True, r"\(100, 640\)"),
        ([[np.dstack([IMAGE] * 3)], [IMAGE], [IMAGE]], True, r"\(400, 640, 3\)"),
        ([[np.full((400, 640), np.nan)], [IMAGE], [IMAGE]], True, "not finite"),
    ],
)
def test_lists_that_do_not_fit(images: list[Any], multi_channel: bool, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        segmentator(multi_channel_model=multi_channel).pred_cells(images)


def test_precombined_images_have_three_planes() -> None:
    with pytest.raises(ValueError, match=r"Image 0 has the shape \(400, 640\)"):
        segmentator().pred_cells([IMAGE], precombined=True)


def test_nuclei_are_grey_or_have_three_planes() -> None:
    with pytest.raises(ValueError, match=r"Image 1 has the shape \(400, 640, 2\)"):
        segmentator().pred_nuclei([IMAGE, np.dstack([IMAGE] * 2)])


def test_no_images() -> None:
    assert segmentator().pred_nuclei([]) == []
    assert segmentator().pred_cells([[], [], []]) == []


def test_nuclei_alone() -> None:
    predictor = CellSegmentator(Bright(), None, device="cpu")
    assert_found(predictor.pred_nuclei([IMAGE])[0], IMAGE)
    with pytest.raises(ValueError, match="cell_model is None"):
        predictor.pred_cells([[IMAGE], [IMAGE], [IMAGE]])


def test_networks_from_files(tmp_path: Path, narrow: DPNUNet) -> None:
    path = tmp_path / "nuclei.pth"
    torch.save(narrow.state_dict(), path)
    [wanted] = CellSegmentator(narrow, None, device="cpu").pred_nuclei([IMAGE])
    for model in (str(path), path, nn.DataParallel(narrow)):
        [found] = CellSegmentator(model, None, device="cpu").pred_nuclei([IMAGE])
        np.testing.assert_array_equal(found, wanted)


def test_a_missing_file_is_the_published_one(
    tmp_path: Path, narrow: DPNUNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(narrow.state_dict(), tmp_path / NUCLEI)
    monkeypatch.setenv("HPA_CELLS_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = CellSegmentator(cell_model=None, device="cpu")
    assert "nuclei_model.pth does not exist: using the published" in caplog.text
    torch.testing.assert_close(found.nuclei_model.state_dict()["final.0.bias"], narrow.final[0].bias.detach())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_cpu_is_taken_where_there_is_no_gpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert CellSegmentator(Bright(), None).device.type == "cpu"
    assert "No GPU found" in caplog.text


def test_a_device_of_no_kind() -> None:
    with pytest.raises(ValueError, match="'tpu'"):
        CellSegmentator(Bright(), None, device="tpu")


def test_one_changed_line_serves_an_old_script(another_narrow: Callable[[str], DPNUNet]) -> None:
    from hpa_cells.segmentation.hpacellseg import cellsegmentator, label_cell, label_nuclei, utils

    assert (utils.label_cell, utils.label_nuclei) == (label_cell, label_nuclei)
    predictor = cellsegmentator.CellSegmentator(
        another_narrow("nuclei"), another_narrow("cells"), scale_factor=0.25, device="cpu", padding=True
    )
    nuclei_found, cells_found = (
        predictor.pred_nuclei([IMAGE]),
        predictor.pred_cells([[IMAGE], [IMAGE], [IMAGE]]),
    )
    nuclei, cells = utils.label_cell(nuclei_found[0], cells_found[0])
    assert nuclei.shape == cells.shape == IMAGE.shape
