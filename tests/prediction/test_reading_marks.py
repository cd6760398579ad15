import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from hpa_cells.addresses import Address
from hpa_cells.fields import FieldSource, find_fields, write_field
from hpa_cells.prediction import ReadingMarks
from hpa_cells.prediction import reading_marks as module
from hpa_cells.prediction.reading_marks import FatalFieldError
from hpa_cells.types import Field

KILLED = """
import os, signal, sys
from pathlib import Path
from hpa_cells.fields import find_fields
from hpa_cells.prediction import ReadingMarks

a, b, c = find_fields(Path(sys.argv[1]))
with ReadingMarks(Path(sys.argv[2])) as marks:
    reading = marks.reader()
    with reading(a):
        pass
    with reading(b), reading(c):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def sources(tmp_path: Path) -> list[FieldSource]:
    image = np.zeros((4, 8, 8), dtype=np.uint8)
    for name in ("a", "b", "grün"):
        write_field(Field(field_id=name, image=image, pixel_size_um=0.5), tmp_path / "fields")
    (tmp_path / "fields" / "b_red.png").write_bytes(b"no image")
    return find_fields(tmp_path / "fields")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def marked(out: Path) -> set[str]:
    return {path.name for path in out.glob(".reading/*")}


def test_what_was_being_read_at_a_sudden_end_is_read_apart_first(
    sources: list[FieldSource], out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, sources[0].files[0].path.parent, out], check=False)
    assert marked(out) == {"b", "grün"}
    caplog.set_level("INFO")
    with ReadingMarks(out) as marks:
        reading = marks.reader()
        for source in sources:
            with reading(source):
                assert source.field_id in marked(out)
            assert source.field_id not in marked(out)
    assert [record.getMessage().split()[1] for record in caplog.records] == ["b", "grün"]
    assert not list(out.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_after_another_end(
    sources: list[FieldSource], out: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), ReadingMarks(out) as marks, marks.reader()(sources[0]):
        raise error
    assert not list(out.iterdir())


def test_marks_of_processes_that_are_gone_go_at_the_end(sources: list[FieldSource], out: Path) -> None:
    with ReadingMarks(out) as marks, marks.reader()(sources[1]):
        (out / ".reading" / "a").touch()
        assert pickle.loads(pickle.dumps(marks)) == marks
    assert not list(out.iterdir())


def test_a_field_that_is_not_read_in_time_stays_marked(
    sources: list[FieldSource], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    with ReadingMarks(out) as marks:
        (out / ".reading" / "grün").touch()
        too_slow = pytest.raises(FatalFieldError, match=r"read .*grün_red.png.* takes more than 0.01 s")
        with too_slow, marks.reader()(sources[2]):
            pytest.fail("It is not read here.")
    assert marked(out) == {"grün"}
    with ReadingMarks(out):
        pass
    assert marked(out) == {"grün"}


FATAL = """
import json, os, sys
import hpa_cells.prediction.reading_marks as reading_marks
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from hpa_cells.commands.app import main

read_field = reading_marks.read_field

class SharedStore(LocalFileSystem):
    protocol = "shared"

    def __init__(self, **options):
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("shared://"))

register_implementation("shared", SharedStore)

def die_of_f2(source, **settings):
    if source.field_id == "f2":
        os.abort()
    return read_field(source, **settings)

reading_marks.read_field = die_of_f2
# A process of its own begins with this file, too.
if __name__ == "__main__":
    # Starting Python with torch takes longer than these runs: each is a fork of this process.
    import hpa_cells.commands.predict, hpa_cells.commands.segment, hpa_cells.models.classifier, timm, torch
    from hpa_cells.prediction import segmenting
    segmenting.read_field = die_of_f2
    for line in sys.stdin:
        arguments, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            sys.stderr = open(log, "w")
            sys.argv = ["hpa-cells", *arguments]
            main()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def hpa_cells_dying_of_f2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Call ``hpa-cells`` in a process that ends when it reads f2: how it ended, and what it said."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(FATAL)
    server = subprocess.Popen(
        [sys.executable, folder / "program.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(*arguments: str) -> tuple[int, str]:
        server.stdin.write(json.dumps([arguments, str(folder / "stderr")]) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return status, (folder / "stderr").read_text()

    yield run
    server.stdin.close()
    server.stdout.close()
    server.wait()


@pytest.mark.parametrize(("verb", "protocol"), [("predict", "shared://"), ("segment", "")])
def test_a_run_goes_on_without_the_field_that_ended_it(
    hpa_cells_dying_of_f2: Run, small_world: Any, tmp_path: Path, verb: str, protocol: str
) -> None:
    out = tmp_path / "out"
    settings = [f"fields={small_world.fields}", f"out={protocol}{out}", "segmenter=precomputed", "workers=1"]
    settings += [f"segmenter.folder={small_world.masks}"]
    settings += [f"model={small_world.model}", "device=cpu"] if verb == "predict" else []

    status, _ = hpa_cells_dying_of_f2(verb, *settings)
    assert status == -signal.SIGABRT
    for _ in range(2):
        status, told = hpa_cells_dying_of_f2(verb, *settings)
        assert status == 1
        assert "Field f2 was being read when a process came to a sudden end" in told
        assert "1 of 5 fields failed" in told
        assert "ends the process that does it (SIGABRT)" in (out / "failures.csv").read_text()


def test_at_an_address(sources: list[FieldSource], bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_end_of_reading", lambda source: "ends it" if source.field_id == "b" else "")
    folder = Address("s3://bucket/run")
    bucket.objects = {f"bucket/run/.reading/{name}": b"" for name in ("b", "grün")}
    with ReadingMarks(folder) as marks:
        reading = marks.reader()
        with reading(sources[0]):
            assert "bucket/run/.reading/a" in bucket.objects
        with pytest.raises(FatalFieldError, match=r"Field b: to read .* ends it"), reading(sources[1]):
            pytest.fail("It is not read here.")
        with reading(sources[2]):
            pass
        # A request for the run, one for each process, and two a field.
        assert [verb for verb, _ in bucket.requests] == [
            "PUT",
            "LIST",
            "PUT",
            "DELETE",
            "PUT",
            "PUT",
            "DELETE",
        ]
        bucket.objects["bucket/run/.reading/c"] = b""
    assert bucket.objects == {"bucket/run/.reading/b": b"ends it\n"}


class FolderStore(LocalFileSystem):
    """As sftp has it: a file is written only into a folder that is there."""

    protocol = "folders"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"auto_mkdir": False})


def test_marks_where_folders_have_to_be_made(sources: list[FieldSource], tmp_path: Path) -> None:
    fsspec.register_implementation("folders", FolderStore, clobber=True)
    source = sources[0]
    with ReadingMarks(Address(f"folders://{tmp_path}")) as marks:
        with marks.reader()(source):
            assert {each.name for each in (tmp_path / ".reading").iterdir()} >= {source.field_id}
        assert source.field_id not in {each.name for each in (tmp_path / ".reading").iterdir()}
    assert not list((tmp_path / ".reading").iterdir())
