from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.fields import find_fields, write_field
from hpa_cells.report import ReportSettings
from hpa_cells.report.drawing import field_picture, open_field
from hpa_cells.report.marks import outlines_of
from hpa_cells.report.pictures import channel_uris, data_uri, flat_outline, shrunk, thumbnail_uri
from hpa_cells.types import Field


def pixels(uri: str) -> np.ndarray:
    header, text = uri.split(",")
    assert header == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def channels() -> np.ndarray:
    smooth = np.random.default_rng(0).integers(0, 256, (4, 12, 20), dtype=np.uint8)
    return np.stack([cv2.resize(each, (200, 120), interpolation=cv2.INTER_LINEAR) for each in smooth])


def test_each_channel_is_a_grey_picture_close_to_what_it_was(channels: np.ndarray) -> None:
    uris, size = channel_uris(channels, side_px=1024)
    assert size == (120, 200)
    for uri, channel in zip(uris, channels, strict=True):
        image = pixels(uri)
        green = image if image.ndim == 2 else image[..., 1]
        assert np.abs(green.astype(int) - channel).mean() < 4


def test_a_black_channel_takes_no_place(channels: np.ndarray) -> None:
    channels[3] = 0
    uris, _ = channel_uris(channels, side_px=None)
    assert [bool(uri) for uri in uris] == [True, True, True, False]


def test_pictures_shrink_to_what_they_may_take(channels: np.ndarray) -> None:
    large, _ = channel_uris(channels, side_px=None)
    limit = sum(map(len, large)) / 2
    small, (height, width) = channel_uris(channels, side_px=None, max_bytes=limit)
    assert sum(map(len, small)) <= limit
    assert (height, width) < (120, 200)
    assert width / height == pytest.approx(200 / 120, rel=0.03)
    _, size = channel_uris(channels, side_px=None, max_bytes=1)
    assert size == (38, 64)


def test_a_field_is_shrunk_but_not_enlarged(channels: np.ndarray) -> None:
    assert shrunk(channels, 400) is channels
    assert shrunk(channels, None) is channels
    assert shrunk(channels, 50).shape == (4, 30, 50)
    assert pixels(thumbnail_uri(channels)).shape == (86, 144, 3)


def test_colours_stay_in_order() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 250
    blue, green, back = pixels(data_uri(red))[16, 16]
    assert back > 200 > 60 > max(int(blue), int(green))


def test_an_outline_fills_its_mask_again(world, label_images) -> None:
    table, labels = world.table, label_images["first"]
    for _, row in table.cells[table.cells["field_id"] == "first"].iterrows():
        painted = np.zeros_like(labels, dtype=np.uint8)
        for line in outlines_of(labels, row):
            points = np.array(flat_outline(line, 0.1)).reshape(-1, 2)
            assert (points % 2 == 1).all()  # the middles of pixels, in halves
            cv2.fillPoly(painted, [(points - 1) // 2], 1)
        assert np.array_equal(painted.astype(bool), labels == row["cell_id"])


def test_many_cells_take_from_what_the_pictures_may_take(make_table, tmp_path: Path) -> None:
    """300 cells beside none, in the same pixels: the pictures are smaller, and all of it takes no more."""
    image = np.random.default_rng(0).integers(0, 256, (4, 200, 300), dtype=np.uint8)
    write_field(Field(field_id="f", image=image, pixel_size_um=0.3), tmp_path)
    (source,) = find_fields(tmp_path)
    many = 1 + np.arange(200)[:, None] // 10 * 15 + np.arange(300) // 20
    taken = {}
    for name, labels in {"many": many.astype(np.int32), "none": np.zeros((200, 300), np.int32)}.items():
        opened = open_field(make_table({"f": labels}), source, ReportSettings())
        picture = field_picture(opened, "f", side_px=None, max_bytes=120_000)
        cells_bytes = len(json.dumps(picture.outlines, separators=(",", ":"))) + 200 * len(picture.outlines)
        taken[name] = (sum(map(len, picture.channels)), cells_bytes)
    assert 60_000 < taken["many"][1] < 90_000
    assert sum(taken["many"]) <= 120_000
    assert taken["many"][0] < taken["none"][0] <= 120_000
    # Of cells that leave nothing, the pictures still get a quarter.
    opened = open_field(make_table({"f": many.astype(np.int32)}), source, ReportSettings())
    small = field_picture(opened, "f", side_px=None, max_bytes=40_000)
    assert 1_000 < sum(map(len, small.channels)) <= 10_000
