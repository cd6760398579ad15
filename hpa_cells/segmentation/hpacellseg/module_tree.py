"""The tensors of a network, by the names of a state dict, in what a pickle describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

from hpa_cells.segmentation.hpacellseg.pickled import Record, StoredValues

__all__ = ["StoredTensor", "stored_tensors"]

# A DPN-92 U-Net has 370 modules, five deep.
_MAX_MODULES = 100_000
_MAX_DEPTH = 50

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
        if not isinstance(name, str):
            raise ValueError(f"its state dict has the key {str(name)[:40]!r}, which is no name")
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
    if not isinstance(members, dict) or not all(isinstance(name, str) for name in members):
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
            and len(shape) == len(strides)
        ):
            return StoredTensor(values, offset, shape, strides)
    raise ValueError(f"{name} in it is {_kind(value)}, not a tensor")


def _are_counts(numbers: Any) -> TypeGuard[tuple[int, ...]]:
    """Whether these are sizes that an index of 64 bits can reach; a bool is none."""
    return isinstance(numbers, tuple | list) and all(
        type(each) is int and 0 <= each < 2**48 for each in numbers
    )


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Record) else type(value).__name__
