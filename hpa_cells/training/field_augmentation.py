"""Augmentation of whole fields with their masks, on the device and a whole batch at a time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from hpa_cells.training.augmentation import Augmentation, AugmentationSettings

__all__ = ["FieldAugmentation"]


class FieldAugmentation(nn.Module):
    """Changes the fields of a batch; draws from torch's global generator.

    Parameters
    ----------
    settings
        As for crops, but drawn a field; `zoom` is left out, since all fields have one physical scale.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        super().__init__()
        self._turns = settings.symmetries
        self._light = Augmentation(replace(settings, symmetries=False, zoom=0.0))

    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Change each field in its own way, its masks with it.

        Parameters
        ----------
        images
            (B, 4, H, W) float in [0, 1].
        masks
            (B, H, W) of whole numbers.

        Returns
        -------
        images, masks
            As they came; height and width may have changed places.
        """
        if self._turns:
            images, masks = turned(images, masks)
        return self._light(images, torch.arange(len(images), device=images.device)), masks


def turned(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Fields (B, C, H, W) and their masks (B, H, W), flipped and turned by one of the eight symmetries of the square.

    Which one is drawn a field; but where height and width differ all fields lie down or stand up together.
    """
    masks = masks[:, None]
    is_square = images.shape[2] == images.shape[3]
    draws = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5
    if is_square:
        images, masks = (torch.where(draws[0], each.transpose(2, 3), each) for each in (images, masks))
    elif bool(draws[0, 0]):
        images, masks = (each.transpose(2, 3) for each in (images, masks))
    for axis in (1, 2):
        images, masks = (torch.where(draws[axis], each.flip(axis + 1), each) for each in (images, masks))
    return images.contiguous(memory_format=torch.channels_last), masks[:, 0].contiguous()
