"""The published networks: a U-Net whose encoder is a dual path network, DPN-92.

The nucleus network and both cell networks have this one form; only their weights differ. Modules carry the
names they have in the published files, so that a file's parameters need no renaming. The form was read from
the class that those files hold, ``pytorch_zoo.unet.DPNUnet`` of CellProfiling/HPACellSegmentatorPortable, and
is written anew here.

References
----------
.. [1] Y. Chen, J. Li, H. Xiao, X. Jin, S. Yan, J. Feng: Dual path networks, NeurIPS 2017, arXiv:1707.01629.
.. [2] O. Ronneberger, P. Fischer, T. Brox: U-Net, MICCAI 2015, arXiv:1505.04597.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["DPN_92", "NUM_INPUTS", "NUM_OUTPUTS", "STRIDE_PX", "DPNUNet", "DualPathPlan"]

NUM_INPUTS: Final = 3
# Unused, borders, interiors.
NUM_OUTPUTS: Final = 3
# Side of a pixel of the coarsest stage: height and width must be multiples of it.
STRIDE_PX: Final = 32

# The encoder was ported from another framework with its epsilon; torch's own default is 1e-5.
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class DualPathPlan:
    """Widths and depths of an encoder, in the terms of [1]_, table 1. The defaults are DPN-92.

    Attributes
    ----------
    stem_width
        Channels after the first convolution.
    residual_width, reduced_width
        Channels of the residual path and of the grouped convolution in the first stage; each further stage
        doubles both.
    groups
        Of the grouped convolutions.
    depths
        Blocks of each stage.
    increments
        Channels that each block of a stage adds to the dense path.
    """

    stem_width: int = 64
    residual_width: int = 256
    reduced_width: int = 96
    groups: int = 32
    depths: tuple[int, ...] = (3, 4, 20, 3)
    increments: tuple[int, ...] = (16, 32, 24, 128)

    @property
    def stage_widths(self) -> list[int]:
        """Channels after the stem and after each stage."""
        return [
            self.stem_width,
            *(
                (self.residual_width << stage) + (depth + 2) * increment
                for stage, (depth, increment) in enumerate(zip(self.depths, self.increments, strict=True))
            ),
        ]


DPN_92: Final = DualPathPlan()


class DPNUNet(nn.Module):
    """(N, 3, h, w) normalised planes -> (N, 3, h, w) logits: unused, borders, interiors.

    Height and width must be multiples of `STRIDE_PX`.
    """

    def __init__(self, plan: DualPathPlan = DPN_92) -> None:
        super().__init__()
        widths = plan.stage_widths
        self.encoder_stages = nn.ModuleList(
            [_stem(plan), *(_stage(plan, i) for i in range(len(plan.depths)))]
        )
        finer_and_coarser = list(pairwise(widths))
        self.decoder_stages = nn.ModuleList(
            [_Enlarge(coarser, finer) for finer, coarser in finer_and_coarser]
        )
        # Stored from the coarsest on, unlike the decoder's stages.
        self.bottlenecks = nn.ModuleList([_Join(finer) for finer, _ in reversed(finer_and_coarser)])
        self.last_upsample = _Enlarge(plan.stem_width, plan.stem_width)
        self.final = nn.Sequential(nn.Conv2d(plan.stem_width, NUM_OUTPUTS, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        """Logits of the three outputs."""
        encoded = []
        for stage in self.encoder_stages:
            planes = stage(planes)
            encoded.append(planes)
        maps = encoded.pop()
        for enlarge, join in zip(reversed(self.decoder_stages), self.bottlenecks, strict=True):
            maps = join(enlarge(maps), encoded.pop())
        logits: Tensor = self.final(self.last_upsample(maps))
        return logits


class _NormalisedConv(nn.Module):
    """Batch normalisation, ReLU, then the convolution."""

    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs, eps=_BATCH_NORM_EPSILON)
        self.conv = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        convolved: Tensor = self.conv(self.bn(maps).relu_())
        return convolved


class _NormaliseLast(nn.Module):
    """Batch normalisation and ReLU after the last block of the encoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, eps=_BATCH_NORM_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        normalised: Tensor = self.bn(maps)
        return normalised.relu_()


class _DualPathBlock(nn.Module):
    """One block of [1]_, figure 2: channels below `residual_width` are added to, the others are appended to.

    Both paths travel in one tensor, the residual path first.
    """

    def __init__(
        self,
        inputs: int,
        *,
        residual_width: int,
        reduced_width: int,
        increment: int,
        groups: int,
        stride: int | None,
    ) -> None:
        super().__init__()
        self.residual_width = residual_width
        # The first block of a stage (the one with a stride) widens what goes past it.
        self.past: str | None = None
        if stride is not None:
            self.past = f"c1x1_w_s{stride}"
            self.add_module(
                self.past, _NormalisedConv(inputs, residual_width + 2 * increment, 1, stride=stride)
            )
        self.c1x1_a = _NormalisedConv(inputs, reduced_width, 1)
        self.c3x3_b = _NormalisedConv(reduced_width, reduced_width, 3, stride=stride or 1, groups=groups)
        self.c1x1_c = _NormalisedConv(reduced_width, residual_width + increment, 1)

    def forward(self, maps: Tensor) -> Tensor:
        past = maps if self.past is None else self.get_submodule(self.past)(maps)
        new = self.c1x1_c(self.c3x3_b(self.c1x1_a(maps)))
        at = self.residual_width
        return torch.cat([past[:, :at] + new[:, :at], past[:, at:], new[:, at:]], dim=1)


class _Enlarge(nn.Module):
    """Pixels doubled in height and width by repetition, then a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)
        )

    def forward(self, maps: Tensor) -> Tensor:
        enlarged: Tensor = self.layer(maps)
        return enlarged


class _Join(nn.Module):
    """What the decoder has, and what the encoder had at the same scale, brought to the width of either."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, decoded: Tensor, encoded: Tensor) -> Tensor:
        joined: Tensor = self.seq(torch.cat([decoded, encoded], dim=1))
        return joined


def _stem(plan: DualPathPlan) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(NUM_INPUTS, plan.stem_width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(plan.stem_width, eps=_BATCH_NORM_EPSILON),
        nn.ReLU(inplace=True),
    )


def _stage(plan: DualPathPlan, stage: int) -> nn.Sequential:
    residual_width, increment = plan.residual_width << stage, plan.increments[stage]
    # The pooling halves the first stage, the first block each later one.
    first_stride = 1 if stage == 0 else 2
    inputs = [
        plan.stage_widths[stage],
        *(residual_width + (2 + i) * increment for i in range(1, plan.depths[stage])),
    ]
    blocks = [
        _DualPathBlock(
            width,
            residual_width=residual_width,
            reduced_width=plan.reduced_width << stage,
            increment=increment,
            groups=plan.groups,
            stride=first_stride if index == 0 else None,
        )
        for index, width in enumerate(inputs)
    ]
    before = [nn.MaxPool2d(3, stride=2, padding=1)] if stage == 0 else []
    is_last = stage == len(plan.depths) - 1
    after = [_NormaliseLast(plan.stage_widths[-1])] if is_last else []
    return nn.Sequential(*before, *blocks, *after)
