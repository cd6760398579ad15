import os
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from hpa_cells import addresses
from hpa_cells.addresses import Address


def test_parts_of_an_address() -> None:
    file = Address("s3://bucket/plate 1/f_red.ome.tif")
    assert (file.protocol, file.root, file.name) == ("s3", "s3://bucket", "f_red.ome.tif")
    assert (file.stem, file.suffix) == ("f_red.ome", ".tif")
    assert file.parent == Address("s3://bucket/plate 1")
    assert file.parent / "g.csv" == file.with_name("g.csv") == Address("s3://bucket/plate 1/g.csv")
    bucket = Address("s3://bucket")
    assert file.parent.parent == bucket == bucket.parent == bucket.parent.parent


def test_an_address_never_becomes_a_path() -> None:
    with pytest.raises(TypeError):
        Path(Address("s3://bucket/run"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        os.fspath(Address("s3://bucket/run"))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("f.png", "a/b/f.png"),
        ("c/f.png", "a/b/c/f.png"),
        ("../f.png", "a/f.png"),
        ("./x/../f.png", "a/b/f.png"),
    ],
)
def test_what_lies_beside_a_file(path: str, expected: str) -> None:
    assert Address("s3://bucket/a/b/fields.csv").beside(path) == Address(f"s3://bucket/{expected}")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../other/f.png", "../../.."])
def test_nothing_leads_out_of_a_bucket(path: str) -> None:
    with pytest.raises(ValueError, match=r"leads out of s3://bucket: write it as from s3://bucket/a/b/ on"):
        Address("s3://bucket/a/b/fields.csv").beside(path)


def test_a_file_comes_and_goes(far: Any) -> None:
    file = Address(f"{far.url}/run/a.bin")
    assert not file.exists()
    assert list(file.parent.glob("*")) == []
    file.write_bytes(b"another")
    file.write_bytes("grün\r\n".encode())
    assert file.exists()
    assert file.is_file()
    assert file.parent.exists()
    assert not file.parent.is_file()
    assert file.num_bytes() == 7
    assert file.read_text() == "grün\r\n"
    assert list(file.parent.glob("?.bin")) == [file]
    assert list(file.parent.parent.glob("r*")) == [file.parent]
    assert list(file.parent.glob("a")) == []
    file.unlink()
    assert not file.exists()
    file.unlink(missing_ok=True)


def test_a_name_is_no_pattern(far: Any) -> None:
    file = Address(f"{far.url}/run [1]*/fields-0.parquet")
    file.write_bytes(b"x")
    Address(f"{far.url}/run 1/fields-0.parquet").write_bytes(b"y")
    assert list(file.parent.glob("fields-*.parquet")) == [file]


def test_what_other_machines_write_is_seen(bucket: Any) -> None:
    folder = Address("s3://bucket/run")
    (folder / "a").write_bytes(b"")
    assert [file.name for file in folder.files()] == ["a"]
    bucket.objects["bucket/run/b"] = b""
    assert [file.name for file in folder.files()] == ["a", "b"]
    bucket.objects["bucket/run/c"] = b""
    assert (folder / "c").is_file()


def test_sizes_are_taken_from_a_listing(bucket: Any) -> None:
    folder = Address("s3://bucket/run")
    for name in "abc":
        (folder / name).write_bytes(name.encode())
    bucket.requests.clear()
    assert [file.read_bytes() for file in folder.files()] == [b"a", b"b", b"c"]
    assert [verb for verb, _ in bucket.requests] == ["LIST", "GET", "GET", "GET"]


def test_a_file_that_is_absurdly_large_is_not_read(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Address("s3://bucket/a")
    file.write_bytes(b"12345")
    monkeypatch.setattr(addresses, "MAX_FILE_BYTES", 4)
    with pytest.raises(ValueError, match=r"s3://bucket/a has 5 bytes, at most 4 are read: cut it into parts"):
        file.read_bytes()
    assert "GET" not in dict(bucket.requests)


def test_a_file_of_unknown_size_is_not_read(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Address("s3://bucket/a").write_bytes(b"")
    monkeypatch.setattr(bucket, "info", lambda _: {"type": "file", "size": None})
    with pytest.raises(OSError, match=r"s3://bucket/a does not say how large it is"):
        Address("s3://bucket/a").read_bytes()


def test_of_a_stream_only_pieces_are_fetched(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_PIECE_BYTES", 10)
    file = Address("s3://bucket/a")
    data = bytes(range(256))
    file.write_bytes(data)
    fetched: list[tuple[int, int]] = []
    read_piece = Address.read_piece

    def counted(self: Address, start: int, end: int) -> bytes:
        fetched.append((start, end))
        return read_piece(self, start, end)

    monkeypatch.setattr(Address, "read_piece", counted)
    with file.open() as stream:
        assert stream.read(4) == data[:4]
        assert stream.seek(-6, os.SEEK_END) == 250
        assert stream.read(20) == data[250:]
        assert stream.read() == b""
        assert (stream.seek(100), stream.seek(2, os.SEEK_CUR)) == (100, 102)
        assert stream.read(3) == data[102:105]
    assert sum(end - start for start, end in fetched) < 60


def test_a_server_that_knows_no_pieces(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Address("s3://bucket/a").write_bytes(b"0123456789")
    monkeypatch.setattr(bucket, "cat_file", lambda path, start, end: b"0123456789")
    assert Address("s3://bucket/a").read_piece(3, 5) == b"34"


def test_a_file_where_a_folder_is_wanted(far: Any) -> None:
    Address(f"{far.url}/notes.txt").write_bytes(b"x")
    with pytest.raises(NotADirectoryError, match=r"bucket/notes.txt is a file, expected a folder"):
        Address(f"{far.url}/notes.txt").files()


def test_the_mark_of_an_empty_folder_is_no_file(bucket: Any) -> None:
    bucket.objects |= {"bucket/empty": b"", "bucket/run": b"", "bucket/run/a": b"x"}
    assert Address("s3://bucket/empty").files() == []


def test_what_does_not_exist_is_named(far: Any) -> None:
    missing = Address(f"{far.url}/missing")
    for ask in (missing.files, missing.read_bytes, missing.num_bytes, missing.open):
        with pytest.raises(FileNotFoundError, match=r"://bucket/missing does not exist"):
            ask()


def test_a_bucket_that_does_not_exist(bucket: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"s3://bukcet/run does not exist"):
        Address("s3://bukcet/run").files()
    with pytest.raises(
        FileNotFoundError, match=r"s3://bukcet/run/a cannot be written, since s3://bukcet is not there"
    ):
        Address("s3://bukcet/run/a").write_bytes(b"")


def test_errors_of_a_store_are_plain_ones(bucket: Any) -> None:
    locked = Address("s3://locked/run")
    for ask in (locked.files, locked.exists, locked.read_bytes, lambda: locked.write_bytes(b"")):
        with pytest.raises(
            OSError,
            match=r"s3://locked/run cannot be reached \(NoCredentialsError: Unable to locate credentials\): check",
        ):
            ask()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine, and the folder that it shows."""
    pytest.importorskip("aiohttp")
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path
        server.shutdown()
        thread.join()


def test_a_web_server_lists_and_gives(served: tuple[str, Path]) -> None:
    url, folder = served
    (folder / "plate").mkdir()
    (folder / "plate" / "f_red.png").write_bytes(b"0123456789")
    (folder / "plate" / "below").mkdir()
    [file] = Address(f"{url}/plate").files()
    assert file == Address(f"{url}/plate/f_red.png")
    assert file.is_file()
    assert file.read_bytes() == b"0123456789"
    with file.open() as stream:
        assert stream.seek(4) == 4
        assert stream.read(3) == b"456"
    with pytest.raises(FileNotFoundError, match=r"plate/f_green\.png does not exist"):
        file.with_name("f_green.png").read_bytes()
