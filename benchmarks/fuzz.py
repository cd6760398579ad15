"""Damaged and hostile files for every reader, until one does anything else than return or refuse.

    python benchmarks/fuzz.py --runs 1000000 --seed 0          # all readers, each its share of the runs
    python benchmarks/fuzz.py --readers tiff png --runs 5000
    python benchmarks/fuzz.py --readers tiff --only 4711        # one run again, with its trace

A reader may return, or raise a ValueError or OSError. A finding is any other error, a run of more than `--seconds`, an
end of the process, or memory beyond `--memory-mb`. A run is made from the seed, the reader's name and its number alone;
the table says where to go on: ``--start``. Files of findings are kept in `--keep`.
"""

from __future__ import annotations

import argparse
import logging
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzz_readers import READERS, Reader

# What a reader may say.
REFUSALS = (ValueError, OSError)
# The end of the process that a run would not come back from is written down by the one that watches it.
_LOOK_S = 0.02
_HEADROOM_MB = 2048


class TookTooLongError(BaseException):
    """Raised in a run by the clock; no reader catches it."""


@dataclass(slots=True)
class Outcome:
    """What became of the runs of a reader."""

    name: str
    returned: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: list[tuple[int, str]] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """How many."""
        return self.returned + self.refused + len(self.findings)


def made(reader: Reader, seeds: list[bytes], seed: int, number: int) -> bytes:
    """The file of a run."""
    random = Random(f"{seed} {reader.name} {number}")
    return reader.mutate(random, random.choice(seeds), seeds)


def one_run(reader: Reader, data: bytes, scratch: Path) -> str:
    """`returned`, `refused`, or what was found."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(data, scratch)
    except REFUSALS:
        return "refused"
    except TookTooLongError:
        return "took too long\n" + traceback.format_exc(limit=-6)
    except BaseException as error:
        return f"{type(error).__name__}: {error!s:.200}\n{traceback.format_exc(limit=-6)}"
    return "returned"


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Raise `TookTooLongError` in the block when its time is over; the clock starts anew by `restart_clock`."""

    def stop(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _child(
    reader: Reader,
    seeds: list[bytes],
    *,
    numbers: range,
    arguments: argparse.Namespace,
    board: mmap.mmap,
    scratch: Path,
) -> None:
    """Do the runs; the board has the number of the run under way, and what came of those before."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    for each in seeds:
        one_run(reader, each, scratch)
    taken_mb = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() >> 20
    most = (taken_mb + arguments.memory_mb + _HEADROOM_MB) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    counts, peak_mb = [0, 0], _peak_mb()
    for number in numbers:
        struct.pack_into("<qqq", board, 0, number, *counts)
        data = made(reader, seeds, arguments.seed, number)
        try:
            with stopped_after(arguments.seconds):
                found = one_run(reader, data, scratch)
        except TookTooLongError:
            found = "refused"
        if (now_mb := _peak_mb()) > peak_mb + arguments.memory_mb:
            found = f"memory: {now_mb - peak_mb:.0f} MB more than before"
        # What was taken once is not blamed on the next.
        peak_mb = max(peak_mb, now_mb)
        if found in ("returned", "refused"):
            counts[found == "refused"] += 1
        else:
            _note(arguments.keep, reader, number, data, found)
    struct.pack_into("<qqq", board, 0, numbers.stop, *counts)


def _note(folder: Path, reader: Reader, number: int, data: bytes, found: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{reader.name.replace(' ', '_')}.{number}"
    (folder / f"{name}.bin").write_bytes(data)
    (folder / f"{name}.txt").write_text(found, encoding="utf-8", errors="backslashreplace")


def campaign(reader: Reader, num_runs: int, arguments: argparse.Namespace) -> Outcome:
    """All runs of a reader, in processes that may end or hang."""
    # Made and read once here, so that each process need not import all that the reader imports.
    outcome, seeds = Outcome(reader.name), list(reader.seeds())
    with TemporaryDirectory(dir=arguments.scratch) as scratch:
        one_run(reader, seeds[0], Path(scratch))
    began, number, stop = time.monotonic(), arguments.start, arguments.start + num_runs
    while number < stop:
        with mmap.mmap(-1, 24) as board, TemporaryDirectory(dir=arguments.scratch) as scratch:
            struct.pack_into("<qqq", board, 0, number, 0, 0)
            child = os.fork()
            if child == 0:
                _child(
                    reader,
                    seeds,
                    numbers=range(number, stop),
                    arguments=arguments,
                    board=board,
                    scratch=Path(scratch),
                )
                os._exit(0)
            why = _watched(child, board, arguments)
            number, returned, refused = struct.unpack_from("<qqq", board, 0)
        outcome.returned, outcome.refused = outcome.returned + returned, outcome.refused + refused
        if why:
            _note(arguments.keep, reader, number, made(reader, seeds, arguments.seed, number), why)
            number += 1
    outcome.seconds = time.monotonic() - began
    files = arguments.keep.glob(f"{reader.name.replace(' ', '_')}.*.txt")
    numbered = sorted((int(path.name.split(".")[-2]), path.read_text(encoding="utf-8")) for path in files)
    outcome.findings = [each for each in numbered if arguments.start <= each[0] < stop]
    return outcome


def _watched(child: int, board: mmap.mmap, arguments: argparse.Namespace) -> str:
    """Wait for a process, and end it when a run takes far too long; why it did not end well."""
    last, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "" if status == 0 else f"the process ended with {os.waitstatus_to_exitcode(status)}"
        (number,) = struct.unpack_from("<q", board, 0)
        if number != last:
            last, since = number, time.monotonic()
        elif time.monotonic() - since > 3 * arguments.seconds + 20:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "took too long, and could not be stopped"
        time.sleep(_LOOK_S)


def _table(outcomes: list[Outcome]) -> str:
    header = f"{'reader':<20}{'runs':>10}{'returned':>10}{'refused':>10}{'findings':>10}{'runs a s':>10}"
    total = Outcome(
        "all", *(sum(getattr(each, name) for each in outcomes) for name in ("returned", "refused", "seconds"))
    )
    total.findings = [each for outcome in outcomes for each in outcome.findings]
    rows = [
        f"{each.name:<20}{each.runs:>10,}{each.returned:>10,}{each.refused:>10,}{len(each.findings):>10,}"
        f"{each.runs / max(each.seconds, 1e-9):>10,.0f}"
        for each in (*outcomes, total)
    ]
    return "\n".join([header, *rows])


def _arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", nargs="*", default=[each.name for each in READERS], metavar="NAME")
    parser.add_argument("--runs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--start", type=int, default=0, help="number of the first run of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="most of a run")
    parser.add_argument("--memory-mb", type=int, default=1024, help="most of a run")
    parser.add_argument("--keep", type=Path, default=Path("outputs/fuzz"), help="where files of findings go")
    parser.add_argument(
        "--scratch", type=Path, default=Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    )
    parser.add_argument("--only", type=int, help="do one run, here, and show its trace")
    return parser.parse_args(given)


def main() -> int:
    """Do the runs and print the table; 1 if anything was found."""
    arguments = _arguments()
    quiet()
    chosen = [each for each in READERS if each.name in arguments.readers]
    if arguments.only is not None:
        (reader,) = chosen
        with TemporaryDirectory() as scratch:
            data = made(reader, list(reader.seeds()), arguments.seed, arguments.only)
            _say(one_run(reader, data, Path(scratch)))
        return 0
    shares, outcomes = sum(each.share for each in chosen), []
    for reader in chosen:
        outcomes.append(campaign(reader, -(-arguments.runs * reader.share // shares), arguments))
        _say(_table(outcomes[-1:]).split("\n")[1])
    _say(f"\nseed {arguments.seed}, runs from {arguments.start}\n{_table(outcomes)}")
    for outcome in outcomes:
        kinds = Counter(text.split("\n")[0][:150] for _, text in outcome.findings)
        for kind, count in kinds.most_common():
            first = next(number for number, text in outcome.findings if text.startswith(kind))
            _say(f"{outcome.name}: {count} times, first in run {first}: {kind}")
    return int(any(each.findings for each in outcomes))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def quiet() -> None:
    """Keep libraries from saying of each damaged file that it is damaged, and from threads of their own."""
    import cv2
    import torch

    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
