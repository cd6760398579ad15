"""A U-Net as ONNX: three planes go in, maps of nuclei and cells come out.

Shapes: N images of h x w px at the network's scale, T maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from hpa_cells import __version__
from hpa_cells.segmentation.network import CellUNet, read_network, weights_hash
from hpa_cells.segmentation.network_input import (
    BRIGHT_QUANTILE,
    DARK_QUANTILE,
    LEAST_SPAN,
    MOST,
    NETWORK_CHANNELS,
)
from hpa_cells.sharing.onnx_file import Graph, write_onnx

__all__ = ["export_segmenter"]

_SEED: Final = 0


def export_segmenter(weights: Path, path: Path, *, opset: int) -> None:
    """Write the network of a file of weights as ONNX, with all that is needed to use it in its metadata.

    Raises
    ------
    FileNotFoundError
        If there are no weights.
    ValueError
        If they are damaged, a package is missing, or the network cannot be exported, or does not say the same as ONNX.
    """
    network, provenance = read_network(weights)
    write_onnx(
        _graph(network),
        path,
        metadata=_metadata(network, provenance, sha256=weights_hash(weights)),
        opset=opset,
        name=f"A segmenter with encoder {network.settings.encoder}",
    )


class _Maps(nn.Module):
    """(N, 3, h, w) float32 -> (N, T, h, w), probabilities from 0 to 1, and the same before the sigmoid."""

    is_probability: Tensor

    def __init__(self, network: CellUNet) -> None:
        super().__init__()
        self.network = network
        flags = torch.tensor([each.is_probability for each in network.representation.maps])
        self.register_buffer("is_probability", flags[:, None, None])

    @override
    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(planes)
        return torch.where(self.is_probability, logits.sigmoid(), logits), logits


def _graph(network: CellUNet) -> Graph:
    stride, generator = network.stride_px, torch.Generator().manual_seed(_SEED)
    channels, maps = len(NETWORK_CHANNELS), len(network.representation.maps)
    trials = [
        (torch.rand((number, channels, rows * stride, columns * stride), generator=generator),)
        for number, rows, columns in ((2, 6, 9), (1, 4, 4), (3, 11, 5))
    ]
    return Graph(
        network=_Maps(network).eval(),
        inputs={"planes": ("images", channels, "height", "width")},
        outputs={
            "maps": ("images", maps, "height", "width"),
            "logits": ("images", maps, "height", "width"),
        },
        trials=trials,
    )


def _metadata(network: CellUNet, provenance: dict[str, Any], *, sha256: str) -> dict[str, Any]:
    return {
        "version": __version__,
        "kind": "segmenter",
        "weights_sha256": sha256,
        "trained_with": provenance.get("version"),
        "channels": [each.name.lower() for each in NETWORK_CHANNELS],
        "colors": [each.color for each in NETWORK_CHANNELS],
        "channels_that_may_be_0": ["microtubules", "er"],
        "um_per_px": network.settings.um_per_px,
        "stride_px": network.stride_px,
        "normalisation": {
            "of": "each channel of the whole image at um_per_px, resized by area; then the square root",
            "dark_quantile": DARK_QUANTILE,
            "bright_quantile": BRIGHT_QUANTILE,
            "least_range": LEAST_SPAN / 255,
            "most": MOST,
        },
        "encoder": network.settings.encoder,
        "representation": network.settings.representation,
        "maps": [
            {"name": each.name, "of": each.part, "is_probability": each.is_probability}
            for each in network.representation.maps
        ],
        "inputs": {"planes": "float32, sides multiples of stride_px, filled by their mirror image"},
        "outputs": {"maps": "in the order of `maps`", "logits": "the same before the sigmoid"},
    }
