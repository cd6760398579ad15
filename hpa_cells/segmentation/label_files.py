"""Reading one label image from a file."""

from __future__ import annotations

import io
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hpa_cells.limits import check_side
from hpa_cells.places import Place, local_or_bytes
from hpa_cells.types import Field

__all__ = ["LABEL_SUFFIXES", "read_labels"]

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npz")

# Largest that an array which is no image may be, to be named by its shape.
_MAX_OTHER_SIZE = 1 << 28
# Of a whole number, or of one that is named as what it is.
_MAX_ITEM_BYTES = 16

# What a fuzzer made Pillow and NumPy raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    UserWarning,
    ValueError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    tokenize.TokenError,
    Image.DecompressionBombError,
)


class _OtherShapeError(ValueError):
    """A file that promises an image of another height and width."""


def read_labels(path: Place, *, array: str = "cells", field: Field | None = None) -> NDArray[np.int32]:
    """Ids in a PNG, a TIFF or an npz file.

    Parameters
    ----------
    path
        The file. A palette PNG is read by its indices, not its colours.
    array
        The array to take from an npz that holds several.
    field
        Its field: a file that promises another height and width is not unpacked. None: any up to `MAX_SIDE_PX`.

    Returns
    -------
    (H, W) int32.

    Raises
    ------
    ValueError
        If the file is damaged, in colour, of another shape than its field, or its values are no ids (negative,
        fractions, beyond 2**31 - 1).
    """
    file = local_or_bytes(path)
    try:
        pixels = _read_npz(file, array, field) if path.suffix == ".npz" else _read_image(file, field)
    except _OtherShapeError as error:
        raise ValueError(f"Mask {path} {error}") from error
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


def _read_image(file: Path | io.BytesIO, field: Field | None) -> NDArray[Any]:
    with warnings.catch_warnings():
        # Pillow only warns of a TIFF that is cut off in its header.
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Of the many formats that Pillow knows, some run other programs on the file, whatever its name is.
        with Image.open(file, formats=("PNG", "TIFF")) as image:
            _check_shape((image.height, image.width), field)
            return np.asarray(image)


def _read_npz(file: Path | io.BytesIO, array: str, field: Field | None) -> NDArray[Any]:
    # Without pickle: a mask from elsewhere must not be able to run code.
    stream = file if isinstance(file, io.BytesIO) else file.open("rb")
    with stream, np.load(stream, allow_pickle=False) as arrays:
        names = list(arrays)
        if array not in names:
            if len(names) != 1:
                raise ValueError(
                    f"it holds the arrays {', '.join(names)}, expected `{array}` or a single one"
                )
            array = names[0]
        shape = _promised_shape(stream, array)
        if len(shape) == 2:
            _check_shape(shape, field)
        elif np.prod(shape, dtype=np.float64) > _MAX_OTHER_SIZE:
            raise ValueError(f"it holds an array of shape {shape}")
        return np.asarray(arrays[array])


def _promised_shape(npz: IO[bytes], array: str) -> tuple[int, ...]:
    """The shape in the header of an array: none of its values are unpacked."""
    with zipfile.ZipFile(npz) as archive:
        members = archive.namelist()
        with archive.open(f"{array}.npy" if f"{array}.npy" in members else array) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
    if dtype.itemsize > _MAX_ITEM_BYTES:
        raise ValueError(f"it holds values of {dtype.itemsize} bytes each")
    return tuple(shape)


def _check_shape(shape: tuple[int, ...], field: Field | None) -> None:
    """Refuse an image of another size than its field's, or an absurd one, before memory is taken for it."""
    if field is None:
        check_side(*shape)
        return
    expected = (field.height_px, field.width_px)
    if shape != expected:
        cure = (
            "its axes are swapped, turn it over."
            if shape == expected[::-1]
            else "segment the field at its own size."
        )
        raise _OtherShapeError(f"has height x width {shape}, field {field.field_id} has {expected}: {cure}")
