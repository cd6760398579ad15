"""Folders, zips and CSVs of strangers: names that lead elsewhere, and files that have no end."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hpa_cells.fields import find_fields, read_field, scan_fields
from hpa_cells.fields.source import ImageFile, UnreadableImageError
from hpa_cells.limits import MAX_FILE_BYTES
from hpa_cells.types import Channel

ALL = frozenset(Channel)


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f_red.png")
    (source,) = find_fields(tmp_path, optional=ALL)
    with pytest.raises(ValueError, match=r"f_red\.png cannot be used: it is no regular file"):
        read_field(source)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
@pytest.mark.parametrize("name", ["f_red.png", "f.ome.tif"])
def test_a_link_to_a_device_without_end_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    sources, problems = scan_fields(tmp_path, optional=ALL)
    if problems:
        assert "it is no regular file" in problems[0].message
    else:
        with pytest.raises(ValueError, match="it is no regular file"):
            read_field(sources[0])


def test_links_in_a_folder_are_followed(tmp_path: Path, touch: Callable[..., Path]) -> None:
    # How laboratories share the images of one disk: of whose files a folder shows, its owner is the judge.
    touch("f_red.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "g_red.png").symlink_to(tmp_path / "f_red.png")
    (source,) = find_fields(tmp_path / "links", optional=ALL)
    assert read_field(source).image.any()


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "f_red.png").symlink_to(tmp_path / "f_red.png")
    (source,) = find_fields(tmp_path, optional=ALL)
    with pytest.raises(ValueError, match=r"f_red\.png cannot be used"):
        read_field(source)


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path, touch: Callable[..., Path]) -> None:
    touch("f_red.png")
    link = zipfile.ZipInfo("g_red.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zipped(tmp_path / "fields.zip", (link, str(tmp_path / "f_red.png").encode()))
    _, (problem,) = scan_fields(path, optional=ALL)
    assert "g_red.png cannot be used: it is a link, and links in a zip are not followed" in problem.message


def test_a_zip_that_unpacks_a_thousandfold(tmp_path: Path) -> None:
    path = tmp_path / "fields.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("f_red.tif", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    (source,) = find_fields(path, optional=ALL)
    with pytest.raises(
        ValueError, match=r"f_red\.tif cannot be used: it unpacks from .* to 314,572,800 bytes"
    ):
        read_field(source)


def test_a_zip_that_is_said_to_unpack_to_terabytes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "fields.zip", ("f_red.png", b"x" * 100))
    content = path.read_bytes().replace((100).to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little"))
    path.write_bytes(content)
    (source,) = find_fields(path, optional=ALL)
    with pytest.raises(ValueError, match=r"f_red\.png cannot be used: it"):
        read_field(source)


def test_a_file_longer_than_any_image(tmp_path: Path) -> None:
    with (tmp_path / "f_red.png").open("wb") as file:
        # It takes no room on the disk.
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(
        UnreadableImageError, match=r"has 4,294,967,297 bytes, at most 4,294,967,296 are read"
    ):
        ImageFile.at(tmp_path / "f_red.png").read_bytes()


@pytest.mark.parametrize("name", ["a" * 5000, "a\x00b.png", "/dev/zero", "..", "\n"])
def test_a_path_that_no_system_takes_spares_the_other_rows(
    tmp_path: Path, touch: Callable[..., Path], name: str
) -> None:
    touch("f_red.png")
    (tmp_path / "fields.csv").write_text(f'field_id,red\nbad,"{name}"\ngood,f_red.png\n')
    sources, (problem,) = scan_fields(tmp_path / "fields.csv", optional=ALL)
    assert [source.field_id for source in sources] == ["good"]
    assert problem.field_id == "bad"
    assert "there is no such file" in problem.message


def test_a_damaged_directory_of_a_zip(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("Qx.txt", b"a member without a name")
        archive.writestr("f_red.png", b"x")
    (tmp_path / "fields.zip").write_bytes(made.getvalue().replace(b"Qx.txt", b"\0x.txt"))
    assert [source.field_id for source in find_fields(tmp_path / "fields.zip", optional=ALL)] == ["f"]
