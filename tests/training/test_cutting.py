from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.cells import CropSettings, SquareSettings, crop_cells, cut_squares
from hpa_cells.fields import find_fields, read_field, write_field
from hpa_cells.training import cutting
from hpa_cells.training.cutting import CuttingSettings, cut_fields
from hpa_cells.types import Channel, Field, Segmentation


@dataclass(frozen=True)
class Blocks:
    """A segmenter for tests: every lit block of the nuclear channel is a cell, named by its brightness."""

    optional_channels: frozenset[Channel] = frozenset()

    def prepare(self) -> None:
        pass

    def segment(self, fields: list[Field]) -> list[Segmentation]:
        labels = [field.image[Channel.NUCLEUS].astype(np.int32) for field in fields]
        return [
            Segmentation(field_id=field.field_id, cells=each, nuclei=each, pixel_size_um=field.pixel_size_um)
            for field, each in zip(fields, labels, strict=True)
        ]


def make_field(index: int, num_cells: int) -> Field:
    image = np.random.default_rng(index).integers(0, 255, (4, 40, 60), dtype=np.uint8)
    image[Channel.NUCLEUS] = 0
    for cell in range(num_cells):
        image[Channel.NUCLEUS, 2:12, 2 + 14 * cell : 12 + 14 * cell] = 10 + 7 * cell
    return Field(field_id=f"f{index:02d}", image=image, pixel_size_um=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(5):
        write_field(make_field(index, num_cells=index % 4), tmp_path / "fields")
    return tmp_path


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_FIELDS_PER_SHARD", 2)


SETTINGS = CuttingSettings(
    segmenter=Blocks(),
    segmenter_settings={"name": "blocks"},
    view=CropSettings(size_px=16),
    pixel_size_um=1.0,
    broken="refuse",
    workers=1,
)


def test_every_cell_of_every_field(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources = find_fields(folder / "fields")
    with caplog.at_level(logging.WARNING):
        store = cut_fields(folder / "store", sources, SETTINGS)
    assert "Left out 2 of 5 fields, in which no cell was found." in caplog.text
    rows = store.rows_of_field()
    for source in sources:
        field = read_field(source, pixel_size_um=1.0)
        expected = crop_cells(field, *Blocks().segment([field]), SETTINGS.view)
        if len(expected.cell_ids):
            np.testing.assert_array_equal(store.read(rows[source.field_id]), expected.images)
            np.testing.assert_array_equal(
                store.cells["cell_id"].iloc[rows[source.field_id]], expected.cell_ids
            )


def test_a_second_time_reads_no_field(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = find_fields(folder / "fields")
    first = cut_fields(folder / "store", sources, SETTINGS)
    monkeypatch.setattr(cutting, "read_field", None)
    second = cut_fields(folder / "store", sources[::-1], SETTINGS)
    assert first.cells.equals(second.cells)


def test_goes_on_where_it_was_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = find_fields(folder / "fields")
    read: list[str] = []

    def counted(source: cutting.FieldSource, **options: float) -> Field:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(source.field_id)
        return read_field(source, **options)

    monkeypatch.setattr(cutting, "read_field", counted)
    with pytest.raises(KeyboardInterrupt):
        cut_fields(folder / "store", sources, SETTINGS)
    monkeypatch.setattr(cutting, "read_field", lambda source, **options: read_field(source, **options))
    store = cut_fields(folder / "store", sources, SETTINGS)
    assert read == ["f00", "f01", "f02"]
    assert len(store.cells) == 6


def test_other_settings_do_not_meet(folder: Path) -> None:
    sources = find_fields(folder / "fields")
    small = cut_fields(folder / "store", sources, SETTINGS)
    large = cut_fields(folder / "store", sources, replace(SETTINGS, view=CropSettings(size_px=24)))
    assert small.shards[0].shape[2:] == (16, 16)
    assert large.shards[0].shape[2:] == (24, 24)


def test_a_changed_image_is_cut_again(folder: Path) -> None:
    cut_fields(folder / "store", find_fields(folder / "fields"), SETTINGS)
    changed = make_field(1, num_cells=4)
    write_field(changed, folder / "fields")
    store = cut_fields(folder / "store", find_fields(folder / "fields"), SETTINGS)
    assert len(store.rows_of_field()["f01"]) == 4


def test_cells_of_changed_masks_are_cut_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "masks").mkdir()
    mask = folder / "masks" / "f01_cells.png"
    mask.write_bytes(b"one")
    read: list[str] = []

    def counted(source: cutting.FieldSource, **options: float) -> Field:
        read.append(source.field_id)
        return read_field(source, **options)

    monkeypatch.setattr(cutting, "read_field", counted)
    settings = replace(SETTINGS, segmenter_settings={"folder": str(folder / "masks")})
    for _ in range(2):
        cut_fields(folder / "store", find_fields(folder / "fields"), settings)
    assert len(read) == 5
    mask.write_bytes(b"another")
    cut_fields(folder / "store", find_fields(folder / "fields"), settings)
    assert len(read) == 10


def test_two_processes_give_the_same(folder: Path) -> None:
    from hpa_cells.segmentation import Watershed

    settings = replace(SETTINGS, segmenter=Watershed(), segmenter_settings={"name": "watershed"})
    sources = find_fields(folder / "fields")
    one = cut_fields(folder / "one", sources, settings)
    two = cut_fields(folder / "two", sources, replace(settings, workers=2))
    assert one.cells.equals(two.cells)
    np.testing.assert_array_equal(one.read(np.arange(len(one.cells))), two.read(np.arange(len(two.cells))))


def test_fields_that_are_all_broken(folder: Path) -> None:
    """Nothing is left of the shard of f02 and f03, then of all."""
    drop = replace(SETTINGS, broken="drop")
    for field_id in ("f02", "f03"):
        (folder / "fields" / f"{field_id}_green.png").write_bytes(b"not a PNG")
    store = cut_fields(folder / "store", find_fields(folder / "fields"), drop)
    assert sorted(store.rows_of_field()) == ["f01"]
    (folder / "fields" / "f01_green.png").write_bytes(b"not a PNG")
    with pytest.raises(ValueError, match=r"No cell was found in any field"):
        cut_fields(folder / "store", find_fields(folder / "fields"), drop)


def test_a_broken_field_is_refused_after_the_others_are_cut(folder: Path) -> None:
    (folder / "fields" / "f03_green.png").write_bytes(b"not a PNG")
    sources = find_fields(folder / "fields")
    with pytest.raises(ValueError, match=r"1 of 5 fields are broken: .*f03.*data\.broken=drop"):
        cut_fields(folder / "store", sources, SETTINGS)
    for _ in range(2):
        store = cut_fields(folder / "store", sources, replace(SETTINGS, broken="drop"))
        assert sorted(store.rows_of_field()) == ["f01", "f02"]
    with pytest.raises(ValueError, match=r"1 of 5 fields are broken"):
        cut_fields(folder / "store", sources, SETTINGS)


class Unready(Blocks):
    """A segmenter without its weights."""

    def prepare(self) -> None:
        raise FileNotFoundError("The weights are missing: put them there.")


def test_missing_weights_are_said_once_and_only_if_they_are_needed(folder: Path) -> None:
    unready = replace(SETTINGS, segmenter=Unready(), broken="drop")
    with pytest.raises(FileNotFoundError, match="weights are missing"):
        cut_fields(folder / "store", find_fields(folder / "fields"), unready)
    assert not list((folder / "store").rglob("*.npy"))
    cut_fields(folder / "store", find_fields(folder / "fields"), replace(unready, segmenter=Blocks()))
    cut_fields(folder / "store", find_fields(folder / "fields"), unready)


SQUARES = SquareSettings(um_per_px=None, field_px=30, size_px=16, num_training=4, num_predicted=2, seed=0)


def test_squares_of_every_field_without_a_segmenter(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fields without cells have squares too; which segmenter was chosen makes no other store."""
    sources = find_fields(folder / "fields")
    settings = replace(SETTINGS, view=SQUARES, segmenter=Unready())
    with caplog.at_level(logging.WARNING):
        store = cut_fields(folder / "store", sources, settings)
    assert not caplog.text
    rows = store.rows_of_field()
    for source in sources:
        expected = cut_squares(read_field(source, pixel_size_um=1.0), SQUARES, num=4)
        np.testing.assert_array_equal(store.read(rows[source.field_id]), expected.images)
        np.testing.assert_array_equal(store.cells["cell_id"].iloc[rows[source.field_id]], [1, 2, 3, 4])
    cut_fields(folder / "store", sources, replace(settings, segmenter_settings={"name": "other"}))
    assert len(list((folder / "store").iterdir())) == 1
    cut_fields(folder / "store", sources, replace(settings, view=replace(SQUARES, seed=1)))
    assert len(list((folder / "store").iterdir())) == 2


def test_a_broken_field_has_no_squares(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "fields" / "f03_green.png").write_bytes(b"not a PNG")
    sources = find_fields(folder / "fields")
    with pytest.raises(ValueError, match=r"1 of 5 fields are broken: .*f03"):
        cut_fields(folder / "store", sources, replace(SETTINGS, view=SQUARES))
    with caplog.at_level(logging.WARNING):
        store = cut_fields(folder / "store", sources, replace(SETTINGS, view=SQUARES, broken="drop"))
    assert sorted(store.rows_of_field()) == ["f00", "f01", "f02", "f04"]
    assert "Left out 1 of 5 fields, that are broken." in caplog.text
