"""Stages one after the other, each with threads of its own, and few items under way at any moment.

    items -> [stage: threads] -> queue -> [stage: threads] -> queue -> ... -> outcomes, in the order of the items

The stages run at once, each on another item. No more items are under way than asked for, from the moment one is taken
until its outcome is given: that bounds every queue, and the memory. A stage that takes several at a time takes what has
come until then and waits for no more, so that batches are full where they matter, before the slowest stage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from hpa_cells.prediction.stage_times import StageTime

__all__ = ["Ended", "Stage", "convey"]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a stage gives in place of a result where an item's way ends early.

    Attributes
    ----------
    outcome
        The outcome of the item; the stages after this one do not see it.
    """

    outcome: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of the way.

    Attributes
    ----------
    name
        A verb, such as ``read``.
    work
        Called with the items of a batch; gives as many results in their order. An `Ended` among them is an outcome.
    num_threads
        Number of batches worked on at once.
    batch_size
        A batch is full when the sizes of its items reach it.
    size_of
        Size of an item.
    time
        Counts while it works.
    prepare
        To be called once, before any work, by whoever runs the stage: loads what the work needs.
    is_network
        Whether it is the work of a network, at home on a GPU.
    """

    name: str
    work: Callable[[list[Any]], Sequence[Any]]
    num_threads: int = 1
    batch_size: int = 1
    size_of: Callable[[Any], int] = lambda _: 1
    time: StageTime = field(default_factory=StageTime)
    prepare: Callable[[], object] = lambda: None
    is_network: bool = False


@dataclass(frozen=True, slots=True)
class _Fault:
    """An error of a stage."""

    error: BaseException


# Tells a thread that nothing more will come.
_END = None
_Queue = SimpleQueue[tuple[int, Any] | None]


def convey(items: Iterable[Any], stages: Sequence[Stage], *, num_under_way: int) -> Iterator[Any]:
    """Bring every item through all stages.

    This is a generator: nothing is taken before an outcome is asked for. When it is closed, batches under way are
    finished and all else is dropped.

    Parameters
    ----------
    items
        Taken in the thread that asks for outcomes.
    stages
        At least one.
    num_under_way
        Number of items, at least 1, that are taken and whose outcomes are not yet given.

    Yields
    ------
    Any
        The outcome of each item, in the order of the items: what the last stage gave, or what an `Ended` held.

    Raises
    ------
    BaseException
        What a stage raised, after the outcomes of all items before its batch.
    """
    queues: list[_Queue] = [SimpleQueue() for _ in stages]
    done: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    stopped = threading.Event()
    threads = [
        threading.Thread(
            target=_work,
            args=(stage, own, following, done, stopped),
            name=f"hpa-cells {stage.name}",
            daemon=True,
        )
        for stage, own, following in zip(stages, queues, [*queues[1:], done], strict=True)
        for _ in range(stage.num_threads)
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _in_order(enumerate(items), queues[0], done, num_under_way)
    finally:
        stopped.set()
        for queue in queues:
            queue.put(_END)
        for thread in threads:
            thread.join()


def _in_order(
    numbered: Iterator[tuple[int, Any]], first: _Queue, done: SimpleQueue[tuple[int, Any]], num_under_way: int
) -> Iterator[Any]:
    outcomes: dict[int, Any] = {}
    num_taken = num_given = 0
    while True:
        for each in islice(numbered, num_under_way - (num_taken - num_given)):
            first.put(each)
            num_taken += 1
        if num_taken == num_given:
            return
        while num_given not in outcomes:
            number, outcome = done.get()
            outcomes[number] = outcome
        outcome = outcomes.pop(num_given)
        if isinstance(outcome, _Fault):
            raise outcome.error
        num_given += 1
        yield outcome


def _work(
    stage: Stage,
    own: _Queue,
    following: SimpleQueue[Any],
    done: SimpleQueue[tuple[int, Any]],
    stopped: threading.Event,
) -> None:
    """Work on batches until the end is told; results go to the queue `following`, outcomes to `done`."""
    while (batch := _take_batch(stage, own)) and not stopped.is_set():
        numbers, items = zip(*batch, strict=True)
        try:
            with stage.time.counting(len(items)):
                results = stage.work(list(items))
            numbered = [*zip(numbers, results, strict=True)]
        except BaseException as error:
            # Nothing comes after the first of them.
            done.put((min(numbers), _Fault(error)))
            continue
        for number, result in numbered:
            if isinstance(result, Ended):
                done.put((number, result.outcome))
            else:
                following.put((number, result))


def _take_batch(stage: Stage, queue: _Queue) -> list[tuple[int, Any]]:
    """Wait for an item, then take what else is there until the batch is full; empty at the end."""
    batch: list[tuple[int, Any]] = []
    size = 0
    while size < stage.batch_size:
        try:
            each = queue.get(block=not batch)
        except Empty:
            break
        if each is _END:
            # For the next thread.
            queue.put(_END)
            break
        batch.append(each)
        size += stage.size_of(each[1])
    return batch
