"""How batches of bags are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpa_cells.classes import ClassSet
from hpa_cells.training.repeats import check_repeats

__all__ = ["BagSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BagSettings:
    """How batches are made.

    Attributes
    ----------
    fields_per_batch
        Number of bags a training step.
    cells_per_field
        Most cells of a field a step; others are drawn in other epochs.
    balance
        How strongly fields of rare classes are repeated: 0 shows every field once an epoch, 1 shows every
        class about equally often, 0.5 lies between.
    repeats
        Times that an epoch shows the fields of a class, by its key, at least 1; a field of several classes has
        the largest of theirs. It multiplies with `balance`: of equal balance, a field is shown just so often.
    mosaic
        Share of the bags whose cells come from several fields of one label each, see `training.mixing`.
    mosaic_fields
        Number of fields of such a bag, at least 2.
    cutmix
        Share of the bags that take a part of their cells from another field.
    cutmix_alpha
        Of the beta distribution that the size of this part is drawn from: 1 draws all sizes equally often, less
        prefers bags that are nearly whole, more even mixtures.
    validation_cells_per_field
        Most cells of a field in validation, always the same.
    workers
        Processes that read crops ahead; 0 reads in the training process, which is fastest for small crops.
    seed
        Of every draw.
    """

    fields_per_batch: int
    cells_per_field: int
    balance: float
    repeats: dict[str, int]
    mosaic: float
    mosaic_fields: int
    cutmix: float
    cutmix_alpha: float
    validation_cells_per_field: int
    workers: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("fields_per_batch", "cells_per_field", "validation_cells_per_field"):
            if getattr(self, name) < 1:
                raise ValueError(f"bags.{name} is {getattr(self, name)}: give at least 1.")
        for name in ("balance", "mosaic", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"bags.{name} is {getattr(self, name)}: give a number from 0 to 1.")
        for key, factor in self.repeats.items():
            if factor < 1:
                raise ValueError(f"bags.repeats.{key} is {factor}: give at least 1.")
        self._check_mixing()

    def _check_mixing(self) -> None:
        if self.mosaic + self.cutmix > 1:
            raise ValueError(
                f"bags.mosaic is {self.mosaic} and bags.cutmix {self.cutmix}: their sum is a share of the bags, "
                "give at most 1."
            )
        if self.mosaic_fields < 2:
            raise ValueError(f"bags.mosaic_fields is {self.mosaic_fields}: give at least 2.")
        if not 0 < self.cutmix_alpha < np.inf:
            raise ValueError(f"bags.cutmix_alpha is {self.cutmix_alpha}: give a number above 0.")
        if self.mixes and self.cells_per_field < 2:
            raise ValueError(
                f"bags.cells_per_field is {self.cells_per_field}, which leaves nothing to mix: give at least 2, "
                "or set bags.mosaic and bags.cutmix to 0."
            )

    def check(self, class_set: ClassSet, *, view: str) -> None:
        """Refuse what does not go with the classes or with what the network sees.

        Raises
        ------
        ValueError
            If a class that shall be repeated is none of the set, or whole fields shall be mixed.
        """
        check_repeats(self.repeats, class_set)
        if self.mixes and view == "field":
            raise ValueError(
                f"bags.mosaic is {self.mosaic} and bags.cutmix {self.cutmix}, but only crops can be mixed: set both to "
                "0, or view=crops."
            )

    @property
    def mixes(self) -> bool:
        """Whether some bags have cells of several fields."""
        return self.mosaic > 0 or self.cutmix > 0
