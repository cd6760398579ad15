from __future__ import annotations

from typing import Any

import pytest

from hpa_cells.segmentation.hpacellseg.module_tree import stored_tensors
from hpa_cells.segmentation.hpacellseg.pickled import Record, StoredValues

VALUES = StoredValues("FloatStorage", "0", 6)


def record(full_name: str, *args: Any, state: Any = None) -> Record:
    made: Record = type("Made", (Record,), {"name": full_name, "__slots__": ()})(*args)
    made.state = state
    return made


def tensor(shape: Any = (2, 3), strides: Any = (3, 1), offset: Any = 0, values: Any = VALUES) -> Record:
    return record("torch._utils._rebuild_tensor_v2", values, offset, shape, strides, False, {})


def module(full_name: str = "torch.nn.Module", **members: dict[str, Any]) -> Record:
    return record(full_name, state={"_parameters": {}, "_buffers": {}, "_modules": {}, **members})


def test_parameters_and_buffers_have_the_names_of_a_state_dict() -> None:
    parameter = record("torch._utils._rebuild_parameter", tensor(), True, {})
    child = module(_parameters={"weight": parameter, "bias": None}, _buffers={"running_mean": tensor()})
    root = module(_modules={"layer": module(_modules={"0": child, "1": None})})
    found = stored_tensors(root)
    assert set(found) == {"layer.0.weight", "layer.0.running_mean"}
    assert found["layer.0.weight"] == (VALUES, 0, (2, 3), (3, 1))


def test_data_parallel_is_taken_off() -> None:
    inner = module(_parameters={"weight": tensor()})
    wrapped = module("torch.nn.parallel.data_parallel.DataParallel", _modules={"module": inner})
    assert set(stored_tensors(wrapped)) == {"weight"}
    assert set(stored_tensors(module(_modules={"module": wrapped}))) == {"weight"}


@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: {"epoch": 3, "state_dict": each}])
def test_a_state_dict(wrap: Any) -> None:
    assert set(stored_tensors(wrap({"module.a.weight": tensor(), "module.b": tensor()}))) == {"a.weight", "b"}


def test_a_module_in_itself_has_an_end() -> None:
    members: dict[str, Any] = {}
    root = module(_modules=members)
    members["again"] = root
    with pytest.raises(ValueError, match="without end"):
        stored_tensors(root)


def test_modules_that_double_have_an_end() -> None:
    root = module()
    for _ in range(45):
        root = module(_modules={"a": root, "b": root})
    with pytest.raises(ValueError, match="without end"):
        stored_tensors(root)


@pytest.mark.parametrize(
    ("root", "found"),
    [
        (3, "int, neither a network nor a state dict"),
        ([], "list, neither"),
        (module(), "no tensors"),
        ({}, "no tensors"),
        (record("torch.nn.Linear"), "torch.nn.Linear, which is no module"),
        (record("torch.nn.Linear", state=[1]), "no module"),
        (module(_parameters={"weight": 3}), "weight in it is int, not a tensor"),
        (module(_parameters={"weight": record("torch.device", "cpu")}), "torch.device, not a tensor"),
        (module(_parameters=[1]), "no module"),
        (module(_parameters={1: tensor()}), "no module"),
        (module(_modules={"a": 1.5}), "a in it is float, not a module"),
        ({1: tensor()}, "no name but int"),
        ({"a" * 999: tensor()}, "a very long one"),
        (module(_parameters={str(index): tensor() for index in range(101)}), "no module"),
        ({"a": tensor(shape=(0,) * 9, strides=(1,) * 9)}, "not a tensor"),
        ({"a": tensor(shape=(2**40, 2**40), strides=(0, 0))}, "not a tensor"),
        ({"a": tensor(shape=(2, -3))}, "not a tensor"),
        ({"a": tensor(shape=(2, True))}, "not a tensor"),
        ({"a": tensor(shape=(2, 2**60))}, "not a tensor"),
        ({"a": tensor(shape=(6,))}, "not a tensor"),
        ({"a": tensor(shape=6)}, "not a tensor"),
        ({"a": tensor(offset="0")}, "not a tensor"),
        ({"a": tensor(strides=(3.0, 1))}, "not a tensor"),
        ({"a": tensor(values=("FloatStorage", "0", 6))}, "not a tensor"),
        ({"a": record("torch._utils._rebuild_parameter")}, "not a tensor"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "root",
)
def test_anything_else_is_refused(root: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        stored_tensors(root)
