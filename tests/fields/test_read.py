from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hpa_cells.fields import FieldSource, ImageFile, find_fields, read_field, write_field
from hpa_cells.fields.read import _tell_assumption
from hpa_cells.types import Channel, Field


def written(folder: Path, images: dict[Channel, NDArray[Any]], suffix: str = "png") -> FieldSource:
    files = {}
    for channel, image in images.items():
        path = folder / f"f_{channel.color}.{suffix}"
        assert cv2.imwrite(str(path), image)
        files[channel] = ImageFile.at(path)
    return FieldSource(field_id="f", files=files)


def flat(shape: tuple[int, int], dtype: type = np.uint8) -> dict[Channel, NDArray[Any]]:
    return {channel: np.full(shape, 10 + channel, dtype) for channel in Channel}


def test_a_tiff_of_floats_is_refused_by_name(tmp_path: Path) -> None:
    """Also one with NaN, as processed images may have."""
    source = written(tmp_path, flat((4, 5)), suffix="tif")
    path = tmp_path / "f_blue.tif"
    tifffile.imwrite(path, np.full((4, 5), np.nan, dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"its pixels are float32, expected unsigned integers of 8 or 16 bits"
    ) as caught:
        read_field(source)
    assert str(caught.value).startswith(f"Field f: {path} cannot be used")


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    is_16_bit=st.booleans(),
    missing=st.frozensets(st.sampled_from(Channel), max_size=3),
    pixel_size_um=st.sampled_from([0.08, 0.1625, 0.5]),
)
def test_a_written_field_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    is_16_bit: bool,
    missing: frozenset[Channel],
    pixel_size_um: float,
) -> None:
    dtype = np.uint16 if is_16_bit else np.uint8
    image = np.random.default_rng(height).integers(0, np.iinfo(dtype).max, (4, height, width), dtype=dtype)
    image[sorted(missing)] = 0
    field = Field(field_id="a b.c", image=image, pixel_size_um=pixel_size_um, missing=missing)
    folder = tmp_path_factory.mktemp("fields")
    write_field(field, folder / "new")
    (source,) = find_fields(folder / "new", optional=missing)
    back = read_field(source)
    np.testing.assert_array_equal(back.image, image, strict=True)
    assert (back.field_id, back.pixel_size_um, back.missing) == ("a b.c", pixel_size_um, missing)


def test_an_unsafe_id_is_not_written(tmp_path: Path) -> None:
    field = Field(field_id="../f", image=np.zeros((4, 2, 2), np.uint8), pixel_size_um=0.08)
    with pytest.raises(ValueError, match="rename the field"):
        write_field(field, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_field_like_the_human_protein_atlas_publishes_it(tmp_path: Path) -> None:
    images = {}
    for channel, image in flat((9, 7)).items():
        painted = np.zeros((9, 7, 3), np.uint8)
        # OpenCV's order: yellow is red and green.
        painted[..., {0: [2], 1: [1], 2: [0], 3: [1, 2]}[int(channel)]] = image[..., None]
        images[channel] = painted
    image = read_field(written(tmp_path, images, "jpg")).image
    assert image.shape == (4, 9, 7)
    assert np.abs(image[:, 4, 3].astype(int) - [10, 11, 12, 13]).max() <= 8


def test_channels_of_8_and_16_bits_meet_at_16(tmp_path: Path) -> None:
    images = flat((3, 5))
    images[Channel.PROTEIN] = np.full((3, 5), 40_000, np.uint16)
    images[Channel.ER][:] = 255
    image = read_field(written(tmp_path, images)).image
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[:, 0, 0], [10 * 257, 40_000, 12 * 257, 65_535])


def test_four_shapes_are_refused_and_each_is_told(tmp_path: Path) -> None:
    images = {channel: np.zeros((3 + channel, 5), np.uint8) for channel in Channel}
    with pytest.raises(
        ValueError, match=r"Field f: .*f_red\.png: 3 x 5, .*f_green\.png: 4 x 5.*f_yellow\.png: 6 x 5"
    ):
        read_field(written(tmp_path, images))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    source = written(tmp_path, flat((50, 50)))
    path = source.files[Channel.NUCLEUS].path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"Field f: .*f_blue\.png cannot be used: it is cut off after"):
        read_field(source)
    path.unlink()
    with pytest.raises(ValueError, match=r"Field f: .*f_blue\.png cannot be used: .*No such file"):
        read_field(source)


class TestPixelSize:
    @staticmethod
    def ome_tiff(folder: Path, **metadata: object) -> FieldSource:
        planes = np.zeros((4, 6, 8), np.uint8)
        path = folder / "f.ome.tif"
        tifffile.imwrite(
            path, planes, ome=True, metadata={"axes": "CYX", **metadata}, photometric="minisblack"
        )
        return find_fields(folder)[0]

    @pytest.mark.parametrize(("size", "unit"), [(0.25, "µm"), (250, "nm"), (0.00025, "mm")])
    def test_the_file_knows_best(self, tmp_path: Path, size: float, unit: str) -> None:
        source = self.ome_tiff(tmp_path, PhysicalSizeX=size, PhysicalSizeXUnit=unit)
        assert read_field(source, pixel_size_um=9.0).pixel_size_um == pytest.approx(0.25)

    def test_else_the_setting_counts(self, tmp_path: Path) -> None:
        assert read_field(self.ome_tiff(tmp_path), pixel_size_um=0.3).pixel_size_um == 0.3

    @pytest.mark.parametrize(
        ("shape", "expected_um"), [((64, 2048), 0.08), ((1024, 64), 0.16), ((16, 512), 0.32)]
    )
    def test_else_a_field_shows_what_2048_px_show(
        self, tmp_path: Path, shape: tuple[int, int], expected_um: float
    ) -> None:
        assert read_field(written(tmp_path, flat(shape))).pixel_size_um == pytest.approx(expected_um)

    def test_an_assumption_is_told_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        _tell_assumption.cache_clear()
        source = written(tmp_path, flat((4, 256)))
        with caplog.at_level(logging.INFO):
            read_field(source, pixel_size_um=0.1)
            assert not caplog.records
            read_field(source)
            read_field(source)
        (message,) = caplog.messages
        assert "taking 0.64 um for fields of 256 px (0.08 um at 2048 px)" in message

    @pytest.mark.parametrize(("side_px", "level"), [(300, "WARNING"), (1728, "INFO"), (6000, "WARNING")])
    def test_a_size_that_no_whole_field_has_is_warned_of(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, side_px: int, level: str
    ) -> None:
        _tell_assumption.cache_clear()
        with caplog.at_level(logging.INFO):
            read_field(written(tmp_path, flat((4, side_px))))
        [record] = caplog.records
        assert record.levelname == level
        assert ("give pixel_size_um" in record.getMessage()) == (level == "WARNING")

    def test_channels_that_disagree_are_refused(self, tmp_path: Path, made_up_field: Field) -> None:
        write_field(made_up_field, tmp_path)
        other = Field(field_id="f1", image=made_up_field.image, pixel_size_um=0.5)
        write_field(other, tmp_path / "other")
        (tmp_path / "other" / "f1_blue.png").replace(tmp_path / "f1_blue.png")
        with pytest.raises(
            ValueError, match=r"Field f1: its channels differ in pixel size .*f1_blue\.png: 0\.5 um"
        ):
            read_field(find_fields(tmp_path)[0])


def test_real_fields_are_read_as_pillow_reads_them(real_data: Path) -> None:
    sources = find_fields(real_data / "hpa2021" / "fields")
    assert len(sources) == 4
    field = read_field(sources[0])
    for channel, file in sources[0].files.items():
        with Image.open(file.path) as image:
            np.testing.assert_array_equal(field.image[channel], np.asarray(image))
    assert field.pixel_size_um == 0.08
    (public,) = find_fields(real_data / "hpa_public" / "fields")
    assert read_field(public).image.shape == (4, 1728, 1728)


def test_a_real_16_bit_channel_keeps_its_values(real_data: Path) -> None:
    (path,) = (real_data / "hpacellseg_masks").glob("*green*.png")
    field = read_field(FieldSource(field_id="f", files={Channel.PROTEIN: ImageFile.at(path)}))
    with Image.open(path) as image:
        np.testing.assert_array_equal(field.image[Channel.PROTEIN], np.asarray(image))
    assert field.image.dtype == np.uint16
    assert len(field.missing) == 3
