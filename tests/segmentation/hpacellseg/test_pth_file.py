from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hpa_cells.segmentation.hpacellseg.networks import DPNUNet
from hpa_cells.segmentation.hpacellseg.pth_file import read_pth

Save = Callable[[Any, Path], Path]
AsPublished = Callable[[nn.Module], nn.Module]


def assert_same(found: dict[str, Tensor], network: nn.Module) -> None:
    wanted = network.state_dict()
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0)


@pytest.mark.parametrize("wrap", [lambda each: each, nn.DataParallel, lambda each: each.state_dict()])
def test_whole_networks_and_state_dicts(
    tmp_path: Path, save: Save, narrow: DPNUNet, as_published: AsPublished, wrap: Callable[[nn.Module], Any]
) -> None:
    path = save(wrap(as_published(narrow)), tmp_path / "a.pth")
    assert_same(read_pth(path), narrow)


def test_a_network_with_a_command_in_it_is_refused(
    tmp_path: Path, save: Save, narrow: DPNUNet, as_published: AsPublished
) -> None:
    class Command:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    network = as_published(narrow)
    network.__dict__["extra"] = Command()
    with pytest.raises(ValueError, match="system"):
        read_pth(save(network, tmp_path / "a.pth"))
    assert not (tmp_path / "run").exists()


def test_another_package_is_refused(tmp_path: Path, save: Save, narrow: DPNUNet) -> None:
    with pytest.raises(ValueError, match="hpa_cells"):
        read_pth(save(narrow, tmp_path / "a.pth"))


def test_shared_and_strided_numbers(tmp_path: Path, save: Save) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "whole": whole,
        "turned": whole.T,
        "row": whole[1],
        "one": whole[2, 3],
        "wide": whole[0, :1].expand(5),
    }
    found = read_pth(save(tensors, tmp_path / "a.pth"))
    for name, value in tensors.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64, torch.int32])
def test_types_of_numbers(tmp_path: Path, save: Save, dtype: torch.dtype) -> None:
    tensors = {"a": torch.arange(5).to(dtype), "none": torch.zeros(0, 3, dtype=dtype)}
    found = read_pth(save(tensors, tmp_path / "a.pth"))
    for name, value in tensors.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0)


def test_an_unknown_type_is_named(tmp_path: Path, save: Save) -> None:
    with pytest.raises(ValueError, match="ByteStorage"):
        read_pth(save({"a": torch.zeros(3, dtype=torch.uint8)}, tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Too many requests</title>", "neither format"),
        (pickle.dumps({"a": 1}), "neither format"),
        (b"PK\x03\x04 and no more", "cut off or damaged"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=found):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.999])
def test_cut_off(tmp_path: Path, save: Save, narrow: DPNUNet, part: float) -> None:
    path = save(narrow.state_dict(), tmp_path / "a.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=r"cut off|damaged"):
        read_pth(path)


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """The zip archive with its members changed, and their checksums right."""
    other = path.with_suffix(".changed.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return other


@pytest.fixture
def small_zip(tmp_path: Path) -> Path:
    torch.save({"a": torch.arange(6.0)}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            b"K\x06",
            b"K\x07",
            "24 bytes of numbers where its pickle claims 28",
        ),  # the first of them is the count
        (b"FloatStorage", b"LongStorages", "LongStorages"),
        (b"K\x06\x85", b"K\x07\x85", "reaches number 6 of 6"),
    ],
)
def test_claims_of_the_pickle_are_checked(small_zip: Path, old: bytes, new: bytes, found: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data.replace(old, new, 1) if name.endswith("data.pkl") else data

    with pytest.raises(ValueError, match=found):
        read_pth(rewritten(small_zip, change))


def test_numbers_of_another_byte_order_are_refused(small_zip: Path) -> None:
    with pytest.raises(ValueError, match="big-endian"):
        read_pth(rewritten(small_zip, lambda name, data: b"big" if name.endswith("byteorder") else data))


def test_packed_archives_are_refused(small_zip: Path) -> None:
    with pytest.raises(ValueError, match="packed"):
        read_pth(rewritten(small_zip, lambda _, data: data, zipfile.ZIP_DEFLATED))


def test_archives_of_something_else_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("cells.csv", "a,b")
    with pytest.raises(ValueError, match="not one of torch"):
        read_pth(tmp_path / "a.pth")


def test_a_changed_number_of_an_archive_is_noticed(small_zip: Path) -> None:
    data = small_zip.read_bytes()
    at = data.index(torch.arange(6.0).numpy().tobytes())
    small_zip.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    with pytest.raises(ValueError, match="CRC"):
        read_pth(small_zip)


def test_a_directory_that_points_before_the_archive_is_noticed(small_zip: Path) -> None:
    data = bytearray(small_zip.read_bytes())
    at = data.rindex(b"PK\x06\x06") + 48
    claimed = int.from_bytes(data[at : at + 8], "little") + 1000
    small_zip.write_bytes(data[:at] + claimed.to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(ValueError, match="cut off or damaged"):
        read_pth(small_zip)


# Python's advice about a text in which a byte became a backslash.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_an_error_or_other_numbers(tmp_path: Path, save: Save, data: st.DataObject) -> None:
    """Never another kind of error, whatever byte is changed."""
    path = tmp_path / "whole.pth"
    if not path.exists():
        save({"a": torch.arange(6.0)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = tmp_path / "changed.pth"
    changed.write_bytes(content)
    with suppress(ValueError):
        assert set(map(type, read_pth(changed).values())) <= {Tensor}
