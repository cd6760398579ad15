"""Work on fields in several processes at once."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any, Protocol, TypeVar

import cv2

__all__ = ["OrderedMap", "worker_processes"]

T = TypeVar("T")
R = TypeVar("R")


class OrderedMap(Protocol):
    """Calls a function with each item and gives the results in the order of the items."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Results of the calls, in the order of `items`."""
        ...


@contextmanager
def worker_processes(num_workers: int) -> Iterator[OrderedMap]:
    """Give a `map` that spreads its calls over processes; with one worker it is the plain one.

    When the block is left by an error or by Ctrl-C, the calls under way are finished and the others dropped.
    """
    if num_workers < 1:
        raise ValueError(f"`workers` is {num_workers}: give at least 1.")
    if num_workers == 1:
        yield map
        return
    # A forked copy of a process that has run threads can hang: start afresh.
    context = get_context("spawn")
    records: Queue[Any] = context.Queue()
    listener = QueueListener(records, *logging.getLogger().handlers, respect_handler_level=True)
    listener.start()
    arguments = (records, logging.getLogger().level)
    try:
        with ProcessPoolExecutor(
            num_workers, mp_context=context, initializer=_prepare_worker, initargs=arguments
        ) as pool:
            try:
                yield pool.map
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        listener.stop()
        records.close()


def _prepare_worker(records: Queue[Any], level: int) -> None:
    """One thread a process, since they share the cores; Ctrl-C is for the parent to answer, and to log."""
    cv2.setNumThreads(1)
    # Read by torch when it is imported, which a worker does later or never.
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().setLevel(level)
    logging.getLogger().handlers = [QueueHandler(records)]
