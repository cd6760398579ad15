"""One training in several processes of this machine: the first starts the others and has all to say.

The others (``python -m hpa_cells.commands.training_processes``) get the settings of that one training on standard
input and run nothing else, whatever started the first: the program, a sweep of it, or a Python session. They stop
when their standard input ends, so that none is left behind.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

from hpa_cells.shown import shown

__all__ = ["check_processes", "joined_by_others", "main"]

log = logging.getLogger(__name__)

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
_RANK = "LOCAL_RANK"
# Set for those that were started here.
_JOINS = "HPA_CELLS_JOINS"
# How long the first process may take to notice that another ended, and the others to end after it.
_PATIENCE_S = 30.0


def check_processes(cfg: DictConfig, trainer: Trainer) -> None:
    """Refuse ways of running in several processes that are not this one.

    Raises
    ------
    ValueError
        If the strategy is another, CPUs shall normalise together, or another program has started several processes.
    """
    if trainer.world_size > 1 and cfg.trainer.strategy not in _STRATEGIES:
        raise ValueError(
            f"trainer.strategy is {cfg.trainer.strategy!r}, for {trainer.world_size} processes: "
            f"use {' or '.join(_STRATEGIES)}."
        )
    if trainer.world_size > 1 and cfg.trainer.sync_batchnorm and trainer.strategy.root_device.type == "cpu":
        raise ValueError("trainer.sync_batchnorm is true, which torch has for GPUs only: set it to false.")
    if _RANK in os.environ and not _is_another():
        raise ValueError(
            f"The environment has {_RANK}={os.environ[_RANK]}, as torchrun sets it: start one hpa-cells, which "
            "starts the others itself (trainer.devices=2)."
        )


@contextmanager
def joined_by_others(cfg: DictConfig, count: int) -> Iterator[None]:
    """Have this process joined by further ones, `count` in all, for a training in the block.

    Parameters
    ----------
    cfg
        All settings of the training, resolved.
    count
        With 1 nothing is started; nor does a process that was started itself start any.

    Raises
    ------
    ChildProcessError
        If another process failed, which has told why.
    """
    if count == 1 or _is_another():
        yield
        return
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "NODE_RANK": "0"}
    with ExitStack() as stack:
        others = [
            stack.enter_context(_started(cfg, meeting | {_RANK: str(rank)})) for rank in range(1, count)
        ]
        stack.enter_context(_watched(others))
        with _environment(meeting | {_RANK: "0"}):
            try:
                yield
            except Exception as error:
                _blame(others, error)
                raise
            finally:
                _leave_group()


def main() -> None:
    """Join the training whose settings come on standard input."""
    from hpa_cells.commands.train import join

    cfg = OmegaConf.create(json.loads(sys.stdin.readline()))
    assert isinstance(cfg, DictConfig)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    # What there is to say, the first process says.
    logging.disable(logging.WARNING)
    try:
        join(cfg)
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(
            f"hpa-cells: process {os.environ[_RANK]} of the training failed: {shown(str(error))}\n"
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _is_another() -> bool:
    """Whether this process was started by `joined_by_others`."""
    return _JOINS in os.environ


def _end_with_the_first() -> None:
    # Nothing more comes: it is read until the other end is gone, also if by a kill.
    sys.stdin.read()
    os._exit(1)


@contextmanager
def _started(cfg: DictConfig, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A further process, which ends by itself when the training does, and otherwise is ended."""
    command = [sys.executable, "-m", __name__]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | environment | {_JOINS: "1"},
        # Ctrl-C is for the first alone, which tells the others.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(OmegaConf.to_container(cfg, resolve=True)) + "\n")
        process.stdin.flush()
        yield process
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


@contextmanager
def _watched(others: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """End this process if another fails and this one waits for it in vain."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if any(other.poll() not in (None, 0) for other in others) and not over.wait(_PATIENCE_S):
                # A GPU that waits for the others lets nothing through, no signal either.
                sys.stderr.write("hpa-cells: Another process of the training ended, so this one does too.\n")
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _blame(others: Sequence[subprocess.Popen[str]], error: Exception) -> None:
    """Raise in place of `error` what is at the bottom of it, if another process failed before."""
    for rank, other in enumerate(others, start=1):
        try:
            # It may be ending at this moment.
            status = other.wait(1.0)
        except subprocess.TimeoutExpired:
            continue
        if status != 0:
            raise ChildProcessError(
                f"Process {rank} of the training ended with status {status}; what it said is above. "
                "The same command goes on from the last state that was saved."
            ) from error


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _leave_group() -> None:
    """Be one process again: what follows is done by the first alone."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
