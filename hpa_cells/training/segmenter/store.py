"""Training fields on disk, so that simulated ones are made once."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from hpa_cells.atomic import replaced_on_success
from hpa_cells.training.segmenter.training_field import TrainingField

__all__ = ["read_training_field", "write_training_field"]

# What NumPy raises on damaged files.
_DAMAGE = (
    *(
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        EOFError,
        MemoryError,
        RuntimeError,
        SystemError,
    ),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def write_training_field(field: TrainingField, path: Path) -> None:
    """Write one field as an npz file, whole or not at all."""
    with replaced_on_success(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            name=np.array(field.name),
            source=np.array(field.source),
            planes=field.planes,
            ends=field.ends,
            cells=field.cells,
            in_nucleus=np.packbits(field.in_nucleus),
        )


def read_training_field(path: Path) -> TrainingField:
    """Read what `write_training_field` wrote.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            cells = arrays["cells"]
            return TrainingField(
                name=str(arrays["name"]),
                source=str(arrays["source"]),
                planes=arrays["planes"],
                ends=arrays["ends"],
                cells=cells,
                in_nucleus=np.unpackbits(arrays["in_nucleus"], count=cells.size)
                .reshape(cells.shape)
                .astype(np.bool_),
            )
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, it is made again.") from error
