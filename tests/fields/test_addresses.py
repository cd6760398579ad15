"""Fields that are not on this machine."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hpa_cells import addresses
from hpa_cells.addresses import Address
from hpa_cells.fields import find_fields, read_field, scan_fields, write_field
from hpa_cells.types import Channel, Field

COLORS = [channel.color for channel in Channel]


@pytest.fixture
def plate(far: Any, made_up_field: Field, tmp_path: Path) -> str:
    """The address of a folder with the made-up field."""
    write_field(made_up_field, tmp_path / "plate")
    (tmp_path / "plate" / "notes.txt").write_text("x")
    url: str = far.put(tmp_path / "plate", "plate 1")
    Address(f"{url}/below/f2_red.png").write_bytes(b"x")
    return url


@pytest.fixture
def table(far: Any) -> Callable[..., str]:
    """The address of a CSV of paths of one field."""

    def make(*texts: str) -> str:
        url = f"{far.url}/lists/fields.csv"
        Address(url).write_bytes(
            "\n".join([",".join(["field_id", *COLORS]), ",".join(["f", *texts])]).encode()
        )
        return url

    return make


def test_a_folder(plate: str, made_up_field: Field) -> None:
    [source] = find_fields(f"{plate}/")
    field = read_field(pickle.loads(pickle.dumps(source)))
    np.testing.assert_array_equal(field.image, made_up_field.image)
    assert field.pixel_size_um == made_up_field.pixel_size_um
    assert str(source.files[Channel.ER]) == f"{plate}/f1_yellow.png"


def test_the_same_from_many_threads(plate: str, made_up_field: Field) -> None:
    sources = find_fields(plate) * 20
    with ThreadPoolExecutor(8) as pool:
        for field in pool.map(read_field, sources):
            np.testing.assert_array_equal(field.image, made_up_field.image)


@pytest.mark.parametrize("far", ["memory://bucket"], indirect=True)
def test_the_same_from_a_forked_process(plate: str, made_up_field: Field) -> None:
    sources = find_fields(plate)
    with get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.map(read_field, sources)[0].image, made_up_field.image)


def test_the_channels_of_a_field_come_at_once(
    bucket: Any, made_up_field: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_field(made_up_field, tmp_path)
    for path in tmp_path.iterdir():
        bucket.objects[f"bucket/{path.name}"] = path.read_bytes()
    together = threading.Barrier(4, timeout=20)
    cat_file = bucket.cat_file

    def all_four(path: str) -> bytes:
        together.wait()
        return bytes(cat_file(path))

    monkeypatch.setattr(bucket, "cat_file", all_four)
    [source] = find_fields("s3://bucket")
    np.testing.assert_array_equal(read_field(source).image, made_up_field.image)


def test_what_is_wrong_with_a_file_is_said_with_its_address(
    plate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [source] = find_fields(plate)
    blue = Address(f"{plate}/f1_blue.png")
    whole = blue.read_bytes()
    blue.write_bytes(whole[:80])
    with pytest.raises(
        ValueError, match=r"Field f1: .*://bucket/plate 1/f1_blue\.png cannot be used: it is cut off"
    ):
        read_field(source)
    blue.unlink()
    with pytest.raises(ValueError, match=r"plate 1/f1_blue\.png cannot be used: there is no such file"):
        read_field(source)
    blue.write_bytes(whole)
    monkeypatch.setattr(addresses, "MAX_FILE_BYTES", len(whole) - 1)
    with pytest.raises(ValueError, match=r"cannot be used: .* bytes, at most .* are read: cut it into parts"):
        read_field(source)


def test_places_without_fields(plate: str, far: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"://bucket/plate2 does not exist"):
        scan_fields(f"{far.url}/plate2")
    with pytest.raises(NotADirectoryError, match=r"notes\.txt is a file, expected a folder"):
        scan_fields(f"{plate}/notes.txt")
    Address(f"{far.url}/empty/notes.txt").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"No fields in .*: found notes\.txt; expected <id>_red\.png"):
        scan_fields(f"{far.url}/empty")
    with pytest.raises(ValueError, match=r"fields\.zip is a zip, and these are read from disk"):
        scan_fields(f"{plate}/fields.zip")
    with pytest.raises(FileNotFoundError, match=r"fields\.csv does not exist"):
        scan_fields(f"{plate}/fields.csv")


def test_an_ome_tiff(far: Any, tmp_path: Path) -> None:
    planes = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
    tifffile.imwrite(tmp_path / "f.ome.tif", planes, metadata={"axes": "CYX"}, photometric="minisblack")
    for name in ("f", "g"):
        Address(f"{far.url}/stacks/{name}.ome.tif").write_bytes((tmp_path / "f.ome.tif").read_bytes())
    Address(f"{far.url}/stacks/h.ome.tif").write_bytes(b"II*\0")
    sources, [problem] = scan_fields(f"{far.url}/stacks")
    assert [source.field_id for source in sources] == ["f", "g"]
    np.testing.assert_array_equal(read_field(sources[1]).image, planes)
    assert "h.ome.tif cannot be used: it is not a whole TIFF" in problem.message


@pytest.mark.parametrize("folder", ["../plate 1", "{far}/plate 1", "../lists/./../plate 1"])
def test_a_table_of_paths_from_its_own_folder_and_of_addresses(
    plate: str, far: Any, table: Callable[..., str], made_up_field: Field, folder: str
) -> None:
    folder = folder.format(far=far.url)
    [source] = find_fields(table(*(f"{folder}/f1_{color}.png" for color in COLORS)))
    assert source.field_id == "f"
    np.testing.assert_array_equal(read_field(source).image, made_up_field.image)


def test_files_of_a_table_are_not_looked_for_before_they_are_read(bucket: Any) -> None:
    lines = [f"f{number}," + ",".join(f"f{number}_{color}.png" for color in COLORS) for number in range(50)]
    text = "\n".join([",".join(["field_id", *COLORS]), *lines])
    bucket.objects["bucket/fields.csv"] = text.encode()
    sources, problems = scan_fields("s3://bucket/fields.csv")
    assert (len(sources), problems) == (50, [])
    assert len(bucket.requests) < 5
    with pytest.raises(ValueError, match=r"s3://bucket/f7_red\.png cannot be used: there is no such file"):
        read_field(next(source for source in sources if source.field_id == "f7"))


FOREIGN = [
    "https://example.org/a.png",
    "http://169.254.169.254/latest/meta-data",
    "s3://other/a.png",
    "S3://bucket/a.png",
    "s3://bucket.example.org/a.png",
    "memory://other/a.png",
    "file:///etc/passwd",
    "s4://bucket/a.png",
    "https:/example.org/a.png",
    "simplecache::https://example.org/a.png",
]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("is_local", [True, False])
def test_a_table_names_nothing_elsewhere(
    far: Any, table: Callable[..., str], tmp_path: Path, text: str, is_local: bool
) -> None:
    location = table(*[text] * 4)
    if is_local:
        (tmp_path / "fields.csv").write_bytes(Address(location).read_bytes())
        location = str(tmp_path / "fields.csv")
    sources, [problem] = scan_fields(location)
    assert sources == []
    assert f"Field f: {location} cannot be used: it names {text}, which is neither" in problem.message
    assert "if you trust the CSV, set csv_addresses=[" in problem.message


@pytest.mark.parametrize("text", ["/etc/passwd", "../../../etc/passwd"])
def test_a_table_at_an_address_names_no_file_of_this_machine(table: Callable[..., str], text: str) -> None:
    _, [problem] = scan_fields(table(*[text] * 4))
    assert f"{text} leads out of " in problem.message


def test_a_table_that_is_trusted(bucket: Any, memory: Any, tmp_path: Path, made_up_field: Field) -> None:
    write_field(made_up_field, tmp_path / "plate")
    for path in (tmp_path / "plate").iterdir():
        bucket.objects[f"bucket/plate/{path.name}"] = path.read_bytes()
    table = tmp_path / "fields.csv"
    row = [f"s3://bucket/plate/f1_{color}.png" for color in COLORS]
    table.write_text("\n".join([",".join(["field_id", *COLORS]), ",".join(["f", *row])]))
    for allowed in (["s3"], ["memory", "s3"], "s3"):
        [source] = find_fields(table, csv_addresses=allowed)
        np.testing.assert_array_equal(read_field(source).image, made_up_field.image)
    for allowed in ([], ["https"], "s3s"):
        assert "csv_addresses=[s3]" in scan_fields(table, csv_addresses=allowed)[1][0].message
