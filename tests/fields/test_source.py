from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hpa_cells.fields import FieldSource, ImageFile, find_fields, read_field, scan_fields, write_field
from hpa_cells.types import Channel, Field


@pytest.fixture
def zipped(tmp_path: Path, made_up_field: Field) -> Callable[..., Path]:
    """A zip of the made-up field, its files under these names."""

    def make(*prefixes: str, compression: int = zipfile.ZIP_DEFLATED) -> Path:
        write_field(made_up_field, tmp_path / "plain")
        path = tmp_path / "fields.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for prefix in prefixes:
                for file in (tmp_path / "plain").iterdir():
                    archive.writestr(f"{prefix}{file.name}", file.read_bytes(), compression)
        return path

    return make


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_is_read_in_place(zipped: Callable[..., Path], made_up_field: Field, compression: int) -> None:
    path = zipped("train/", compression=compression)
    before = sorted(path.parent.iterdir())
    (source,) = find_fields(path)
    np.testing.assert_array_equal(read_field(source).image, made_up_field.image)
    assert sorted(path.parent.iterdir()) == before
    assert str(source.files[Channel.ER]) == f"{path}:train/f1_yellow.png"


def test_threads_may_read_one_zip(zipped: Callable[..., Path], made_up_field: Field) -> None:
    (source,) = find_fields(zipped(""))
    with ThreadPoolExecutor(8) as pool:
        for field in pool.map(read_field, [source] * 40):
            np.testing.assert_array_equal(field.image, made_up_field.image)


# A process of its own: this one may have threads and answers to signals by now, with which a forked one can hang.
FORKED = """
import sys
from multiprocessing import get_context
from pathlib import Path
import numpy as np
from hpa_cells.fields import find_fields, read_field

(source,) = find_fields(Path(sys.argv[1]))
wanted = read_field(source).image
with get_context("fork").Pool(2) as pool:
    found = [field.image for field in pool.map(read_field, [source] * 10)]
np.save(sys.argv[2], [wanted, *found])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_may_read_the_zip_its_parent_has_open(
    zipped: Callable[..., Path], made_up_field: Field, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", FORKED, zipped(""), tmp_path / "found.npy"], check=True, timeout=60)
    found = np.load(tmp_path / "found.npy")
    assert len(found) == 11
    for image in found:
        np.testing.assert_array_equal(image, made_up_field.image)


def test_a_zip_that_was_replaced_is_read_anew(zipped: Callable[..., Path]) -> None:
    path = zipped("a/")
    find_fields(path)[0].files[Channel.ER].read_bytes()
    os.utime(zipped("b/"), ns=(1, 1))
    assert read_field(find_fields(path)[0]).image.any()


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "..\\", "C:\\", "a\\"])
def test_names_that_leave_the_zip_are_refused(zipped: Callable[..., Path], prefix: str) -> None:
    sources, problems = scan_fields(zipped("good/", prefix + "evil_"))
    assert [source.field_id for source in sources] == ["f1"]
    (problem,) = problems
    assert "leads out of the zip" in problem.message or "rename the field" in problem.message


def test_two_members_for_one_channel_are_refused(zipped: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"two files for .*train/f1_.*test/f1_"):
        find_fields(zipped("train/", "test/"))


def test_notes_of_macos_are_left_aside(zipped: Callable[..., Path]) -> None:
    assert len(find_fields(zipped("train/", "__MACOSX/train/._"))) == 1


def test_a_damaged_zip_is_named(tmp_path: Path, zipped: Callable[..., Path]) -> None:
    path = zipped("")
    (source,) = find_fields(path)
    data = bytearray(path.read_bytes())
    data[60:400] = bytes(340)
    path.write_bytes(bytes(data))
    with pytest.raises(
        ValueError, match=r"Field f1: .*fields\.zip:f1_.* cannot be used: it cannot be unpacked"
    ):
        read_field(source)
    path.write_bytes(bytes(data[:-30]))
    with pytest.raises(ValueError, match=r"fields\.zip is not a whole zip"):
        find_fields(path)


def test_a_member_that_is_gone_or_encrypted_is_named(tmp_path: Path, zipped: Callable[..., Path]) -> None:
    path = zipped("train/")
    (source,) = find_fields(path)
    path = zipped("other/")
    os.utime(path, ns=(2, 2))
    with pytest.raises(
        ValueError, match=r"train/f1_red\.png cannot be used: it cannot be unpacked .*no item named"
    ):
        read_field(source)
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        position = data.find(signature)
        while position >= 0:
            data[position + flags] |= 1
            position = data.find(signature, position + 1)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="is encrypted, password required"):
        read_field(find_fields(path)[0])


def test_an_ome_tiff_inside_a_zip_is_read(tmp_path: Path) -> None:
    planes = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
    tifffile.imwrite(tmp_path / "f.ome.tif", planes, metadata={"axes": "CYX"}, photometric="minisblack")
    with zipfile.ZipFile(tmp_path / "fields.zip", "w") as archive:
        archive.write(tmp_path / "f.ome.tif", "stacks/f.ome.tif")
    (source,) = find_fields(tmp_path / "fields.zip")
    np.testing.assert_array_equal(read_field(source).image, planes)


def test_a_source_needs_a_file_and_a_safe_id() -> None:
    with pytest.raises(ValueError, match="no file of any channel"):
        FieldSource(field_id="f", files={})
    with pytest.raises(ValueError, match="rename the field"):
        FieldSource(field_id="../f", files={Channel.ER: ImageFile.at(Path("x.png"))})
