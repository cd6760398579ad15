"""Reading one label image from a file."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LABEL_SUFFIXES", "read_labels"]

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npz")

# What Pillow and NumPy raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    UserWarning,
    ValueError,
    EOFError,
    KeyError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


def read_labels(path: Path, *, array: str = "cells") -> NDArray[np.int32]:
    """Ids in a PNG, a TIFF or an npz file.

    Parameters
    ----------
    path
        The file. A palette PNG is read by its indices, not its colours.
    array
        The array to take from an npz that holds several.

    Returns
    -------
    (H, W) int32.

    Raises
    ------
    ValueError
        If the file is damaged, in colour, or its values are no ids (negative, fractions, beyond 2**31 - 1).
    """
    try:
        pixels = _read_npz(path, array) if path.suffix == ".npz" else _read_image(path)
    except _DAMAGE as error:
        raise ValueError(f"Mask {path} cannot be read ({error}): make it again.") from error
    if pixels.ndim != 2:
        raise ValueError(
            f"Mask {path} has shape {pixels.shape}, expected one plane of ids (H, W), no colours."
        )
    if pixels.dtype.kind not in "biu":
        raise ValueError(f"Mask {path} holds {pixels.dtype} values, expected whole numbers: store ids.")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= np.iinfo(np.int32).max):
        raise ValueError(
            f"Mask {path} has ids from {pixels.min()} to {pixels.max()}, expected 0 (background) to "
            f"{np.iinfo(np.int32).max}: renumber them."
        )
    return pixels.astype(np.int32)


def _read_image(path: Path) -> NDArray[Any]:
    with warnings.catch_warnings():
        # Pillow only warns of a TIFF that is cut off in its header.
        warnings.simplefilter("error", UserWarning)
        with Image.open(path) as image:
            return np.asarray(image)


def _read_npz(path: Path, array: str) -> NDArray[Any]:
    # Without pickle: a mask from elsewhere must not be able to run code.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        names = list(arrays)
        if array in names:
            return np.asarray(arrays[array])
        if len(names) != 1:
            raise ValueError(f"it holds the arrays {', '.join(names)}, expected `{array}` or a single one")
        return np.asarray(arrays[names[0]])
