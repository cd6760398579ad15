from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.segmentation.hpacellseg.pickled import Record, StoredValues, load_records, split_pickle


def text(value: str) -> bytes:
    """A step that pushes a text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(full_name: str) -> bytes:
    """A step that pushes what a full name stands for."""
    module, _, last = full_name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def read(data: bytes) -> Any:
    return load_records(split_pickle(io.BytesIO(data)))


class Calls:
    """Pickled, it calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


class Extended:
    pass


def test_plain_values_come_back() -> None:
    values = {"a": [1, 2.5, None, True, (3, "x")], "b": OrderedDict(c="d")}
    assert read(pickle.dumps(values, protocol=2)) == values


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each) | st.tuples(each, each) | st.tuples() | st.dictionaries(st.text(), each),
)


@given(PLAIN, st.integers(0, 5))
def test_whatever_is_plain_comes_back(value: Any, protocol: int) -> None:
    assert read(pickle.dumps([value, value], protocol=protocol)) == [value, value]


def test_a_set_becomes_a_record() -> None:
    found = read(pickle.dumps({"a", "b"}, protocol=2))
    assert isinstance(found, Record)
    assert found.name.endswith(".set")
    assert set(found.args[0]) == {"a", "b"}


def test_a_module_becomes_a_record_of_what_is_said_of_it() -> None:
    conv = read(b"\x80\x02" + name("torch.nn.modules.conv.Conv2d") + b")\x81}" + text("stride") + b"K\x02sb.")
    assert isinstance(conv, Record)
    assert (conv.name, conv.args, conv.state) == ("torch.nn.modules.conv.Conv2d", (), {"stride": 2})


def test_names_are_never_looked_up() -> None:
    record = read(b"\x80\x02" + name("torch.nn.Module.__init__.__globals__") + b".")
    assert issubclass(record, Record)
    assert record.name == "torch.nn.Module.__init__.__globals__"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "wrap", [lambda each: each, lambda each: {"state_dict": [(each,)]}, lambda each: Calls(set, [each])]
)
def test_a_command_is_not_run(tmp_path: Path, protocol: int, wrap: Callable[[Any], Any]) -> None:
    command = Calls(os.system, f"touch {tmp_path / 'run'}")
    with pytest.raises(ValueError, match=r"(posix|nt)\.system"):
        read(pickle.dumps(wrap(command), protocol=protocol))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "function",
    [eval, exec, getattr, __import__, open, print, pickle.loads, os.popen, copyreg._reconstructor],
    ids=lambda function: function.__name__,
)
def test_functions_are_refused_by_name(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=function.__name__):
        read(pickle.dumps(Calls(function, "1"), protocol=2))


@pytest.mark.parametrize(
    "refused",
    [
        "torch.load",
        "torch.hub.load",
        "torch.nnx.Module",
        "pytorch_zoo_.A",
        "torch._utils.exec",
        "torch.nn.a-b",
    ],
)
def test_close_names_are_refused(refused: str) -> None:
    with pytest.raises(ValueError, match="no part of a network"):
        read(b"\x80\x02" + name(refused) + b".")


@pytest.mark.parametrize(
    "target",
    ["torch.nn.Module", "collections.OrderedDict", "__builtin__.set", "torch._utils._rebuild_tensor_v2"],
)
@pytest.mark.parametrize("as_slots", [False, True])
def test_a_state_cannot_change_a_class(target: str, as_slots: bool) -> None:
    state = b"}" + text("__new__") + b"K\x01s"
    build = b"N" + state + b"\x86b." if as_slots else state + b"b."
    with pytest.raises(ValueError, match="damaged or hostile"):
        read(b"\x80\x02" + name(target) + build)


def test_attributes_of_a_dictionary_are_left_out() -> None:
    found = read(b"\x80\x02" + name("collections.OrderedDict") + b")R}" + text("items") + b"K\x01sb.")
    assert dict(found.items()) == {}


def test_extension_codes_are_refused() -> None:
    copyreg.add_extension(__name__, "Extended", 240)
    try:
        data = pickle.dumps(Extended, protocol=2)
        with pytest.raises(ValueError, match="EXT1"):
            read(data)
    finally:
        copyreg.remove_extension(__name__, "Extended", 240)


def test_a_large_index_makes_no_large_memo() -> None:
    with pytest.raises(ValueError, match="counts to"):
        read(b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b".")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02h\x05.",  # something that was never remembered
        b"\x80\x02.",  # nothing
        b"\x80\x02" + name("torch.nn.Module") + b"K\x01a.",  # appends to a class
        b"\x80\x02K\x01)R.",  # calls a number
        b"\x80\x02K\x01}b.",  # gives a state to a number
    ],
)
def test_nonsense_is_a_plain_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read(data)


@pytest.mark.parametrize(
    "steps",
    [
        text("abc"),
        b"K\x07",
        b")",
        text("storage") + b"\x85",
        b"(" + text("storage") + text("FloatStorage") + text("0") + text("cpu") + b"K\x01t",
        b"(" + text("storage") + name("torch.FloatStorage") + text("0") + text("cpu") + b"J\xff\xff\xff\xfft",
        b"(" + text("storage") + name("collections.OrderedDict") + text("0") + text("cpu") + b"K\x01t",
        b"(" + text("module") + text("torch.nn.Module") + b"NNt",
    ],
)
def test_odd_references_are_refused(steps: bytes) -> None:
    with pytest.raises(ValueError, match="refers to"):
        read(b"\x80\x02" + steps + b"Q.")


def test_a_reference_that_is_endless_to_print_is_refused_at_once() -> None:
    doubled = b"".join(
        b"]q" + bytes([index]) + b"h" + bytes([index - 1]) + b"ah" + bytes([index - 1]) + b"a"
        for index in range(1, 60)
    )
    with pytest.raises(ValueError, match="refers to a list"):
        read(b"\x80\x02]q\x00" + doubled + b"Q.")


# A tuple that has twice a tuple that has twice a tuple ...: its hash takes 2**59 steps.
DOUBLED = b"K\x01" + b"2\x86" * 59
DEEP = b")" + b"\x85" * 500_000


@pytest.mark.parametrize(
    "steps",
    [
        b"}" + DOUBLED + b"Ns",
        b"}(" + text("a") + b"N" + DOUBLED + b"Nu",
        b"(" + DOUBLED + b"Nd",
        b"}" + DOUBLED + b"q\x00h\x00Ns",
        b"}" + DOUBLED + b"\x94j\x00\x00\x00\x00Ns",
        name("collections.OrderedDict") + b")R" + DOUBLED + b"Ns",
        b"}" + DEEP + b"Ns",
        b"}]K\x01s",
        b"}K\x01Ns",
        b"}\x8a\x08" + (2**61 - 1).to_bytes(8, "little") + b"Ns",
    ],
)
def test_keys_are_texts(steps: bytes) -> None:
    with pytest.raises(ValueError, match="a key that is no text"):
        read(b"\x80\x02" + steps + b".")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (b"\x8f(" + DOUBLED + b"\x90", "ADDITEMS"),
        (b"(" + DOUBLED + b"\x91", "FROZENSET"),
        (name("collections.OrderedDict") + b"]]" + DOUBLED + b"aNaa\x85R", "damaged or hostile"),
        (name("collections.OrderedDict") + b"]" + DOUBLED + b"a\x85R", "damaged or hostile"),
    ],
)
def test_nothing_else_takes_a_hash(steps: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        read(b"\x80\x04" + steps + b".")


@pytest.mark.parametrize("kind", ["builtins.set", "torch.Size", "torch.nn.Module"])
def test_a_record_of_endless_things_is_made_at_once(kind: str) -> None:
    found = read(b"\x80\x02" + name(kind) + b"]" + DOUBLED + b"a\x85R.")
    assert isinstance(found, Record)


def test_very_many_names_are_refused() -> None:
    names = b"".join(name(f"torch.nn.Made{index}") for index in range(1001))
    with pytest.raises(ValueError, match="more than 1000"):
        read(b"\x80\x02" + names + b".")


def test_a_reference_to_numbers() -> None:
    steps = b"(" + text("storage") + name("torch.FloatStorage") + text("7") + text("cuda:0") + b"K\x05t"
    assert read(b"\x80\x02" + steps + b"Q.") == StoredValues("FloatStorage", "7", 5)


def test_pickles_in_a_row_are_split() -> None:
    stream = io.BytesIO(pickle.dumps([1], protocol=2) + pickle.dumps("b", protocol=2))
    assert [load_records(split_pickle(stream)) for _ in range(2)] == [[1], "b"]


@given(st.data())
def test_a_cut_is_noticed(data: st.DataObject) -> None:
    whole = pickle.dumps({"a": [1, "b", (2.0,)], "c": OrderedDict(d="e")}, protocol=2)
    with pytest.raises(ValueError, match=r"."):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        read(b"\x80\x02" + data)
