import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpa_cells.addresses import Address
from hpa_cells.commands.sudden_ends import marked_while_read
from hpa_cells.fields import FieldSource, find_fields, write_field
from hpa_cells.prediction import Failure, ReadingMarks, read_apart, suspects, write_failures
from hpa_cells.prediction import reading_marks as module
from hpa_cells.types import Field

KILLED = """
import os, signal, sys
from pathlib import Path
from hpa_cells.prediction import ReadingMarks

with ReadingMarks(Path(sys.argv[1])) as marks:
    with marks.reading("done"):
        pass
    with marks.reading("being read"), marks.reading("grün"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_being_read_at_a_sudden_end(tmp_path: Path) -> None:
    assert suspects(tmp_path) == frozenset()
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert suspects(tmp_path) == {"being read", "grün"}
    with ReadingMarks(tmp_path):
        assert suspects(tmp_path) == frozenset()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_after_another_end(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), ReadingMarks(tmp_path) as marks, marks.reading("a"):
        raise error
    assert suspects(tmp_path) == frozenset()


def test_threads_have_marks_of_their_own(tmp_path: Path) -> None:
    together = threading.Barrier(8, timeout=20)
    seen: list[frozenset[str]] = []

    def read(number: int) -> None:
        for round_ in range(5):
            with marks.reading(f"{number}-{round_}"):
                together.wait()
                seen.append(suspects(tmp_path))
                together.wait()

    with ReadingMarks(tmp_path) as marks:
        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (tmp_path / ".reading").stat().st_size == 8 * 256
    expected = [{f"{number}-{round_}" for number in range(8)} for round_ in range(5)]
    assert all(each in expected for each in seen)
    assert len(seen) == 40


def test_a_field_that_ended_a_run_stays_suspect(tmp_path: Path) -> None:
    fatal = Failure(field_id="a", stage="survive", error="x")
    write_failures(tmp_path, [fatal, Failure(field_id="b", stage="read", error="y")])
    assert suspects(tmp_path) == {"a"}


@pytest.fixture
def sources(tmp_path: Path) -> list[FieldSource]:
    image = np.zeros((4, 8, 8), dtype=np.uint8)
    for name in "abc":
        write_field(Field(field_id=name, image=image, pixel_size_um=0.5), tmp_path / "fields")
    (tmp_path / "fields" / "b_red.png").write_bytes(b"no image")
    return find_fields(tmp_path / "fields")


def test_what_is_merely_broken_is_left_to_the_run(sources: list[FieldSource]) -> None:
    assert read_apart(sources) == []
    assert read_apart([]) == []


def test_a_field_that_is_not_read_in_time(
    sources: list[FieldSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    [failure] = read_apart(sources[2:])
    assert (failure.field_id, failure.stage) == ("c", "survive")
    assert "takes more than 0.01 s" in failure.error
    assert "c_red.png" in failure.error


FATAL = """
import os
import hpa_cells.prediction.reading_marks as reading_marks
import hpa_cells.prediction.stages as stages
from hpa_cells.commands.app import main

read_field = stages.read_field

def die_of_f2(source, **settings):
    if source.field_id == "f2":
        os.abort()
    return read_field(source, **settings)

stages.read_field = reading_marks.read_field = die_of_f2
# A process of its own begins with this file, too.
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("verb", ["predict", "segment"])
def test_a_run_goes_on_without_the_field_that_ended_it(small_world: Any, tmp_path: Path, verb: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(FATAL)
    out = tmp_path / "out"
    settings = [f"fields={small_world.fields}", f"out={out}", "segmenter=precomputed", "workers=1"]
    settings += [f"segmenter.folder={small_world.masks}"]
    settings += [f"model={small_world.model}", "device=cpu"] if verb == "predict" else []

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, program, verb, *settings], capture_output=True, text=True, check=False
        )

    assert run().returncode == -signal.SIGABRT
    for _ in range(2):
        ended = run()
        assert ended.returncode == 1
        assert "An earlier run ended while it read f2: these are read apart first" in ended.stderr
        assert "1 of 5 fields failed" in ended.stderr
        assert "ends the process that does it (SIGABRT)" in (out / "failures.csv").read_text()


def test_at_an_address_nothing_is_marked_and_what_is_on_record_stays_suspect(bucket: Any) -> None:
    out = Address("s3://bucket/run")
    assert suspects(out) == frozenset()
    write_failures(out, [Failure(field_id="a", stage="survive", error="x")])
    assert suspects(out) == {"a"}
    with marked_while_read(out, [], []) as (readable, marks):
        assert (readable, marks) == ([], None)
