"""Test-time augmentation: a cell has no up and no left, so that its crop, or its field, may be turned and mirrored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Symmetries"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Symmetries:
    """The views of a crop, or of a whole field, whose scores are averaged.

    One turn is the image itself; two turns and their mirror images are the four flips, four turns and theirs
    the eight symmetries of the square. Any of these is a group: the average stays the same when the image is
    turned by one of them.

    Attributes
    ----------
    num_turns
        Number of turns, evenly spread over the circle: 1, 2 or 4.
    mirrored
        Whether each turn is also taken of the mirror image.
    """

    num_turns: int = 1
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.num_turns not in (1, 2, 4):
            raise ValueError(f"tta.num_turns is {self.num_turns}: use 1, 2 or 4.")

    def __len__(self) -> int:
        return self.num_turns * (1 + self.mirrored)

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Each view in turn of (..., H, W); the images as they are come first."""
        for image in (images, images.flip(-1)) if self.mirrored else (images,):
            for quarter_turns in range(0, 4, 4 // self.num_turns):
                yield image.rot90(quarter_turns, dims=(-2, -1))
