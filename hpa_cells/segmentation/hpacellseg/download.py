"""One file from the web, whole or not at all."""

from __future__ import annotations

import logging
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from hpa_cells.atomic import replaced_on_success

__all__ = ["download"]

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20


def download(
    address: str, path: Path, *, max_bytes: int, stall_s: float = 30.0, max_s: float = 7200.0
) -> None:
    """Bring the file at `address` to `path`, which appears when all of it is there.

    Parameters
    ----------
    address
        Of http or https.
    path
        Where it goes; its folder is made when it is missing.
    max_bytes
        A longer file is refused.
    stall_s
        The longest time without a single byte.
    max_s
        The longest time in all.

    Raises
    ------
    OSError
        If there is no connection, the server has no such file, or the file is too long, too slow or cut off.
    """
    start_s = time.monotonic()
    try:
        with urlopen(address, timeout=stall_s) as response, replaced_on_success(path) as temporary:
            stated = response.headers.get("Content-Length")
            num_bytes = int(stated) if stated else None
            if num_bytes is not None and num_bytes > max_bytes:
                raise OSError(f"it has {num_bytes:,} bytes, more than the {max_bytes:,} that are expected")
            log.info("Downloading %s%s", address, f" ({num_bytes / 1e6:,.0f} MB)" if num_bytes else "")
            received = 0
            with temporary.open("wb") as file:
                while chunk := response.read(_CHUNK_BYTES):
                    received += file.write(chunk)
                    if received > max_bytes:
                        raise OSError(f"it has more than the {max_bytes:,} bytes that are expected")
                    if time.monotonic() - start_s > max_s:
                        raise TimeoutError(f"only {received:,} bytes came in {max_s:,.0f} s")
            if num_bytes is not None and received != num_bytes:
                raise OSError(f"only {received:,} of {num_bytes:,} bytes came")
    except HTTPException as error:
        raise OSError(f"the server broke off ({type(error).__name__})") from error
