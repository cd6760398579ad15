"""The tensors of a network, by the names of a state dict, in what a pickle describes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

from hpa_cells.segmentation.hpacellseg.pickled import Record, StoredValues

__all__ = ["StoredTensor", "stored_tensors"]

# A DPN-92 U-Net has 370 modules, five deep, of at most 22 parts, and its tensors have 4 dimensions.
# One part may be in many modules: these bound the names that come of it.
_MAX_MODULES = 2_000
_MAX_DEPTH = 10
_MAX_PARTS = 100
_MAX_NAME = 100
_MAX_DIMENSIONS = 8
# Beyond it, sizes do not fit the integers of torch.
_MAX_SIZE = 2**48

_PARAMETER = "torch._utils._rebuild_parameter"
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
# What networks are saved in: by training on several GPUs, and as parts of a training's state.
_WRAPPER_KEYS = ("state_dict", "model", "net", "network")


class StoredTensor(NamedTuple):
    """A tensor as steps through numbers that lie elsewhere in the file."""

    values: StoredValues
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def stored_tensors(root: Any) -> dict[str, StoredTensor]:
    """The tensors of a whole module or of a state dict.

    Modules in DataParallel are taken out of it, and the prefix ``module.`` that it leaves in a state dict is
    taken off.

    Raises
    ------
    ValueError
        If `root` is neither, or its tensors are none.
    """
    read_off = _tensors_of_module if isinstance(root, Record) else _tensors_of_state_dict
    found = dict(read_off(root))
    if not found:
        raise ValueError("there are no tensors in it")
    while all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def _tensors_of_module(root: Record) -> Iterator[tuple[str, StoredTensor]]:
    for prefix, module in _modules(root):
        for group in ("_parameters", "_buffers"):
            for name, value in _members(module, group):
                if value is not None:  # a layer without its optional bias has None there
                    yield f"{prefix}{name}", _tensor(f"{prefix}{name}", value)


def _tensors_of_state_dict(root: Any) -> Iterator[tuple[str, StoredTensor]]:
    if not isinstance(root, dict):
        raise ValueError(f"it holds {_kind(root)}, neither a network nor a state dict")
    inner = [root[key] for key in _WRAPPER_KEYS if isinstance(root.get(key), dict)]
    for name, value in (inner[0] if inner else root).items():
        if not _is_name(name):
            raise ValueError(
                f"its state dict has a key that is no name but {_kind(name)}, or a very long one"
            )
        yield name, _tensor(name, value)


def _modules(root: Record) -> Iterator[tuple[str, Record]]:
    """Each module in `root`, with the start of its members' names, e.g. ``encoder_stages.1.``."""
    waiting = [("", root)]
    for _ in range(_MAX_MODULES):
        if not waiting:
            return
        prefix, module = waiting.pop()
        yield prefix, module
        for name, child in _members(module, "_modules"):
            if isinstance(child, Record):
                waiting.append((f"{prefix}{name}.", child))
            elif child is not None:
                raise ValueError(f"{prefix}{name} in it is {_kind(child)}, not a module")
        if prefix.count(".") > _MAX_DEPTH:
            break
    raise ValueError("its modules contain one another without end")


def _members(module: Record, group: str) -> Iterator[tuple[str, Any]]:
    members = module.state.get(group) if isinstance(module.state, dict) else None
    if not isinstance(members, dict) or len(members) > _MAX_PARTS or not all(map(_is_name, members)):
        raise ValueError(f"it holds {_kind(module)}, which is no module: it has no {group} by name")
    yield from members.items()


def _tensor(name: str, value: Any) -> StoredTensor:
    if isinstance(value, Record) and value.name == _PARAMETER and value.args:
        value = value.args[0]
    match value:
        case Record(name=kind, args=(StoredValues() as values, offset, shape, strides, *_)) if (
            kind in _TENSORS
            and _are_counts([offset])
            and _are_counts(shape)
            and _are_counts(strides)
            and len(shape) == len(strides) <= _MAX_DIMENSIONS
            and math.prod(shape) <= _MAX_SIZE
        ):
            return StoredTensor(values, offset, shape, strides)
    raise ValueError(f"{name} in it is {_kind(value)}, not a tensor")


def _are_counts(numbers: Any) -> TypeGuard[tuple[int, ...]]:
    """Whether these are sizes; a bool is none."""
    return isinstance(numbers, tuple | list) and all(
        type(each) is int and 0 <= each <= _MAX_SIZE for each in numbers
    )


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_NAME


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Record) else type(value).__name__
