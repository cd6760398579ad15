"""The connection to a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

__all__ = ["connected"]

log = logging.getLogger(__name__)

_HERE: Final = "local"
# Ray itself asks for a minute, and says nothing.
_PATIENCE_S: Final = 10.0


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster; one that is connected to already stays so.

    Raises
    ------
    ModuleNotFoundError
        If Ray is not installed.
    ConnectionError
        If there is no cluster at the address.
    """
    # Ray tells its makers of each cluster, if not told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.data import DataContext
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "runner=ray needs Ray, which is not installed: pip install 'hpa-cells[distributed]'."
        ) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        # Ray would join whatever cluster it finds here.
        _connect(address or os.environ.get("RAY_ADDRESS") or _HERE)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Warns that there is no bar.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    context = DataContext.get_current()
    before = context.enable_progress_bars, context.execution_options.preserve_order
    context.enable_progress_bars, context.execution_options.preserve_order = False, True
    try:
        yield
    finally:
        context.enable_progress_bars, context.execution_options.preserve_order = before
        if is_ours:
            ray.shutdown()


def _connect(address: str) -> None:
    import ray

    if address != _HERE:
        log.info("Connecting to the Ray cluster at %s ...", address)
        _check_that_one_answers(address)
    at_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # It takes SIGTERM for itself, and ends by it at once.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_sigterm)


def _check_that_one_answers(address: str) -> None:
    """Knock at an address with a port; ``auto`` and the like Ray looks up on this machine."""
    import ray.util

    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(
            f"runner.address is {address}: give auto, or host and port as in 10.0.0.1:6379."
        ) from error
    if host is None or port is None:
        return
    if host in ("localhost", "127.0.0.1") and "://" not in address:
        # As Ray does: its head listens there. A client may come by a tunnel.
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    try:
        socket.create_connection((host, port), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise ConnectionError(
            f"No Ray cluster answers at {address} ({error}): check runner.address, or RAY_ADDRESS, and that the head "
            "was started there and lets this machine in."
        ) from error
