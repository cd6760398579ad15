from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hydra.errors import InstantiationException

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.segment import run
from hpa_cells.commands.settings import compose
from hpa_cells.fields import write_field
from hpa_cells.segmentation import Precomputed, TableMasks, UNet, Watershed, read_segmentation
from hpa_cells.segmentation.hpacellseg import weights
from hpa_cells.segmentation.network import CellUNet, NetworkSettings, write_network
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import Field, Segmentation


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Three fields of 96 x 128 px with one, two and no cells."""
    for number, field_id in ((1, "a"), (2, "b"), (0, "c")):
        image = np.full((4, 96, 128), 3, dtype=np.uint8)
        for index in range(number):
            for channel, radius in ((0, 25), (2, 12), (3, 25)):
                cv2.circle(image[channel], (32 + 64 * index, 48), radius, 180, thickness=-1)
        write_field(Field(field_id=field_id, image=image, pixel_size_um=0.5), tmp_path / "fields")
    return tmp_path / "fields"


def segment(fields: Path, out: Path, *overrides: str, segmenter: str = "watershed") -> None:
    run(compose("segment", [f"fields={fields}", f"out={out}", f"segmenter={segmenter}", *overrides]))


def failures(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "failures.csv")


def test_label_images_of_every_field(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(fields, out)
    num_cells = {name: len(read_segmentation(out, name, pixel_size_um=0.5).cell_ids) for name in "abc"}
    assert num_cells == {"a": 1, "b": 2, "c": 0}
    assert failures(out).empty
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}_{kind}.png" for name in "abc" for kind in ("cells", "nuclei")]
        + ["failures.csv", "segmentation.json"]
    )


def test_any_number_of_workers_gives_the_same(fields: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        segment(fields, tmp_path / str(workers), f"workers={workers}")
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name


def test_finished_fields_are_not_done_again(
    fields: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    segment(fields, out)
    (out / "b_cells.png").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("[ac]_*")}
    with caplog.at_level("INFO"):
        segment(fields, out)
    assert "2 of 3 fields are finished already" in caplog.text
    assert (out / "b_cells.png").is_file()
    assert times == {path.name: path.stat().st_mtime_ns for path in out.glob("[ac]_*")}


def test_a_broken_field_is_on_record_and_the_others_are_done(fields: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = (fields / "a_blue.png").read_bytes()
    (fields / "a_blue.png").write_bytes(whole[:100])
    (fields / "b_red.png").rename(tmp_path / "b_red.png")
    with pytest.raises(FieldsFailedError, match=r"2 of 3 fields failed; see .*failures\.csv"):
        segment(fields, out)
    recorded = failures(out).set_index("field_id")
    assert recorded["stage"].to_dict() == {"a": "read", "b": "find"}
    assert "a_blue.png" in recorded.loc["a", "error"]
    assert "no red file" in recorded.loc["b", "error"]
    assert (out / "c_cells.png").is_file()

    (fields / "a_blue.png").write_bytes(whole)
    (tmp_path / "b_red.png").rename(fields / "b_red.png")
    segment(fields, out)
    assert failures(out).empty
    assert len(list(out.glob("*_cells.png"))) == 3


def test_a_field_without_er_is_segmented(fields: Path, tmp_path: Path) -> None:
    (fields / "a_yellow.png").unlink()
    segment(fields, tmp_path / "out")
    assert read_segmentation(tmp_path / "out", "a", pixel_size_um=0.5).cell_ids.tolist() == [1]


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("resize failed"), ArithmeticError("no number")])
def test_a_field_that_cannot_be_segmented_is_on_record_and_the_others_are_done(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    segment_all = Watershed.segment

    def fail(self: Watershed, given: Sequence[Field]) -> list[Segmentation]:
        if given[0].field_id == "a":
            raise error
        return segment_all(self, given)

    monkeypatch.setattr(Watershed, "segment", fail)
    with pytest.raises(FieldsFailedError, match="1 of 3 fields failed"):
        segment(fields, tmp_path / "out")
    [recorded] = failures(tmp_path / "out").to_dict("records")
    assert (recorded["field_id"], recorded["stage"]) == ("a", "segment")
    assert (str(error) or "MemoryError") in recorded["error"]
    assert (tmp_path / "out" / "c_cells.png").is_file()


def test_a_wrong_pixel_size_fails_the_field_in_its_own_words(tmp_path: Path) -> None:
    image = np.random.default_rng(0).poisson(9, (4, 96, 128)).astype(np.uint8)
    for field_id, pixel_size_um in (("a", 2.5), ("b", 0.5)):
        write_field(Field(field_id=field_id, image=image, pixel_size_um=pixel_size_um), tmp_path / "fields")
    with pytest.raises(FieldsFailedError, match=r"1 of 2 fields failed.*is it in nm"):
        segment(tmp_path / "fields", tmp_path / "out", "segmenter.device=cpu", segmenter="unet")
    assert failures(tmp_path / "out")["field_id"].tolist() == ["a"]
    assert (tmp_path / "out" / "b_cells.png").is_file()


def test_masks_made_elsewhere_are_checked_and_copied(fields: Path, tmp_path: Path) -> None:
    segment(fields, tmp_path / "first")
    (tmp_path / "first" / "b_cells.png").unlink()
    with pytest.raises(FieldsFailedError, match=r"1 of 3 fields failed.*add b_cells\.png"):
        segment(
            fields,
            tmp_path / "second",
            f"segmenter.folder={tmp_path / 'first'}",
            segmenter="precomputed",
        )
    assert failures(tmp_path / "second")["stage"].tolist() == ["segment"]
    assert (tmp_path / "second" / "a_cells.png").read_bytes() == (
        tmp_path / "first" / "a_cells.png"
    ).read_bytes()


def test_results_of_other_settings_are_not_mixed(fields: Path, tmp_path: Path) -> None:
    segment(fields, tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings \(nucleus_neck: 0.6 -> 0.9\): choose another"):
        segment(fields, tmp_path / "out", "segmenter.nucleus_neck=0.9")


def test_no_workers_are_refused(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(InstantiationException, match="workers is 0: give at least 1"):
        segment(fields, tmp_path / "out", "workers=0")


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_that_cannot_be_had_are_said_once(
    fields: Path,
    tmp_path: Path,
    hpa_cells: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    asked: list[str] = []

    def refuse(address: str, *_: Any, **__: Any) -> None:
        asked.append(address)
        raise OSError("no connection")

    monkeypatch.setattr(weights, "download", refuse)
    out = tmp_path / "out"
    ended = hpa_cells(
        "segment",
        f"fields={fields}",
        f"out={out}",
        "segmenter=hpacellseg",
        f"segmenter.weights={tmp_path / 'weights'}",
        "segmenter.device=cpu",
        f"workers={workers}",
    )
    assert ended.status == 1
    assert ended.stderr.count("does not exist") == 1
    assert str(tmp_path / "weights" / "dpn_unet_nuclei_v1.pth") in ended.stderr
    assert asked == [f"{weights.ADDRESS}/dpn_unet_nuclei_v1.pth"]
    assert ended.stderr.count(asked[0]) == 1
    assert not out.exists()


def test_weights_that_are_damaged_are_said_once(
    fields: Path, tmp_path: Path, hpa_cells: Callable[..., Any]
) -> None:
    broken = tmp_path / "unet.safetensors"
    broken.write_bytes(b"\0" * 100)
    out = tmp_path / "out"
    ended = hpa_cells(
        "segment", f"fields={fields}", f"out={out}", "segmenter=unet", f"segmenter.weights={broken}"
    )
    assert ended.status == 1
    assert ended.stderr.count(str(broken)) == 1
    assert not out.exists()


def test_finished_fields_need_no_weights(
    fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Watershed) -> None:
        raise FileNotFoundError("The weights are gone.")

    segment(fields, tmp_path / "out")
    monkeypatch.setattr(Watershed, "prepare", refuse)
    segment(fields, tmp_path / "out")
    (tmp_path / "out" / "b_cells.png").unlink()
    with pytest.raises(FileNotFoundError, match="are gone"):
        segment(fields, tmp_path / "out")


def other_weights(path: Path, *, bias: float) -> Path:
    """Weights of a small network."""
    torch.manual_seed(0)
    network = CellUNet(NetworkSettings(decoder_channels=[8, 8, 8]))
    with torch.no_grad():
        network.unet.segmentation_head[0].bias.fill_(bias)
    write_network(network, path, provenance={})
    return path


def test_other_weights_at_the_same_path_are_refused(fields: Path, tmp_path: Path) -> None:
    weights = f"segmenter.weights={other_weights(tmp_path / 'w.safetensors', bias=0)}"
    segment(fields, tmp_path / "out", weights, segmenter="unet")
    segment(fields, tmp_path / "out", weights, segmenter="unet")
    (tmp_path / "out" / "a_cells.png").unlink()
    other_weights(tmp_path / "w.safetensors", bias=1)
    with pytest.raises(ValueError, match=r"other settings \(fingerprint: \w{64} -> \w{64}\)"):
        segment(fields, tmp_path / "out", weights, segmenter="unet")


def test_a_segmenter_is_known_by_what_makes_its_cells(fields: Path, tmp_path: Path) -> None:
    """The file of weights; the record beside label images of this program; the provenance of a cell table."""
    weights = other_weights(tmp_path / "w.safetensors", bias=0)
    assert UNet(weights=str(weights)).fingerprint() == hashlib.sha256(weights.read_bytes()).hexdigest()
    # Nothing is asked of a device that only other machines have.
    assert (
        UNet(weights=str(weights), device="cuda:7").fingerprint() == UNet(weights=str(weights)).fingerprint()
    )
    with pytest.raises(FileNotFoundError, match=r"none does not exist: give a file that a training"):
        UNet(weights=str(tmp_path / "none")).fingerprint()
    assert Watershed().fingerprint() is None

    masks = tmp_path / "masks"
    segment(fields, masks)
    first = Precomputed(folder=masks).fingerprint()
    assert first is not None
    (masks / "d_cells.png").write_bytes((masks / "a_cells.png").read_bytes())
    assert Precomputed(folder=str(masks)).fingerprint() == first
    (masks / "segmentation.json").write_text("{}")
    assert Precomputed(folder=masks).fingerprint() != first
    (masks / "segmentation.json").unlink()
    assert Precomputed(folder=masks).fingerprint() is None

    tables = []
    for version in ("1", "2"):
        provenance = Provenance(version=version, class_set="hpa2021", source="model")
        with TableWriter(tmp_path / version, provenance=provenance) as writer:
            writer.add(cells=pd.DataFrame(), field_row={"field_id": "a", "num_cells": 0})
        tables.append(TableMasks(folder=str(tmp_path / version)).fingerprint())
    assert tables[0] != tables[1]
