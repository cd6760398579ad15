"""What a network sees of a field: a crop of each cell, the field as a whole, or squares of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpa_cells.cells import CropSettings, FieldViewSettings, SquareSettings
from hpa_cells.models import VIEWS
from hpa_cells.training.made_up import MadeUpSettings
from hpa_cells.training.method import MethodSettings

__all__ = ["ViewSettings"]

# Settings of each view, and whether they may be null.
_OWN: Final[dict[str, dict[str, bool]]] = {
    "crops": {},
    "field": {"um_per_px": False, "masked": False, "stride": True},
    "squares": {
        "um_per_px": True,
        "field_px": True,
        "size_px": False,
        "num_training": False,
        "num_predicted": False,
        "seed": False,
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSettings:
    """Which view; the others are settings of views ``field`` and ``squares`` only.

    Attributes
    ----------
    kind
        ``crops``: every cell is cut out. ``field``: the network sees the field once, and a cell is what of its map lies
        under the cell's mask. ``squares``: squares of the field take the place of cells.
    um_per_px, masked
        How the field is shown, see `hpa_cells.cells.FieldViewSettings`.
    stride
        Pixels for one place of the map, see `hpa_cells.models.ClassifierSettings`.
    field_px, size_px, num_training, num_predicted, seed
        With `um_per_px`, how squares are cut, see `hpa_cells.cells.SquareSettings`.
    """

    kind: str
    um_per_px: float | None = None
    masked: bool | None = None
    stride: int | None = None
    field_px: int | None = None
    size_px: int | None = None
    num_training: int | None = None
    num_predicted: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in VIEWS:
            raise ValueError(f"view.kind is {self.kind!r}: use view={' or view='.join(VIEWS)}.")
        for name in self.__slots__[1:]:
            value = getattr(self, name)
            if name not in _OWN[self.kind] and value is not None:
                others = " or ".join(f"view={kind}" for kind, own in _OWN.items() if name in own)
                raise ValueError(
                    f"view.{name} is {value}, but view={self.kind} has no such setting: use {others}."
                )
            if value is None and not _OWN[self.kind].get(name, True):
                raise ValueError(f"view.{name} is null: view={self.kind} needs a value.")

    @property
    def field(self) -> FieldViewSettings | None:
        """How whole fields are shown; None for other views."""
        if self.um_per_px is None or self.masked is None:
            return None
        return FieldViewSettings(um_per_px=self.um_per_px, masked=self.masked)

    @property
    def squares(self) -> SquareSettings | None:
        """How squares are cut; None for other views."""
        if (
            self.size_px is None
            or self.num_training is None
            or self.num_predicted is None
            or self.seed is None
        ):
            return None
        return SquareSettings(
            um_per_px=self.um_per_px,
            field_px=self.field_px,
            size_px=self.size_px,
            num_training=self.num_training,
            num_predicted=self.num_predicted,
            seed=self.seed,
        )

    def shown(self, crops: CropSettings) -> CropSettings | FieldViewSettings | SquareSettings:
        """What is made of a field; `crops` where every cell is cut out."""
        return self.field or self.squares or crops

    def check(self, method: MethodSettings, made_up: MadeUpSettings) -> None:
        """Refuse what does not go with the view.

        Raises
        ------
        ValueError
            If crops or squares shall be consistent with their pieces, or cells be made up in whole fields.
        """
        if self.kind != "field" and method.consistency > 0:
            raise ValueError(
                f"method.consistency is {method.consistency}, which compares a field with its pieces: set view=field, "
                "or method.consistency=0."
            )
        if self.kind == "field" and made_up.share > 0:
            raise ValueError(
                f"made_up.share is {made_up.share}, but cells are made up of crops only: set made_up.share=0, or "
                "view=crops."
            )

    def check_cells(self, cell_labels: str | None, area_weight: float) -> None:
        """Refuse what is about single cells where the view has none.

        Parameters
        ----------
        cell_labels
            The table of cells to learn from, if any.
        area_weight
            The largest area below which cells count less.

        Raises
        ------
        ValueError
            If squares shall learn from labels of cells, or be weighed as cells.
        """
        if self.kind != "squares":
            return
        if cell_labels is not None:
            raise ValueError(
                f"cell_labels is {cell_labels}, but view=squares knows no cells: leave it out, or choose another view."
            )
        if area_weight > 0:
            raise ValueError(
                f"area_weight goes up to {area_weight} um2, but view=squares knows no cells: set it to 0."
            )
