"""Class activation maps that agree between a field and its pieces, where the pieces are cells.

A map learned from labels of fields lights up where a class is told best. If what it says of a cell changes when other
cells are taken away, it has looked at the others. Puzzle-CAM cuts an image into tiles, puts the maps of the tiles
together and asks that the result be the map of the whole [1]_; the first place of the 2021 challenge cut along the
masks of cells instead [2]_.

Shapes: B fields of H x W px, P pieces a field, M cells in the field that has most, D embedding size, h x w places.

References
----------
.. [1] Jo and Yu, "Puzzle-CAM: improved localization via matching partial and full features", ICIP 2021,
   arXiv:2101.11253, eq. 2 to 5.
.. [2] Le et al., Nature Methods 19:1221 (2022), doi:10.1038/s41592-022-01606-z.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpa_cells.models import CellClassifier, CellPlaces, find_places
from hpa_cells.training.bags import Bags
from hpa_cells.training.losses import BagLoss, LossTerms
from hpa_cells.training.processes import mean_over_processes

__all__ = ["CellCam", "cut_pieces", "merge_pieces"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellCam:
    """The loss of fields and of their merged pieces, and how far the maps of both are apart.

    Attributes
    ----------
    consistency
        Weight of the mean absolute difference between the two class activation maps, over the pixels of cells.
    pieces
        P: the cells of each field are dealt out to so many pieces, anew in every step.
    """

    consistency: float
    pieces: int

    def __call__(
        self, classifier: CellClassifier, loss: BagLoss, images: Tensor, batch: Bags
    ) -> tuple[Tensor, LossTerms, Tensor]:
        """The whole loss, the terms of the fields as they are, and the difference of the maps.

        Parameters
        ----------
        classifier
            Of view ``field``.
        loss
            Compares cells and fields with their labels.
        images
            (B, 4, H, W) float in [0, 1].
        batch
            Labels, and the masks of `images`.
        """
        assert batch.masks is not None
        piece_of_cell = torch.randint(self.pieces, (len(batch.bag_index),), device=images.device)
        pieces = cut_pieces(images, batch.masks, piece_of_cell, self.pieces)
        # One pass, so that normalisation over the batch sees one batch.
        maps = classifier.read_map(torch.cat([images, pieces]).contiguous(memory_format=torch.channels_last))
        whole, parts = maps[: len(images)].float(), maps[len(images) :].float()
        places = find_places(batch.masks, *whole.shape[2:])
        merged = merge_pieces(parts.view(len(images), self.pieces, *whole.shape[1:]), places, piece_of_cell)
        of_whole, of_merged = (
            loss(classifier.classify(places.mean(each), batch.bag_index), batch) for each in (whole, merged)
        )
        difference = self._difference(classifier, whole, merged, places)
        total = of_whole.total + of_merged.total + self.consistency * difference
        return total, of_whole, difference.detach()

    def _difference(
        self, classifier: CellClassifier, whole: Tensor, merged: Tensor, places: CellPlaces
    ) -> Tensor:
        apart = (classifier.class_map(whole) - classifier.class_map(merged)).float().abs().mean(dim=1)
        return (apart.flatten(1) * places.covered).sum() / mean_over_processes(places.covered.sum())


def cut_pieces(images: Tensor, masks: Tensor, piece_of_cell: Tensor, num_pieces: int) -> Tensor:
    """Every field as often as it has pieces, each time with only the cells of one piece; all else is 0.

    Parameters
    ----------
    images
        (B, 4, H, W) float.
    masks
        (B, H, W) int32, cells counted from 1.
    piece_of_cell
        (N,) int64 in [0, P).
    num_pieces
        P.

    Returns
    -------
    (B * P, 4, H, W), the pieces of a field one after another.
    """
    piece_of_number = torch.cat([piece_of_cell.new_full((1,), -1), piece_of_cell])
    piece_of_pixel = piece_of_number[masks.long()]
    inside = piece_of_pixel[:, None] == torch.arange(num_pieces, device=masks.device)[:, None, None]
    return (images[:, None] * inside[:, :, None]).flatten(0, 1)


def merge_pieces(parts: Tensor, places: CellPlaces, piece_of_cell: Tensor) -> Tensor:
    """The maps of the pieces put together: each place is the mean of them, weighted by their cells' pixels there.

    Parameters
    ----------
    parts
        (B, P, D, h, w) float32, the maps of the pieces.
    places
        Where the cells lie on them.
    piece_of_cell
        (N,) int64 in [0, P).

    Returns
    -------
    (B, D, h, w) float32; 0 where there is no cell.
    """
    num_fields, num_pieces = parts.shape[:2]
    is_of_piece = places.areas.new_zeros(num_fields, num_pieces, places.areas.shape[1])
    is_of_piece[places.image_of_cell, piece_of_cell, places.slot_of_cell] = 1
    with torch.autocast(parts.device.type, enabled=False):
        shares = is_of_piece @ places.areas
        shares = shares / places.covered.clamp(min=1)[:, None]
    return (parts * shares.view(num_fields, num_pieces, 1, *parts.shape[3:])).sum(dim=1)
