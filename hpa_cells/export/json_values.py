"""JSON as the exports write it, and values out of that of strangers, checked where they are taken."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpa_cells.limits import MAX_FILE_BYTES, unpacked_limit

__all__ = ["JsonObject", "compact_json", "read_json"]

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class JsonObject:
    """An object of JSON, and where it is in its file, e.g. ``a.json, images[3]``."""

    values: dict[str, Any]
    place: str

    def get(self, name: str) -> Any:
        """The value, whatever it is; None where there is none."""
        return self.values.get(name)

    def error(self, name: str, problem: str) -> ValueError:
        """What to raise: the value goes in front of the problem."""
        shown = repr(self.values.get(name))
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        return ValueError(f"{self.place}: its {name} ({shown}) {problem}.")

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        value: Any = self.get(name)
        is_whole = type(value) is int or (type(value) is float and value.is_integer())
        if not is_whole or not least <= value <= most:
            raise self.error(name, f"is no whole number from {least} to {most}")
        return int(value)

    def number(self, name: str, least: float, most: float) -> float:
        """A finite number from `least` to `most`."""
        value: Any = self.get(name)
        # NaN is in no range, and whole numbers of any length can be compared.
        if type(value) not in (int, float) or not least <= value <= most:
            raise self.error(name, f"is no number from {least:g} to {most:g}")
        return float(value)

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, "is no text")
        return value

    def optional(self, name: str) -> JsonObject | None:
        """The object, or None where there is none."""
        value = self.values.get(name)
        return JsonObject(value, f"{self.place}, {name}") if isinstance(value, dict) else None

    def objects(self, name: str) -> Iterator[JsonObject]:
        """The objects of a list."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self.error(name, "is no list")
        for number, each in enumerate(value):
            place = f"{self.place}, {name}[{number}]"
            if not isinstance(each, dict):
                raise ValueError(f"{place} is no object: leave it out.")
            yield JsonObject(each, place)


def compact_json(value: object) -> str:
    """JSON without spaces, in ASCII: QuPath reads a file in the encoding of its machine.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON does not know.
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def read_json(path: Path) -> JsonObject:
    """The object that a file of JSON holds, also one packed by gzip.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no JSON in UTF-8, no object, or absurdly large.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes: give fewer fields a file.")
    data = path.read_bytes()
    try:
        if data.startswith(b"\x1f\x8b"):
            data = _unpacked(data)
        whole = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): export it again.") from error
    if not isinstance(whole, dict):
        raise ValueError(
            f"{path} holds a {type(whole).__name__}, expected a JSON object: give the whole export."
        )
    return JsonObject(whole, str(path))


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    most = unpacked_limit(len(data))
    unpacked = unpacker.decompress(data, most + 1)
    if len(unpacked) > most or not unpacker.eof:
        raise ValueError("its gzip stream has no end, or unpacks to far too much")
    return unpacked
