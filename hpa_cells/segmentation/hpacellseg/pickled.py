"""What a pickle says, without doing what it says.

A file that torch saved with a whole module in it is a program: reading it the ordinary way imports and calls
whatever it names. Here only plain containers are built; each class or function that a network's file may name
becomes an inert record of its name, its arguments and its state, and any other name ends the reading.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
import re
from collections.abc import Iterator
from typing import IO, Any, ClassVar, Final, NamedTuple, cast

from hpa_cells.segmentation.hpacellseg.pickle_keys import KeyCheck

__all__ = ["Record", "StoredValues", "load_records", "split_pickle"]

# A DPN-92 U-Net takes 60,000 steps; a plain state dict 15,000.
_MAX_STEPS = 1_000_000
# It names 20.
_MAX_NAMES = 1_000

_REFUSED_STEPS = frozenset(
    {
        # They reach into Python's registry of extensions, past the check of names.
        "EXT1", "EXT2", "EXT4",
        # They take hashes, of which a pickle can make ones without end.
        "ADDITEMS", "FROZENSET",
    }
)  # fmt: skip
_MEMO_STEPS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})

_RECORDED: Final = re.compile(
    r"""(torch\.nn|pytorch_zoo)(\.\w+)+                    # modules, and the classes of the published networks
    | torch\._utils\._rebuild_(tensor|tensor_v2|parameter)
    | torch\.\w+Storage | torch\.storage\.UntypedStorage
    | torch\.(device|Size)
    | (builtins|__builtin__)\.set                          # as the second protocol spells it, or not""",
    re.VERBOSE,
)


class Record:
    """Something that a pickle names, never looked up: what it would be called with, and the state it would get.

    Attributes
    ----------
    name
        Full name, e.g. ``torch.nn.modules.conv.Conv2d``.
    args
        Arguments of the call.
    state
        What the pickle would have given to ``__setstate__``; None if nothing.
    """

    __slots__ = ("args", "state")
    name: ClassVar[str]
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> Record:
        """Record the arguments."""
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class StoredValues(NamedTuple):
    """A run of numbers that lies elsewhere in the file."""

    storage_type: str
    key: str
    num_values: int


class _Mapping(dict[str, Any]):
    """An ordered dictionary without the attributes that a state dict hangs on it.

    It begins empty: its keys come by steps of the pickle, which are checked.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


def split_pickle(stream: io.BytesIO | mmap.mmap) -> bytes:
    """The bytes of the pickle that starts where `stream` stands; `stream` is left behind its end.

    `stream` is in memory, since a file on disk makes room for as many bytes as it is asked for.

    Raises
    ------
    ValueError
        If it is cut off, is no pickle, or has steps or keys that a network's file never has.
    """
    start = stream.tell()
    keys = KeyCheck()
    for index, (step, argument) in enumerate(_steps(stream)):
        if step.name in _REFUSED_STEPS:
            raise ValueError(f"its pickle has the step {step.name}, which no network needs")
        if index >= _MAX_STEPS:
            raise ValueError(f"its pickle has more than {_MAX_STEPS:,} steps")
        # The memo is a list as long as its largest index: a single step could claim all memory.
        if step.name in _MEMO_STEPS and argument > _MAX_STEPS:
            raise ValueError(f"its pickle counts to {argument:,} in {index:,} steps")
        keys.follow(step, argument)
    end = stream.tell()
    stream.seek(start)
    return stream.read(end - start)


def _steps(stream: io.BytesIO | mmap.mmap) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Each step of a pickle and its argument."""
    try:
        # It reads, and asks for no more than both kinds of stream have.
        for step, argument, _ in pickletools.genops(cast(IO[bytes], stream)):
            yield step, argument
    except ValueError as error:
        raise ValueError(f"its pickle is cut off or damaged ({error})") from error


def load_records(data: bytes) -> Any:
    """What the pickle `data` describes: containers, numbers, texts, `Record` and `StoredValues`.

    Raises
    ------
    ValueError
        If it names anything beside modules of torch and of the published networks, or is damaged.
    """
    try:
        return _Recorder(io.BytesIO(data)).load()
    except _FAULTS as error:
        raise ValueError(f"its pickle is damaged or hostile ({error})") from error


class _Recorder(pickle.Unpickler):
    """Records in place of all that a pickle names.

    No step of the pickle can change what is given out here: the classes send a state to their own
    ``__setstate__``, which wants an instance.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self._classes: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> type:
        full_name = f"{module}.{name}"
        if full_name == "collections.OrderedDict":
            return _Mapping
        if not _RECORDED.fullmatch(full_name):
            raise pickle.UnpicklingError(f"it names {full_name[:80]!r}, which is no part of a network")
        if full_name not in self._classes:
            if len(self._classes) == _MAX_NAMES:
                raise pickle.UnpicklingError(f"it names more than {_MAX_NAMES} things")
            self._classes[full_name] = type(name, (Record,), {"name": full_name, "__slots__": ()})
        return self._classes[full_name]

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            # The older format tells a view last; torch has not written one for years.
            case ("storage", type() as kind, str() as key, str(), int() as num_values, *view) if (
                issubclass(kind, Record) and num_values >= 0 and view in ([], [None])
            ):
                return StoredValues(kind.name.rpartition(".")[2], key, num_values)
            # The older format sends each class of module with its source code.
            case ("module", type() as kind, _, _) if issubclass(kind, Record):
                return kind
        # Not what it is: printing lists of lists of lists can take forever.
        raise pickle.UnpicklingError(
            f"it refers to a {type(pid).__name__} that is neither numbers nor a module"
        )


# What the steps of a damaged or hostile pickle run into.
_FAULTS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
