"""Where the stages before the network run; the choices of the group ``runner``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["LocalRunner"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRunner:
    """Threads of this process: decoding, OpenCV and torch all let go of the interpreter's lock.

    Attributes
    ----------
    num_threads
        Number of calls under way at once.
    num_ahead
        Number of results, ready or under way, that wait for the one who asks: it bounds the memory.
    """

    num_threads: int = 2
    num_ahead: int = 4

    def __post_init__(self) -> None:
        for name, number in (("num_threads", self.num_threads), ("num_ahead", self.num_ahead)):
            if number < 1:
                raise ValueError(f"runner.{name} is {number}: give at least 1.")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of the items, computed ahead of being asked for.

        An error of the function is raised where its result would come. When the caller stops early, calls
        that have not begun are dropped.
        """
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="hpa-cells")
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > self.num_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
