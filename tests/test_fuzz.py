"""A few hundred damaged and hostile files for every reader; ``benchmarks/fuzz.py`` does millions."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this package", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
try:
    import fuzz
    from fuzz_readers import READERS, Reader
finally:
    sys.path.pop(0)

# Runs of a reader for its share; the readers of models build one in each.
RUNS_OF_SHARE, MOST_RUNS, LEAST_RUNS = 4, 200, 8


@pytest.fixture(autouse=True)
def quiet_libraries() -> Iterator[None]:
    import logging

    fuzz.quiet()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "reader",
    [pytest.param(each, id=each.name) for each in READERS],
)
def test_a_reader_returns_or_refuses(reader: Any, tmp_path: Path) -> None:
    seeds = list(reader.seeds())
    assert "returned" in [fuzz.one_run(reader, each, tmp_path) for each in seeds]
    for number in range(min(MOST_RUNS, max(LEAST_RUNS, RUNS_OF_SHARE * reader.share))):
        data = fuzz.made(reader, seeds, 0, number)
        with fuzz.stopped_after(20):
            found = fuzz.one_run(reader, data, tmp_path)
        assert found in ("returned", "refused"), f"run {number}: {found}"


def _drawn(number: int) -> float:
    """What a run draws when it has chosen its seed."""
    random = Random(f"0 made up {number}")
    random.choice([b"10"])
    return random.random()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_the_fuzzing_would_find(tmp_path: Path) -> None:
    def read(data: bytes, _: Path) -> None:
        number = int(data)
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            time.sleep(60)
        if number == 6:
            bytearray(b"x") * (300 << 20)
        if number == 8:
            raise KeyError("no error of a reader")
        if number % 2:
            raise ValueError("refused")

    # Each run reads its own number, which it knows by its random numbers.
    number_of = {_drawn(number): number for number in range(9)}
    reader = Reader(
        name="made up",
        seeds=lambda: [b"10"],
        read=read,
        mutate=lambda random, *_: str(number_of[random.random()]).encode(),
    )
    arguments = SimpleNamespace(
        start=0, seed=0, seconds=0.5, memory_mb=200, keep=tmp_path / "kept", scratch=tmp_path
    )
    outcome = fuzz.campaign(reader, 9, arguments)
    assert (outcome.returned, outcome.refused) == (1, 4)
    found = {number: text.split("\n")[0] for number, text in outcome.findings}
    assert found.pop(6).startswith("memory: ")
    assert found == {
        2: "the process ended with -9",
        4: "took too long",
        8: "KeyError: 'no error of a reader'",
    }
    assert (tmp_path / "kept" / "made_up.8.bin").read_bytes() == b"8"
