from __future__ import annotations

import functools
import hashlib
import json
import math
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from hpa_cells.segmentation.hpacellseg import weights
from hpa_cells.segmentation.hpacellseg.networks import DPNUNet
from hpa_cells.segmentation.hpacellseg.weights import (
    CELLS,
    NUCLEI,
    convert,
    published_network,
    read_network,
    weights_folder,
)

Save = Callable[[Any, Path], Path]
AsPublished = Callable[[nn.Module], nn.Module]


def assert_same(found: nn.Module, wanted: nn.Module) -> None:
    assert not found.training
    for (name, value), other in zip(found.named_parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(value, other, atol=0, rtol=0, msg=name)
    for (name, value), other in zip(found.named_buffers(), wanted.buffers(), strict=True):
        assert name.endswith("num_batches_tracked") or torch.equal(value, other), name


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name of the base class
        pass


@pytest.fixture
def record_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the Zenodo record."""
    folder = tmp_path / "record"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(weights, "ADDRESS", f"http://127.0.0.1:{running.server_port}")
        yield folder
        running.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "ADDRESS", "http://127.0.0.1:9")


def test_the_folder_is_the_one_nearest_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("HPA_CELLS_WEIGHTS", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    assert weights_folder() == tmp_path / ".cache" / "hpa_cells"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert weights_folder() == tmp_path / "caches" / "hpa_cells"
    monkeypatch.setenv("HPA_CELLS_WEIGHTS", "~/variable")
    assert weights_folder() == tmp_path / "variable"
    assert weights_folder("setting") == Path("setting")


@pytest.mark.parametrize("wrap", [lambda each: each, nn.DataParallel, lambda each: each.state_dict()])
def test_a_file_put_in_the_folder_is_converted_once(
    tmp_path: Path,
    save: Save,
    narrow: DPNUNet,
    as_published: AsPublished,
    wrap: Callable[[nn.Module], Any],
    offline: None,
) -> None:
    given = save(wrap(as_published(narrow)), tmp_path / NUCLEI)
    assert_same(published_network(NUCLEI, tmp_path), narrow)
    given.unlink()
    assert_same(published_network(NUCLEI, tmp_path), narrow)
    assert [path.name for path in tmp_path.iterdir()] == ["dpn_unet_nuclei_v1.safetensors"]


def test_the_metadata_say_where_the_numbers_are_from(tmp_path: Path, narrow: DPNUNet) -> None:
    torch.save(narrow.state_dict(), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["source"] == "a.pth"
    assert len(metadata["sha256"]) == len(metadata["source_sha256"]) == 64


def test_others_may_read_the_weights_of_a_shared_folder(tmp_path: Path, narrow: DPNUNet) -> None:
    torch.save(narrow.state_dict(), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "a.pth").stat().st_mode


def test_a_changed_number_is_noticed(tmp_path: Path, narrow: DPNUNet) -> None:
    torch.save(narrow.state_dict(), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.safetensors .* checksum"):
        read_network(tmp_path / "a.safetensors")


def test_a_file_of_the_record_is_downloaded_once(
    tmp_path: Path, save: Save, narrow: DPNUNet, as_published: AsPublished, record_online: Path
) -> None:
    online = save(as_published(narrow), record_online / CELLS)
    folder = tmp_path / "new" / "weights"
    assert_same(published_network(CELLS, folder), narrow)
    online.unlink()
    assert_same(published_network(CELLS, folder), narrow)
    assert [path.name for path in folder.iterdir()] == ["dpn_unet_cell_3ch_v1.safetensors"]


def test_a_page_in_place_of_the_file_leaves_nothing(
    tmp_path: Path, narrow: DPNUNet, record_online: Path
) -> None:
    (record_online / NUCLEI).write_text("<html>Sign in to the network of the hotel</html>")
    with pytest.raises(ValueError, match="neither format") as caught:
        published_network(NUCLEI, tmp_path / "weights")
    kept = tmp_path / "weights" / "dpn_unet_nuclei_v1.safetensors"
    assert str(caught.value).startswith(
        f"{weights.ADDRESS}/{NUCLEI}, downloaded for {kept}, is not a network"
    )
    assert ".download." not in str(caught.value)
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_without_a_connection_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        published_network(NUCLEI, tmp_path)
    for part in (str(tmp_path / NUCLEI), f"http://127.0.0.1:9/{NUCLEI}", "HPA_CELLS_WEIGHTS"):
        assert part in str(caught.value)


def test_files_without_the_count_of_batches_and_in_half_precision(tmp_path: Path, narrow: DPNUNet) -> None:
    half = {
        name: value.half() for name, value in narrow.state_dict().items() if "num_batches_tracked" not in name
    }
    save_file(half, tmp_path / "a.safetensors")
    found = read_network(tmp_path / "a.safetensors")
    assert next(found.parameters()).dtype == torch.float32
    torch.testing.assert_close(found.final[0].weight, narrow.final[0].weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checksum_is_of_the_bytes_of_any_type(tmp_path: Path, narrow: DPNUNet, dtype: torch.dtype) -> None:
    tensors = {name: value.to(dtype) for name, value in weights._weights(narrow).items()}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"sha256": weights._checksum(tensors)})
    for (name, value), wanted in zip(
        weights._weights(read_network(path)).items(), tensors.values(), strict=True
    ):
        assert torch.equal(value, wanted.float()), name
    save_file(tensors, path, metadata={"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"a\.safetensors .* checksum"):
        read_network(path)


def test_checksums_of_files_in_float32_are_the_ones_they_always_were() -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor(2.5)}
    plain = hashlib.sha256(
        b"a" + np.float32(2.5).tobytes() + b"b" + np.arange(6.0, dtype="f4").reshape(2, 3).T.tobytes()
    )
    assert weights._checksum(tensors) == plain.hexdigest()


@pytest.mark.parametrize("states_its_checksum", [False, True])
def test_floats_of_8_bits_are_refused(tmp_path: Path, narrow: DPNUNet, states_its_checksum: bool) -> None:
    tensors = {name: value.to(torch.float8_e4m3fn) for name, value in weights._weights(narrow).items()}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"sha256": weights._checksum(tensors)} if states_its_checksum else None)
    with pytest.raises(
        ValueError, match=r"a\.safetensors .* torch\.float8_e4m3fn .* floats of 16 to 64 bits"
    ):
        read_network(path)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, narrow: DPNUNet, wrong: float, suffix: str
) -> None:
    state = narrow.state_dict()
    state["final.0.bias"][1] = wrong
    path = tmp_path / f"a{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    with pytest.raises(
        ValueError, match=r"final\.0\.bias in it has 1 of 3 numbers that are not finite"
    ) as caught:
        read_network(path)
    assert str(path) in str(caught.value)


def two_channels(state: dict[str, Any]) -> None:
    state["encoder_stages.0.0.weight"] = state["encoder_stages.0.0.weight"][:, :2].contiguous()


def integers(state: dict[str, Any]) -> None:
    state["final.0.bias"] = state["final.0.bias"].long()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            two_channels,
            r"encoder_stages\.0\.0\.weight in it is torch.float32 \(4, 2, 7, 7\), expected \(4, 3, 7, 7\)",
        ),
        (integers, r"final\.0\.bias in it is torch.int64"),
        (lambda state: state.pop("final.0.bias"), r"lacks 1 of \d+ tensors, such as final.0.bias"),
        (lambda state: state.update(head=torch.zeros(1)), "1 tensors too many, such as head"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_another_network_is_refused(
    tmp_path: Path, narrow: DPNUNet, change: Callable[[dict[str, Any]], None], found: str, suffix: str
) -> None:
    state = narrow.state_dict()
    change(state)
    path = tmp_path / f"a{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    with pytest.raises(ValueError, match=found) as caught:
        read_network(path)
    assert str(path) in str(caught.value)
    assert "download it again" in str(caught.value)


def test_a_cut_off_safetensors_file(tmp_path: Path, narrow: DPNUNet) -> None:
    path = tmp_path / "a.safetensors"
    save_file(narrow.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off or damaged"):
        read_network(path)


def test_an_oversized_header_of_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match="cut off or damaged"):
        read_network(tmp_path / "a.safetensors")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.pth does not exist"):
        read_network(tmp_path / "a.pth")
