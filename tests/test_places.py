import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from hpa_cells.addresses import Address
from hpa_cells.places import files_in, is_address, local_or_bytes, overlapped, place


@pytest.mark.parametrize(
    "text", ["runs/a", "/runs/a", "C:/runs", "C:\\runs", "a:b", "x:/y", "~/a", "a::b", "."]
)
def test_paths_stay_paths(text: str) -> None:
    assert place(text) == Path(text)
    assert not is_address(text)
    assert place(Path(text)) == Path(text)


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    assert place(f"file://{tmp_path}/a b") == tmp_path / "a b"


def test_an_address_is_one_however_it_is_spelt() -> None:
    expected = Address("memory://bucket/run")
    assert place("memory://bucket/run/") == place("MEMORY://bucket/run") == place(expected) == expected
    assert str(expected) == "memory://bucket/run"


@pytest.mark.parametrize(
    "text", ["s3:/bucket/run", "s3://", "s3:///", "simplecache::s3://bucket/run", "s3:/b"]
)
def test_what_is_no_whole_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no whole address: write it as in s3://bucket/folder"):
        place(text)


def test_a_path_of_python_has_lost_a_slash() -> None:
    with pytest.raises(
        ValueError, match=r"s3:/bucket/run is no whole address.* as a text and no path of Python"
    ):
        place(Path("s3://bucket/run"))


def test_a_protocol_that_is_not_known() -> None:
    with pytest.raises(ValueError, match=r"s4:// is not a protocol that is known: use s3, gs, abfs, "):
        place("s4://bucket/run")


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, protocol: str, package: str) -> None:
    from hpa_cells import addresses

    def not_installed(_: str) -> Any:
        raise ImportError(f"Install {package}")

    monkeypatch.setattr("fsspec.get_filesystem_class", not_installed)
    addresses.file_system.cache_clear()
    with pytest.raises(
        ValueError, match=rf"{protocol}:// needs a package that is not installed: pip install {package}$"
    ):
        place(f"{protocol}://bucket/run")
    addresses.file_system.cache_clear()


def test_files_of_a_folder_come_by_name_and_without_folders(far: Any, tmp_path: Path) -> None:
    for name in ("b.png", "a b.png", "A.png", "c/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
        place(f"{far.url}/here/{name}").write_bytes(name.encode())
    names = [path.name for path in files_in(tmp_path)]
    assert names == ["A.png", "a b.png", "b.png"]
    found = files_in(place(f"{far.url}/here"))
    assert [path.name for path in found] == names
    for file in found:
        opened = local_or_bytes(file)
        assert not isinstance(opened, Path)
        assert opened.read() == file.name.encode()
    assert local_or_bytes(tmp_path / "b.png") == tmp_path / "b.png"


def test_far_things_are_asked_for_at_once_and_come_in_order() -> None:
    together = threading.Barrier(4, timeout=20)

    def ask(number: int) -> int:
        together.wait()
        return -number

    assert list(overlapped(ask, range(4), are_far=True)) == [0, -1, -2, -3]
    assert list(overlapped(abs, [-1, 2], are_far=False)) == [1, 2]


def test_what_is_asked_of_far_things_may_fail_at_its_turn() -> None:
    answers = overlapped(lambda number: 1 / number, [1, 0, 2], are_far=True)
    assert next(answers) == 1
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_an_address_goes_to_other_processes(far: Any) -> None:
    address = place(f"{far.url}/a")
    assert pickle.loads(pickle.dumps(address)) == address
