"""How far a network looks: what a tile must show around the pixels that are kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hpa_cells.segmentation.tiles import MapNetwork

__all__ = ["MOST_PX", "reach_px"]

MOST_PX: Final = 1024


def reach_px(network: MapNetwork, device: str = "cpu") -> int | None:
    """Distance beyond which no pixel changes a network's maps; None where it is `MOST_PX` or more.

    It is where the gradient of the maps ends, along the width of a strip of noise. A network that looks at the
    whole image at once (squeeze and excitation, attention) gives None.

    Parameters
    ----------
    network
        In evaluation mode.
    device
        Where it is.
    """
    import torch

    stride_px = network.stride_px
    # The maps of all pixels of a coarsest one: those at its rim look furthest.
    start, end = MOST_PX, MOST_PX + stride_px
    strip = torch.rand(1, 3, stride_px, MOST_PX + end, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.enable_grad():
        strip.requires_grad_()
        looked_at = network.read_off(strip)[..., start:end].sum()
        (gradient,) = torch.autograd.grad(looked_at, strip)
    columns = gradient.abs().amax(dim=(0, 1, 2)).nonzero().flatten().tolist()
    if not columns:
        return 0
    reach = max(start - columns[0], columns[-1] - (end - 1), 0)
    return None if reach >= MOST_PX else reach
