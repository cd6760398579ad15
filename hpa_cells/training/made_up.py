"""Cells whose labels are known for free: the protein is taken away, or put where another channel is.

A cell without protein shows nothing, one whose protein lies on its microtubules shows these, and the same holds for
the ER. Teams of the 2021 challenge made such cells from those of any field [1]_.

References
----------
.. [1] Le et al., Nature Methods 19:1221 (2022), doi:10.1038/s41592-022-01606-z, and the write-ups of its entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from hpa_cells.classes import ClassSet
from hpa_cells.types import Channel

__all__ = ["MadeUpCells", "MadeUpSettings"]

# What the protein is replaced by; None: nothing.
_SOURCES: Final[dict[str, Channel | None]] = {
    "negative": None,
    "microtubules": Channel.MICROTUBULES,
    "endoplasmic_reticulum": Channel.ER,
}
# What an antibody leaves everywhere in a cell, and how bright a pattern is, as factors on the channel.
_LEFT_OVER, _LEAST_BRIGHT, _MOST_BRIGHT = 0.1, 0.5, 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeUpSettings:
    """How many such cells a step has.

    Attributes
    ----------
    share
        Number of made-up cells in relation to the real ones; 0 makes none.
    weight
        Of their loss, beside those of fields and of cells.
    """

    share: float
    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"made_up.share is {self.share}: give a number from 0 to 1.")
        if not self.weight >= 0:
            raise ValueError(f"made_up.weight is {self.weight}: give 0 or more.")


class MadeUpCells:
    """Makes cells of those of a batch; draws from torch's global generator.

    Parameters
    ----------
    settings
        How many.
    class_set
        The K classes; a kind of cell whose class is none of them is not made.

    Raises
    ------
    ValueError
        If cells are asked for and no kind of them has a class.
    """

    def __init__(self, settings: MadeUpSettings, class_set: ClassSet) -> None:
        self.settings = settings
        self._num_classes = len(class_set)
        self._kinds = [
            (class_set.index(key), source) for key, source in _SOURCES.items() if key in class_set.keys
        ]
        if settings.share > 0 and not self._kinds:
            raise ValueError(
                f"made_up.share is {settings.share}, but class set {class_set.name} has none of "
                f"{', '.join(_SOURCES)}: set it to 0."
            )

    def make(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Make cells of randomly chosen ones.

        Parameters
        ----------
        crops
            (N, 4, S, S) float in [0, 1].

        Returns
        -------
        crops
            (M, 4, S, S), M the wanted share of N, less the cells that lack the channel they need.
        labels
            (M, K) float32 of 0 and 1.
        """
        wanted = round(self.settings.share * len(crops))
        if wanted == 0:
            return crops[:0], crops.new_zeros(0, self._num_classes, dtype=torch.float32)
        chosen = crops[torch.randperm(len(crops), device=crops.device)[:wanted]].clone()
        labels = chosen.new_zeros(wanted, self._num_classes, dtype=torch.float32)
        kept = torch.ones(wanted, dtype=torch.bool, device=crops.device)
        kinds = torch.randint(len(self._kinds), (wanted,), device=crops.device)
        for number, (index, source) in enumerate(self._kinds):
            of_kind = kinds == number
            labels[of_kind, index] = 1
            factor = torch.rand(int(of_kind.sum()), 1, 1, device=crops.device)
            if source is None:
                chosen[of_kind, Channel.PROTEIN] *= _LEFT_OVER * factor
            else:
                bright = _LEAST_BRIGHT + (_MOST_BRIGHT - _LEAST_BRIGHT) * factor
                chosen[of_kind, Channel.PROTEIN] = chosen[of_kind, source] * bright
                kept[of_kind] = chosen[of_kind, source].flatten(1).any(dim=1)
        return chosen[kept], labels[kept]
