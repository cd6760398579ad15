"""Poolings of the probabilities of classes: logits come in, the logit of the field's probability goes out.

All is computed from logits, so that neither a probability of 0 or 1 nor its gradient is ever rounded to
nothing. With ``shi(x) = log(sinh(x / 2) / (x / 2))``, which is even and 0 at 0::

    log(exp(x) - 1) = log(x) + x / 2 + shi(x)
    log(1 - exp(-x)) = log(x) - x / 2 + shi(x)

Shapes: V classes, D embedding size.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus
from typing_extensions import override

from hpa_cells.models.pooling.bags import bag_log_mean_exp, bag_sizes, bag_sum
from hpa_cells.models.pooling.base import BagPooling

__all__ = ["NoisyAndPooling", "NoisyOrPooling"]


class NoisyOrPooling(BagPooling):
    """The probability that any cell shows it, if cells were independent: ``1 - prod(1 - p)``.

    In logits v: with ``s = sum(log(1 + exp(v)))``, which is ``-log(prod(1 - p))``, the field's logit is
    ``log(exp(s) - 1)``. The field rises with the number of cells, also of negative ones.
    """

    needs_class_logits: ClassVar[bool] = True

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        strength = bag_sum(-_log_sigmoid(-values), bag_index, num_bags)
        # The sum itself is 0 in float32 where all logits are below -104, its logarithm is not.
        sizes = bag_sizes(bag_index, num_bags, values)
        log_strength = bag_log_mean_exp(_log_softplus(values), bag_index, num_bags) + sizes.log()
        return log_strength + strength / 2 + _shi(strength)


class NoisyAndPooling(BagPooling):
    """Present if more than a share of the cells show it, the share learned for each class.

    With the mean m of the cells' probabilities [1]_::

        (sigmoid(a (m - b)) - sigmoid(-a b)) / (sigmoid(a (1 - b)) - sigmoid(-a b))

    which is 0 for m = 0 and 1 for m = 1. Its logit is
    ``logit(m) + shi(a m) - shi(a (1 - m)) + a / 2 + log(sigmoid(-a b)) - log(sigmoid(a (1 - b)))``.

    Parameters
    ----------
    num_values, embedding_size
        V and D.
    slope
        a > 0: how sharp the threshold b is.

    References
    ----------
    .. [1] Kraus, Ba and Frey, "Classifying and segmenting microscopy images with deep multiple instance
       learning", Bioinformatics 32:i52 (2016), the noisy-AND pooling function.
    """

    needs_class_logits: ClassVar[bool] = True

    def __init__(self, num_values: int, embedding_size: int, *, slope: float = 10.0) -> None:
        super().__init__(num_values, embedding_size)
        if not 0 < slope < math.inf:
            raise ValueError(f"Option slope of pooling noisy_and is {slope}: give a number above 0.")
        self.slope = slope
        self.threshold_logits = nn.Parameter(torch.zeros(num_values))

    def thresholds(self) -> Tensor:
        """(V,) float in (0, 1): b of each class; a half at the start."""
        return self.threshold_logits.sigmoid()

    @override
    def pool(self, values: Tensor, bag_index: Tensor, num_bags: int, embeddings: Tensor) -> Tensor:
        log_present = bag_log_mean_exp(_log_sigmoid(values), bag_index, num_bags)
        log_absent = bag_log_mean_exp(_log_sigmoid(-values), bag_index, num_bags)
        steps = _shi(self.slope * log_present.exp()) - _shi(self.slope * log_absent.exp())
        return log_present - log_absent + steps + self._offset(values.dtype)

    def _offset(self, dtype: torch.dtype) -> Tensor:
        """(V,) float: what the thresholds add to the logit; 0 for thresholds of a half."""
        thresholds = self.threshold_logits.to(dtype).sigmoid()
        low, high = -self.slope * thresholds, self.slope * (1 - thresholds)
        return self.slope / 2 + _log_sigmoid(low) - _log_sigmoid(high)


def _log_sigmoid(values: Tensor) -> Tensor:
    """``log(sigmoid(values))``."""
    # As ONNX it would be the logarithm of a sigmoid, which is 1 from 17 on.
    return -softplus(-values) if torch.compiler.is_exporting() else logsigmoid(values)


def _log_softplus(values: Tensor) -> Tensor:
    """``log(log(1 + exp(values)))``; below -30 it is `values` to 14 digits."""
    is_low = values < -30
    return torch.where(is_low, values, (-_log_sigmoid(-values.masked_fill(is_low, 0))).log())


def _shi(values: Tensor) -> Tensor:
    """``log(sinh(x / 2) / (x / 2))`` for x of 0 or more."""
    is_small = values < 0.1
    small, large = values.masked_fill(~is_small, 0), values.masked_fill(is_small, 1)
    # The Taylor series; the next term is below 1e-15.
    square = small.square()
    series = square * (1 / 24 + square * (-1 / 2880 + square / 181440))
    return torch.where(is_small, series, large / 2 + (-(-large).expm1()).log() - large.log())
