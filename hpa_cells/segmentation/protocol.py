"""What the rest of the house asks of anything that finds cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hpa_cells.types import Channel, Field, Segmentation

__all__ = ["Segmenter"]


class Segmenter(Protocol):
    """Finds the cells of fields.

    A segmenter is built once from its settings, can be pickled, and gives the same result for a field
    whatever other fields it is given with.
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

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field, in the order of `fields`.

        Raises
        ------
        ValueError, OSError
            Naming the field, if it cannot be segmented.
        """
        ...
