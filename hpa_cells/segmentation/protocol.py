"""What the rest of the house asks of anything that finds cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["NetworkSegmenter", "Segmenter"]


class Segmenter(Protocol):
    """Finds the cells of fields.

    A segmenter is built once from its settings, can be pickled, may be called from several threads at once, and
    gives the same result for a field whatever other fields it is given with.
    """

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """The channels it can do without."""
        ...

    def prepare(self) -> None:
        """Load what it needs beside the fields, such as weights; called once, before any field.

        What is missing is said here, and not again of each field.

        Raises
        ------
        ValueError, OSError
            If something is missing or broken.
        """
        ...

    def fingerprint(self) -> str | None:
        """SHA-256 of what makes the cells beside the fields and its settings, such as weights; None where nothing does.

        It needs no device. What is missing is fetched, or said.

        Raises
        ------
        ValueError, OSError
            If something is missing or broken.
        """
        ...

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field, in the order of `fields`.

        Raises
        ------
        ValueError, OSError
            Naming the field, if it cannot be segmented.
        """
        ...


@runtime_checkable
class NetworkSegmenter(Segmenter, Protocol):
    """One with a network in it: what comes before and after is asked for apart, so that others can run meanwhile.

    `segment` does the three one after the other.
    """

    @property
    def is_on_gpu(self) -> bool:
        """Whether the network computes on a GPU, which likes several fields at once; it may be another machine's."""
        ...

    def see(self, field: Field) -> Any:
        """What the network sees of a field."""
        ...

    def infer(self, seen: Sequence[Any]) -> list[Any]:
        """What the network finds in each; the same on a CPU, to the last bit, whatever comes along with it."""
        ...

    def find(self, field: Field, found: Any) -> Segmentation:
        """The cells and nuclei of a field, from what the network found."""
        ...
