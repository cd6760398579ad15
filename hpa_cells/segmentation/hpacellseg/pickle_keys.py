"""The kinds of things on the stack of a pickle, step by step and before anything is built: what becomes a key.

A mapping takes the hash of each key. Of a tuple that has a tuple twice, and so on, that takes forever; of a very
deep one it ends the process; and of numbers, hashes can be made alike. Texts have none of this, and the files of
networks have no other keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pickletools import (
    OpcodeInfo,
    StackObject,
    markobject,
    pybytes_or_str,
    pyunicode,
    stackslice,
)
from typing import Any

__all__ = ["KeyCheck"]

_TEXTS = (pyunicode, pybytes_or_str)
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


class KeyCheck:
    """Follows the steps of a pickle, one after the other."""

    def __init__(self) -> None:
        self._stack: list[StackObject] = []
        self._memo: dict[int, StackObject] = {}

    def follow(self, step: OpcodeInfo, argument: Any) -> None:
        """Take what the step takes from the stack, and put what it puts there.

        Raises
        ------
        ValueError
            If the step makes a key of anything but a text, or finds nothing on the stack.
        """
        try:
            if step.name in _PUTS:
                self._memo[argument] = self._stack[-1]
            elif step.name == "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            elif step.name in _GETS:
                self._stack.append(self._memo[argument])
            else:
                taken = self._take(step.stack_before)
                if any(key not in _TEXTS for key in _keys(step.name, taken)):
                    raise ValueError("its pickle is hostile: it has a key that is no text")
                self._stack += step.stack_after
        except LookupError as error:
            raise ValueError(
                f"its pickle is damaged: {step.name} finds nothing on the stack or in the memo"
            ) from error

    def _take(self, kinds: Sequence[StackObject]) -> list[StackObject]:
        """What lies above the last mark, if the step takes all of that; else as many as the step takes."""
        if stackslice not in kinds:
            return [self._stack.pop() for _ in kinds][::-1]
        above: list[StackObject] = []
        while (kind := self._stack.pop()) is not markobject:
            above.append(kind)
        for _ in range(kinds.index(markobject)):
            self._stack.pop()
        return above[::-1]


def _keys(step_name: str, taken: Sequence[StackObject]) -> Sequence[StackObject]:
    if step_name in ("SETITEMS", "DICT"):
        return taken[::2]
    return taken[1:2] if step_name == "SETITEM" else ()
