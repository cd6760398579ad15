"""What a user chooses about a report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReportSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """Extent and look of a report.

    Attributes
    ----------
    title
        Name of the run on the page; None: ``Run``.
    max_fields
        Most fields that are shown, drawn at random with `seed`; all fields count in the tables.
    cells_per_class
        Most cells shown of each class, those of highest probability.
    threshold
        Least probability of a class that counts and is named, in [0, 1].
    field_px
        Longer side of a field on the page.
    tile_px
        Side of a single cell on the page.
    seed
        Of the draw of fields.
    skip_missing
        Whether to go on without the fields of the table that the folder lacks. Else they are an error.
    """

    title: str | None = None
    max_fields: int = 16
    cells_per_class: int = 12
    threshold: float = 0.5
    field_px: int = 800
    tile_px: int = 120
    seed: int = 0
    skip_missing: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_fields", 0), ("cells_per_class", 0), ("field_px", 64), ("tile_px", 16)):
            if getattr(self, name) < least:
                raise ValueError(f"page.{name} is {getattr(self, name)}: give at least {least}.")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"page.threshold is {self.threshold}: give a number from 0 to 1.")
