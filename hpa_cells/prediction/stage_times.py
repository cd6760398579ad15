"""How long each stage takes, and which one holds up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["StageTime", "StageTimes"]


@dataclass(slots=True)
class StageTime:
    """The work of a stage so far, by all its threads together.

    Attributes
    ----------
    num_threads
        Number of its threads.
    wall_s
        Seconds in which a thread was at work, those included in which it waited for a core, a disk or a GPU.
    cpu_s
        Seconds of a core that the threads took themselves.
    num_items
        Number of items done.
    """

    num_threads: int = 1
    wall_s: float = 0.0
    cpu_s: float = 0.0
    num_items: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def counting(self, num_items: int) -> Iterator[None]:
        """Add what the block takes, unless it fails."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        yield
        self.add(time.perf_counter() - wall_s, time.thread_time() - cpu_s, num_items)

    def add(self, wall_s: float, cpu_s: float, num_items: int) -> None:
        """Add work that was done."""
        with self._lock:
            self.wall_s += wall_s
            self.cpu_s += cpu_s
            self.num_items += num_items

    def taken(self) -> tuple[float, float, int]:
        """What `add` takes; from here on it counts from nothing."""
        with self._lock:
            amounts = self.wall_s, self.cpu_s, self.num_items
            self.wall_s, self.cpu_s, self.num_items = 0.0, 0.0, 0
        return amounts

    @property
    def load_s(self) -> float:
        """Seconds that a thread of it was at work on average."""
        return self.wall_s / self.num_threads


class StageTimes(dict[str, StageTime]):
    """The times of several stages, by their names in the order of the way."""

    def of(self, name: str, num_threads: int) -> StageTime:
        """The time of a stage, from now on with so many threads."""
        time_of = self.setdefault(name, StageTime())
        time_of.num_threads = num_threads
        return time_of

    def taken(self) -> dict[str, tuple[float, float, int]]:
        """What `add` takes: seconds, seconds of a core and number of items of each stage since this was last asked."""
        return {name: each.taken() for name, each in self.items()}

    def add(self, amounts: Mapping[str, tuple[float, float, int]]) -> None:
        """Add work that was done elsewhere."""
        for name, amount in amounts.items():
            self.setdefault(name, StageTime()).add(*amount)

    @property
    def limit(self) -> str | None:
        """The stage whose threads have the most to do: with more of it all would be faster. None before any work."""
        busiest = max(self, key=lambda name: self[name].load_s, default=None)
        return busiest if busiest is not None and self[busiest].num_items else None

    def summary(self) -> str:
        """The share of each stage in the seconds of all, such as ``read 12%, segment 70%, score 18%``."""
        together = sum(each.wall_s for each in self.values())
        return (
            ", ".join(f"{name} {each.wall_s / together:.0%}" for name, each in self.items())
            if together
            else ""
        )
