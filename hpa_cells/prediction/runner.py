"""Where the stages run; the choices of the group ``runner``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import cv2

from hpa_cells.prediction.conveyor import Stage, convey
from hpa_cells.prediction.stage_times import StageTimes

__all__ = ["LocalRunner", "Runner", "Way"]

_FIELDS_A_GPU = 16


class Way(Protocol):
    """Makes the stages of a way, where they shall run: it can be pickled, they need not."""

    def __call__(self, *, num_threads: int, times: StageTimes) -> list[Stage]:
        """The stages, with so many threads each that works on a CPU; they count in `times`."""
        ...


class Runner(Protocol):
    """Brings items through the stages of a way."""

    @property
    def is_here(self) -> bool:
        """Whether all is done on this machine: what it lacks can be told before there is anything to run."""
        ...

    def run(self, items: Sequence[Any], way: Way, *, times: StageTimes) -> Iterator[Any]:
        """Outcomes of the items, in their order, see `convey`; what the stages need is loaded first."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRunner:
    """Threads of this process: decoding, OpenCV and torch all let go of the interpreter's lock.

    Attributes
    ----------
    workers
        Threads a stage, each on a field of its own; None for as many as this process may use cores.
    fields_under_way
        Number of fields in memory at once, each with its pixels; None for as many as there are threads, and 16 more
        for each network on a GPU, to fill its batches.
    """

    workers: int | None = None
    fields_under_way: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("workers", self.workers), ("fields_under_way", self.fields_under_way)):
            if number is not None and number < 1:
                raise ValueError(f"{name} is {number}: give at least 1, or null.")

    @property
    def is_here(self) -> bool:
        """Yes."""
        return True

    @property
    def num_threads(self) -> int:
        """Threads a stage."""
        if self.workers is not None:
            return self.workers
        # Not all systems tell which cores a process may use.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(self, items: Iterable[Any], way: Way, *, times: StageTimes) -> Iterator[Any]:
        """Outcomes of the items, in their order, see `convey`; what the stages need is loaded first."""
        stages = way(num_threads=self.num_threads, times=times)
        for stage in stages:
            stage.prepare()
        with _one_core_a_thread():
            yield from convey(items, stages, num_under_way=self._num_under_way(stages))

    def _num_under_way(self, stages: Sequence[Stage]) -> int:
        if self.fields_under_way is not None:
            return self.fields_under_way
        return sum(stage.num_threads + _FIELDS_A_GPU * (stage.batch_size > 1) for stage in stages)


@contextmanager
def _one_core_a_thread() -> Iterator[None]:
    """Keep libraries from using all cores for one field: with a field a core nobody waits for another."""
    import torch

    of_torch, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(of_torch)
        cv2.setNumThreads(of_opencv)
