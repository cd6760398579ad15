import errno
import os
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from hpa_cells.addresses import Address
from hpa_cells.atomic import folder_replaced_on_success, replaced_on_success, sole_writer


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    with replaced_on_success(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [each.name for each in path.parent.iterdir()] == ["table.csv"]


def test_the_temporary_file_is_beside_it_hidden_and_of_the_same_suffix(tmp_path: Path) -> None:
    with replaced_on_success(tmp_path / "mask.ome.tiff") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".tiff"
        temporary.touch()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with replaced_on_success(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replaced_on_success(tmp_path / "table.csv"):
        pass
    assert [each.name for each in tmp_path.iterdir()] == []


def test_the_content_is_on_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    on_disk: list[tuple[int, int]] = []
    fsync = os.fsync

    def told(handle: int) -> None:
        fsync(handle)
        on_disk.append((os.fstat(handle).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", told)
    with replaced_on_success(path) as temporary:
        temporary.write_text("whole")
        file = temporary.stat().st_ino
    assert on_disk == [(file, False), (tmp_path.stat().st_ino, True)]
    assert path.stat().st_ino == file


@pytest.mark.parametrize(("number", "is_told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_disk_that_fails_is_told_one_that_cannot_be_waited_for_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_told: bool
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, "of the disk")

    monkeypatch.setattr(os, "fsync", fail)
    told = pytest.raises(OSError, match="of the disk") if is_told else nullcontext()
    with told, replaced_on_success(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")
    assert [each.name for each in tmp_path.iterdir()] == ([] if is_told else ["table.csv"])


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with replaced_on_success(path) as first:
        first.write_text("first")
        with replaced_on_success(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with sole_writer(folder):
        with pytest.raises(BlockingIOError, match=r"Another command is writing to .*run: wait"):
            sole_writer(folder).__enter__()
        with sole_writer(tmp_path / "other"):
            pass
    with sole_writer(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_writer_that_failed_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sole_writer(tmp_path):
        raise RuntimeError
    with sole_writer(tmp_path):
        pass


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    # Of a folder that came from elsewhere: what is written there must not land in another file.
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "table.csv"
    path.symlink_to(precious)
    with replaced_on_success(path) as temporary:
        temporary.write_text("whole")
    assert precious.read_text() == "mine"
    assert not path.is_symlink()
    assert path.read_text() == "whole"


def test_a_file_at_an_address_is_put_up_in_one_go(bucket: Any) -> None:
    address = Address("s3://bucket/run/table.csv")
    with replaced_on_success(address) as temporary:
        assert temporary.name == "table.csv"
        temporary.write_text("whole")
        assert bucket.objects == {}
    assert bucket.objects == {"bucket/run/table.csv": b"whole"}
    assert not temporary.parent.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_at_an_address(bucket: Any, error: type[BaseException]) -> None:
    address = Address("s3://bucket/table.csv")
    address.write_bytes(b"old")

    def fail() -> None:
        with replaced_on_success(address) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert bucket.objects == {"bucket/table.csv": b"old"}


def test_nothing_is_held_at_an_address(bucket: Any) -> None:
    address = Address("s3://bucket/run")
    with sole_writer(address), sole_writer(address):
        pass
    assert bucket.requests == []


def write_folder(path: Path, content: str, **named: str) -> None:
    with folder_replaced_on_success(path, marks=["mark"]) as temporary:
        temporary.mkdir()
        (temporary / "mark").write_text(content)
        for name, text in named.items():
            (temporary / name).write_text(text)


def test_what_threads_still_write_after_an_error_goes_too(tmp_path: Path) -> None:
    """Writers in threads, as of zarr, make folders again that are removed meanwhile."""
    has_begun = Event()

    def go_on(folder: Path) -> None:
        for number in range(60):
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
            has_begun.set()
            Event().wait(0.005)

    def write() -> None:
        with folder_replaced_on_success(tmp_path / "x.zarr", marks=["mark"]) as temporary:
            threads.append(Thread(target=go_on, args=(temporary,)))
            threads[0].start()
            has_begun.wait()
            raise OSError("full")

    threads: list[Thread] = []
    with pytest.raises(OSError, match="full"):
        write()
    threads[0].join()
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_one_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.zarr"
    write_folder(path, "one", old="1")
    write_folder(path, "two")
    assert [each.name for each in path.parent.iterdir()] == ["x.zarr"]
    assert {each.name: each.read_text() for each in path.iterdir()} == {"mark": "two"}


def test_an_empty_folder_is_replaced_too(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    write_folder(tmp_path / "x.zarr", "one")
    assert (tmp_path / "x.zarr" / "mark").read_text() == "one"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_stays_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.zarr"
    write_folder(path, "one")

    def fail() -> None:
        with folder_replaced_on_success(path, marks=["mark"]) as temporary:
            temporary.mkdir()
            (temporary / "mark").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["x.zarr"]
    assert (path / "mark").read_text() == "one"


def test_a_folder_of_another_kind_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path, message in ((tmp_path, "holds something else"), (tmp_path / "notes.txt", "is a file")):
        with (
            pytest.raises(FileExistsError, match=message),
            folder_replaced_on_success(path, marks=["mark"]),
        ):
            raise AssertionError("the block began")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "one"
