"""The stages on a cluster, as the operators of a Ray dataset.

    fields -> [read ... join: a task a few fields] -> outcomes                                 without GPUs
    fields -> [read: task] -> [segment: GPU] -> [outline: task] -> [score: GPU] -> [join: task] -> outcomes

Ray takes a task whose machine is lost to another one, keeps the outcomes in order, and bounds what waits between the
operators. The rows come back to the process that asked, which writes them as it does those of `LocalRunner`: the files
are the same, to the byte, if the processors compute alike.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.prediction.conveyor import Stage
from hpa_cells.prediction.failures import Failure
from hpa_cells.prediction.ray_cluster import connected
from hpa_cells.prediction.runner import LocalRunner, Way
from hpa_cells.prediction.stage_times import StageTimes

__all__ = ["RayRunner"]

log = logging.getLogger(__name__)

# Read while the one before goes through a network.
_FIELDS_UNDER_WAY = 2
_COLUMN = "parcel"
# Packed parcels in that column: Ray looks into what it can, and takes long over it.
_Batch = dict[str, NDArray[np.object_]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RayRunner:
    """Processes on the machines of a Ray cluster, which all see the fields, at the same place, and have this package.

    Attributes
    ----------
    address
        Of a cluster, such as ``auto`` or ``10.0.0.1:6379``; None for the one that ``RAY_ADDRESS`` names or, without,
        one of this machine alone, for as long as the run takes.
    gpus
        Number of GPUs that shall work; None for all of the cluster.
    fields_a_task
        Number of fields a task, so that fewer are started, or that go to a GPU together; less where there are few.
    """

    address: str | None = None
    gpus: int | None = None
    fields_a_task: int = 8

    def __post_init__(self) -> None:
        if self.gpus is not None and self.gpus < 0:
            raise ValueError(f"runner.gpus is {self.gpus}: give 0 or more, or null for all.")
        if self.fields_a_task < 1:
            raise ValueError(f"runner.fields_a_task is {self.fields_a_task}: give at least 1.")

    @property
    def is_here(self) -> bool:
        """No: other machines may have what this one lacks."""
        return False

    def run(self, items: Sequence[Any], way: Way, *, times: StageTimes) -> Iterator[Any]:
        """Outcomes of the items, in their order, as `LocalRunner` gives them.

        Raises
        ------
        ModuleNotFoundError
            If Ray is not installed.
        ConnectionError
            If there is no cluster at the address, or it can no longer work.
        """
        with connected(self.address):
            told: set[str] = set()
            for packed in _rows(self._dataset(items, way, times)):
                parcel = _Parcel.unpacked(packed)
                times.add(parcel.times)
                for warning in parcel.warnings:
                    # Each process says it of itself.
                    if warning not in told:
                        told.add(warning)
                        log.warning("On the cluster: %s", warning)
                if isinstance(parcel.item, _Fault):
                    raise parcel.item.error
                yield parcel.item

    def _dataset(self, items: Sequence[Any], way: Way, times: StageTimes) -> Any:
        """A dataset of outcomes; nothing runs before they are asked for."""
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_cores, num_gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        num_gpus = num_gpus if self.gpus is None else min(num_gpus, self.gpus)
        # A few tasks a core at the least: the last ones shall not be long.
        num_tasks = max(ceil(len(items) / self.fields_a_task), 4 * num_cores)
        dataset: Any = ray.data.from_items(
            [{_COLUMN: _Parcel(each).packed} for each in items],
            override_num_blocks=min(len(items), num_tasks),
        )
        # One copy a process, and not one a task.
        shared = ray.put(way)
        operators = _operators(way(num_threads=num_cores, times=times), with_gpus=num_gpus > 0)
        num_on_gpu = sum(is_on_gpu for _, is_on_gpu in operators)
        for names, is_on_gpu in operators:
            job = _Job(shared, names, Path.cwd())
            if not is_on_gpu:
                dataset = dataset.map_batches(_carry, fn_args=(job,), batch_size=None, num_cpus=1)
                continue
            for name in names:
                times.of(name, num_gpus)
            dataset = dataset.map_batches(
                _OnGpu,
                fn_constructor_args=(job,),
                batch_size=self.fields_a_task,
                num_cpus=0,
                num_gpus=1 / num_on_gpu,
                compute=ray.data.ActorPoolStrategy(size=num_gpus),
            )
        return dataset


@dataclass(frozen=True, slots=True)
class _Parcel:
    """An item on its way, and the work that was done, and what was warned of, on it and on others that came along."""

    item: Any
    times: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def packed(self) -> bytes:
        return pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)

    @classmethod
    def unpacked(cls, packed: bytes) -> _Parcel:
        """A parcel that a process of this run has packed."""
        parcel: _Parcel = pickle.loads(packed)
        return parcel


@dataclass(frozen=True, slots=True)
class _Job:
    """Stages of a way, by name, and the folder that paths are relative to.

    Ray hands on the reference to the way as it is, since it is inside another object.
    """

    way: Any
    names: tuple[str, ...]
    folder: Path

    def __call__(self, *, num_threads: int, times: StageTimes) -> list[Stage]:
        """The stages of these names; that is a `Way`, too."""
        stages = _fetched(self.way)(num_threads=num_threads, times=times)
        return [stage for stage in stages if stage.name in self.names]


@dataclass(frozen=True, slots=True)
class _Fault:
    """An error of a stage, which ends the run."""

    error: BaseException


class _OnGpu:
    """A process that keeps its GPU, and its stages: they remember how much at once the memory is large enough for."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._times = StageTimes()
        self._stages: list[Stage] = []

    def __call__(self, batch: _Batch) -> _Batch:
        return _carry(batch, self._job, way=self._kept, times=self._times)

    def _kept(self, *, num_threads: int, times: StageTimes) -> list[Stage]:
        self._stages = self._stages or self._job(num_threads=num_threads, times=times)
        return self._stages


def _rows(dataset: Any) -> Iterator[bytes]:
    from ray.exceptions import RayError

    try:
        for row in dataset.iter_rows():
            yield row[_COLUMN]
    except RayError as error:
        first = next(line for line in str(error).split("\n") if line.strip())
        raise ConnectionError(f"Ray cannot go on ({type(error).__name__}: {first}): see its logs.") from error


def _operators(stages: Sequence[Stage], *, with_gpus: bool) -> list[tuple[tuple[str, ...], bool]]:
    """Names of stages that go to one place together, with nothing sent between them; and whether that is a GPU."""
    places = groupby(stages, key=lambda stage: stage.is_network and with_gpus)
    return [(tuple(stage.name for stage in together), is_on_gpu) for is_on_gpu, together in places]


def _carry(batch: _Batch, job: _Job, *, way: Way | None = None, times: StageTimes | None = None) -> _Batch:
    """Bring the items of a batch through some stages, in a process of the cluster.

    Stages and times are those of the job, made anew, unless others are given.
    """
    # Where there is no such folder, paths had better be absolute.
    with suppress(OSError):
        os.chdir(job.folder)
    times = StageTimes() if times is None else times
    parcels = [_Parcel.unpacked(each) for each in batch[_COLUMN]]
    going = [each.item for each in parcels if not _is_over(each.item)]
    runner = LocalRunner(workers=1, fields_under_way=_FIELDS_UNDER_WAY if len(job.names) > 1 else None)
    outcomes = _until_fault(runner.run(going, job if way is None else way, times=times))
    carried = []
    with _heard() as warnings:
        for each in parcels:
            outcome = each.item if _is_over(each.item) else next(outcomes)
            carried.append(_Parcel(outcome, each.times, each.warnings))
            if isinstance(outcome, _Fault):
                break
    times.add(carried[0].times)
    carried[0] = _Parcel(carried[0].item, times.taken(), (*carried[0].warnings, *warnings))
    return {_COLUMN: np.array([each.packed for each in carried], dtype=object)}


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What is warned of in the block: the logs of a process stay on its machine."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("hpa_cells")
    logger.addHandler(handler)
    try:
        yield warnings
    finally:
        logger.removeHandler(handler)


def _is_over(item: Any) -> bool:
    """Whether the way of an item has come to its end before the last stage."""
    return isinstance(item, Failure | _Fault)


def _until_fault(outcomes: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from outcomes
    except Exception as error:
        # What cannot be sent as it is, is told.
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            yield _Fault(RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            yield _Fault(error)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Way:
    import ray

    way: Way = ray.get(reference)
    return way
