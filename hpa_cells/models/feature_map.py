"""A network's map of a whole field, and what of it lies under each cell's mask.

The third place of the 2021 challenge pooled the map of a field under the masks of its cells, so that a field costs one
pass however many cells it has [1]_.

Shapes: B fields of H x W px with N cells in all, M cells in the field that has most, D embedding size; a map has h x w
places.

References
----------
.. [1] Le et al., Nature Methods 19:1221 (2022), doi:10.1038/s41592-022-01606-z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from hpa_cells.models.encoder import EncoderSettings, build_encoder
from hpa_cells.types import NUM_CHANNELS

__all__ = [
    "CellPlaces",
    "check_feature_map",
    "check_stride",
    "find_places",
    "of_place",
    "read_map",
    "with_stride",
]

_STRIDES: Final = (8, 16, 32)

# Not square, and of whole strides for every network.
_TRIAL_PX = (256, 320)


def with_stride(encoder: EncoderSettings, stride: int | None) -> EncoderSettings:
    """The same network with one place of its map for `stride` pixels.

    Its weights have the same names and shapes, in networks of which every stage has more channels than the one before.
    """
    return (
        encoder if stride is None else replace(encoder, options=encoder.options | {"output_stride": stride})
    )


def check_stride(stride: int | None) -> None:
    """Refuse a stride that networks do not have."""
    if stride is not None and stride not in _STRIDES:
        raise ValueError(
            f"view.stride is {stride}: use {', '.join(map(str, _STRIDES))}, or null for the network's own."
        )


def read_map(encoder: nn.Module, images: Tensor) -> Tensor:
    """The embedding at every place of a field.

    What follows a network's own pooling is done at each place, as if it were an image of one pixel. So whatever is
    linear in the embedding of a cell is, under its mask, the mean of the same over the places.

    Parameters
    ----------
    encoder
        From `build_encoder`.
    images
        (B, 4, H, W) float, as the network wants them.

    Returns
    -------
    (B, D, h, w) float; h and w are a 32nd of H and W for most networks.
    """
    own: Any = encoder
    maps = own.forward_features(images)
    num_fields, num_channels, height, width = maps.shape
    places = maps.permute(0, 2, 3, 1).reshape(-1, num_channels, 1, 1)
    embeddings = own.forward_head(places, pre_logits=True)
    return cast(Tensor, embeddings.view(num_fields, height, width, -1).permute(0, 3, 1, 2))


def check_feature_map(encoder: EncoderSettings, stride: int | None) -> None:
    """Refuse a network that makes no map of a field, or cannot make it as fine as is asked for.

    Only shapes are computed: it takes seconds for the largest networks, and hardly any memory.

    Raises
    ------
    ValueError
        If it does not, or cannot be built.
    """
    check_stride(stride)
    plain = replace(encoder, pretrained=False, weights_file=None)
    try:
        with torch.device("meta"), torch.inference_mode():
            network = build_encoder(with_stride(plain, stride)).eval()
            found = tuple(read_map(network, torch.zeros(1, NUM_CHANNELS, *_TRIAL_PX)).shape)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        if stride is not None:
            check_feature_map(encoder, None)
            raise ValueError(
                f"Encoder {encoder.name} has no stride but its own: set view.stride=null, or choose a network that "
                "takes timm's output_stride, such as resnet18."
            ) from error
        # What is wrong with the network itself is said in its own words.
        build_encoder(plain)
        raise ValueError(
            f"Encoder {encoder.name} makes no map of a field that cells could be read from ({error}): choose a "
            "convolutional network, such as resnet18, or view=crops."
        ) from error
    expected = None if stride is None else tuple(side // stride for side in _TRIAL_PX)
    if expected is not None and found[2:] != expected:
        raise ValueError(
            f"Encoder {encoder.name} makes a map of {found[2:]} places for {_TRIAL_PX} px, expected {expected} with "
            f"view.stride={stride}: set view.stride=null."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPlaces:
    """How many pixels of each cell lie in each place of a map.

    Attributes
    ----------
    areas
        (B, M, h * w) float32: pixels of the cells of each field; 0 for those beyond a field's number.
    image_of_cell
        (N,) int64, the field of each cell.
    slot_of_cell
        (N,) int64 in [0, M), the cell's position among those of its field.
    """

    areas: Tensor
    image_of_cell: Tensor
    slot_of_cell: Tensor

    @property
    def covered(self) -> Tensor:
        """(B, h * w) float32: pixels of any cell."""
        return self.areas.sum(dim=1)

    def mean(self, feature_map: Tensor) -> Tensor:
        """(N, D) float32: the mean of a map (B, D, h, w) under each cell, every pixel of the cell counting the same."""
        # A cell has thousands of pixels, more than half precision can count.
        with torch.autocast(feature_map.device.type, enabled=False):
            totals = self.areas.sum(dim=2, keepdim=True)
            shares = self.areas / torch.where(totals > 0, totals, 1)
            means = shares @ feature_map.float().flatten(2).transpose(1, 2)
        return means[self.image_of_cell, self.slot_of_cell]


def find_places(masks: Tensor, height: int, width: int) -> CellPlaces:
    """Where the cells lie on a map of `height` x `width` places.

    Places share the field's pixels evenly, so that a cell smaller than a place has its weight there.

    Parameters
    ----------
    masks
        (B, H, W) int32: 0 where there is no cell, else the cell's number from 1 to N through all fields. No cell is in
        two fields.
    height, width
        h and w.

    Raises
    ------
    ValueError
        If one of the numbers up to the largest has no pixel.
    """
    num_fields = len(masks)
    numbers = masks.long()
    num_cells = int(numbers.max()) if masks.numel() else 0
    image_of_pixel = torch.arange(num_fields, device=masks.device)[:, None, None]
    image_of_number = numbers.new_full((num_cells + 1,), -1)
    image_of_number.scatter_(0, numbers.flatten(), image_of_pixel.expand_as(numbers).flatten())
    image_of_cell = image_of_number[1:]
    if num_cells and int(image_of_cell.min()) < 0:
        lost = int(image_of_cell.argmin()) + 1
        raise ValueError(
            f"Cell number {lost} of {num_cells} has no pixel in the masks: number those that have."
        )
    sizes = torch.bincount(image_of_cell, minlength=num_fields)
    order = image_of_cell.argsort(stable=True)
    slots = torch.empty_like(order)
    slots[order] = (
        torch.arange(num_cells, device=masks.device) - (sizes.cumsum(0) - sizes)[image_of_cell[order]]
    )
    # What is no cell is counted in a row of its own, before those of the cells.
    row_of_number = torch.cat([slots.new_zeros(1), slots + 1])
    num_rows, num_places = int(sizes.max()) + 1 if num_fields else 1, height * width
    place = of_place(masks.shape[1], height, masks.device)[:, None] * width
    place = place + of_place(masks.shape[2], width, masks.device)
    bins = (image_of_pixel * num_rows + row_of_number[numbers]) * num_places + place
    areas = torch.bincount(bins.flatten(), minlength=num_fields * num_rows * num_places)
    areas = areas.view(num_fields, num_rows, num_places)[:, 1:].float()
    return CellPlaces(areas=areas, image_of_cell=image_of_cell, slot_of_cell=slots)


def of_place(num_px: int, num_places: int, device: torch.device) -> Tensor:
    """(num_px,) int64: the place in which each pixel along a side lies."""
    return torch.arange(num_px, device=device) * num_places // num_px
