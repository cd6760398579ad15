"""Pictures of a report as files that it knows again, so that those of an earlier report can go."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.atomic import replaced_on_success

__all__ = ["remove_earlier", "write_picture"]

log = logging.getLogger(__name__)

_MARK: Final = b"tEXtSoftware\x00hpa_cells report"
_CHUNK: Final = struct.pack(">I", len(_MARK) - 4) + _MARK + struct.pack(">I", zlib.crc32(_MARK))
# Signature, and the header chunk, which comes first.
_END_OF_HEADER: Final = 33


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) uint8 picture as a PNG that says where it is from."""
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    data = encoded.tobytes()
    with replaced_on_success(path) as temporary:
        temporary.write_bytes(data[:_END_OF_HEADER] + _CHUNK + data[_END_OF_HEADER:])


def remove_earlier(folder: Path, keep: Collection[Path]) -> None:
    """Remove the pictures in `folder` that `write_picture` wrote, but for those to keep; other files stay."""
    earlier = [path for path in sorted(folder.glob("*.png")) if path not in keep and _is_marked(path)]
    for path in earlier:
        path.unlink()
    if earlier:
        log.info("%s: removed %d pictures of an earlier report", folder, len(earlier))
        with suppress(OSError):  # It holds something else.
            folder.rmdir()


def _is_marked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_END_OF_HEADER + len(_CHUNK)).endswith(_CHUNK)
    except OSError:
        return False
