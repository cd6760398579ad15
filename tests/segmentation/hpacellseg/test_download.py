from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hpa_cells.segmentation.hpacellseg.download import download

CONTENT = bytes(range(256)) * 100


class Handler(BaseHTTPRequestHandler):
    """Serves well at /whole, and badly in several ways elsewhere."""

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/silent":
            time.sleep(0.5)
            return
        self.send_response(200)
        if self.path != "/unstated":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name of the base class
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("page", ["whole", "unstated"])
def test_the_file_comes(server: str, tmp_path: Path, page: str) -> None:
    download(f"{server}/{page}", tmp_path / "new" / "a.pth", max_bytes=len(CONTENT))
    assert (tmp_path / "new" / "a.pth").read_bytes() == CONTENT
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize(
    ("page", "max_bytes", "max_s", "found"),
    [
        ("missing", 10**6, 9, "404"),
        ("silent", 10**6, 9, "timed out"),
        ("cut", 10**6, 9, "only 1,000 of 25,600 bytes"),
        ("whole", 25_599, 9, "it has 25,600 bytes"),
        ("unstated", 25_599, 9, "more than the 25,599 bytes"),
        ("whole", 10**6, 0, "came in 0 s"),
    ],
)
def test_nothing_is_left_of_a_failure(
    server: str, tmp_path: Path, page: str, max_bytes: int, max_s: float, found: str
) -> None:
    with pytest.raises(OSError, match=found):
        download(f"{server}/{page}", tmp_path / "a.pth", max_bytes=max_bytes, stall_s=0.2, max_s=max_s)
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        download("http://127.0.0.1:9/a.pth", tmp_path / "a.pth", max_bytes=1)
