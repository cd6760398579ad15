"""The tensors of a ``.pth`` file, in both formats that torch has written, without running its pickle.

Since torch 1.6 such a file is a zip archive with the numbers of each tensor in a member of its own. Before, it
was a row of pickles with the numbers after them. The published networks of 2021 may be either.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import torch
from torch import Tensor

from hpa_cells.segmentation.hpacellseg.module_tree import StoredTensor, stored_tensors
from hpa_cells.segmentation.hpacellseg.pickled import StoredValues, load_records, split_pickle

__all__ = ["read_pth"]

_DTYPES: Final = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}
_ZIP_START: Final = b"PK\x03\x04"
# The older format begins with this number, pickled.
_OLD_START: Final = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_OLD_VERSION: Final = 1001
_MAX_PICKLE_BYTES: Final = 64 << 20

# The numbers of a tensor, in one dimension.
ReadValues = Callable[[StoredValues], Tensor]


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a whole module, or of a state dict, that ``torch.save`` wrote.

    Whatever the file claims, no more memory is taken than the file is long, and as much again for its largest
    tensor. Nothing that its pickle names is imported or called.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    On the CPU, by the names of a state dict.

    Raises
    ------
    ValueError
        If it is cut off, damaged, hostile or something else. The text is what was found, without the path.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError("it is empty")
    with path.open("rb") as file:
        start = file.read(len(_OLD_START))
        if start.startswith(_ZIP_START):
            return _read_zip(file, size)
        if start == _OLD_START:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _read_old(content)
    raise ValueError("it is in neither format of torch.save")


def _read_zip(file: IO[bytes], size: int) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, size)
    # The last three are what a damaged directory of the archive can lead to.
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, struct.error) as error:
        raise ValueError(f"it is cut off or damaged ({error})") from error


def _read_archive(archive: zipfile.ZipFile, size: int) -> dict[str, Tensor]:
    pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it is a zip archive, but not one of torch.save")
    members = {
        info.filename.removeprefix(pickles[0][: -len("data.pkl")]): info for info in archive.infolist()
    }
    # Then no member is longer than the file, and none unpacks to more than is there.
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("it is a zip archive with packed members, which torch.save never writes")
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise ValueError("its numbers are big-endian")
    if members["data.pkl"].file_size > _MAX_PICKLE_BYTES:
        raise ValueError(f"its pickle has {members['data.pkl'].file_size:,} bytes, far more than a network's")

    def read_values(values: StoredValues) -> Tensor:
        info = members.get(f"data/{values.key}")
        found = 0 if info is None else info.file_size
        if info is None or found != _num_bytes(values):
            raise ValueError(
                f"it has {found:,} bytes of numbers where its pickle claims {_num_bytes(values):,}"
            )
        return _values(archive.read(info), values)

    root = load_records(split_pickle(io.BytesIO(archive.read(members["data.pkl"]))))
    return _tensors(stored_tensors(root), read_values, size)


def _read_old(content: mmap.mmap) -> dict[str, Tensor]:
    content.seek(len(_OLD_START))
    version, machine, root, keys = (load_records(split_pickle(content)) for _ in range(4))
    if version != _OLD_VERSION or not isinstance(machine, dict) or not isinstance(keys, list):
        raise ValueError(f"it is not of version {_OLD_VERSION} of the older format of torch.save")
    if machine.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian")
    tensors = stored_tensors(root)
    by_key = {tensor.values.key: tensor.values for tensor in tensors.values()}
    starts: dict[StoredValues, int] = {}
    at = content.tell()
    for key in keys:
        if not isinstance(key, str) or key not in by_key:
            raise ValueError("it has numbers that belong to no tensor")
        count = content[at : at + 8]
        starts[by_key[key]] = at + 8
        at += 8 + _num_bytes(by_key[key])
        if at > len(content):
            raise ValueError(f"it is cut off after {len(content):,} bytes")
        if int.from_bytes(count, "little") != by_key[key].num_values:
            raise ValueError(f"its counts of the numbers {key!r} differ")

    def read_values(values: StoredValues) -> Tensor:
        if values not in starts:
            raise ValueError(f"it lacks the numbers {values.key!r}")
        start = starts[values]
        return _values(content[start : start + _num_bytes(values)], values)

    return _tensors(tensors, read_values, len(content))


def _tensors(tensors: dict[str, StoredTensor], read_values: ReadValues, size: int) -> dict[str, Tensor]:
    """The tensors, each run of numbers read once."""
    read: dict[StoredValues, Tensor] = {}
    left = size
    for name, (values, offset, shape, strides) in tensors.items():
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= values.num_values:
            raise ValueError(f"{name} in it reaches number {last:,} of {values.num_values:,}")
        if values not in read:
            left -= _num_bytes(values)
            if left < 0:
                raise ValueError(f"it claims more numbers than fit in its {size:,} bytes")
            read[values] = read_values(values)
    return {
        name: read[values].as_strided(shape, strides, offset)
        for name, (values, offset, shape, strides) in tensors.items()
    }


def _num_bytes(values: StoredValues) -> int:
    if values.storage_type not in _DTYPES:
        raise ValueError(f"it has numbers of the type {values.storage_type}; known are {', '.join(_DTYPES)}")
    return values.num_values * _DTYPES[values.storage_type].itemsize


def _values(data: bytes, values: StoredValues) -> Tensor:
    if not data:
        return torch.empty(0, dtype=_DTYPES[values.storage_type])
    return torch.frombuffer(bytearray(data), dtype=_DTYPES[values.storage_type])
