"""What a user chooses about a report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReportSettings"]

_LEAST = {
    "max_fields": 0,
    "max_overlays": 0,
    "cells_per_class": 0,
    "num_disagreeing": 0,
    "field_px": 64,
    "fields_mb": 0.01,
    "tile_px": 16,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """Extent and look of a report.

    Attributes
    ----------
    title
        Name of the run on the page; None: ``Run``.
    max_fields
        Most fields that are shown, drawn at random with `seed`; all fields count in the tables.
    max_overlays
        Most of these that are also drawn as files with their cells over them.
    cells_per_class
        Most cells shown of each class, once of the highest probability, and once of the lowest from `threshold` up.
    num_disagreeing
        Most cells shown of those whose probability of a class is far from that of their field.
    threshold
        Least probability of a class that counts and is named, in [0, 1].
    field_px
        Longer side of a field on the page; a smaller field stays as it is. None: every field as it is.
    fields_mb
        Most megabytes (1e6 bytes) that the pictures of fields and their cells take, together; pictures are shrunk to
        keep to it, though not below a quarter of it. None: no limit.
    tile_px
        Side of a single cell on the page.
    seed
        Of the draw of fields.
    skip_missing
        Whether to go on without the fields of the table that the folder lacks. Else they are an error.
    """

    title: str | None = None
    max_fields: int = 200
    max_overlays: int = 16
    cells_per_class: int = 12
    num_disagreeing: int = 24
    threshold: float = 0.5
    field_px: int | None = 1024
    fields_mb: float | None = 40.0
    tile_px: int = 128
    seed: int = 0
    skip_missing: bool = False

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"page.{name} is {value}: give at least {least}.")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"page.threshold is {self.threshold}: give a number from 0 to 1.")
