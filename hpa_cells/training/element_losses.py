"""The loss of one cell or field in one class, from its logit and its label; labels may be soft.

p is the probability, the sigmoid of the logit, and t the label. All losses are computed in float32 from the
logits, so that they and their gradients are finite also where p rounds to 0 or 1. The gradient flows through
the focusing weights, as in the derivatives that the papers give.

Shapes: B cells or fields, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ELEMENT_LOSSES", "OWN_SETTINGS", "asymmetric", "binary_cross_entropy", "focal"]

# For gamma below 1 the slope of x ** gamma grows without limit towards 0: below this it is flat.
_LEAST_DISTANCE = 1e-6


def binary_cross_entropy(logits: Tensor, targets: Tensor, positive_weight: Tensor) -> Tensor:
    """``-(w t log p + (1 - t) log(1 - p))``.

    Parameters
    ----------
    logits
        (B, K) float.
    targets
        (B, K) float32 in [0, 1].
    positive_weight
        (K,) float32, the w of each class.

    Returns
    -------
    (B, K) float32, 0 or more.

    Examples
    --------
    >>> binary_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([2.0]))
    tensor([[1.3863]])
    """
    return F.binary_cross_entropy_with_logits(
        logits.float(), targets, reduction="none", pos_weight=positive_weight
    )


def focal(
    logits: Tensor, targets: Tensor, positive_weight: Tensor, *, gamma: float, alpha: float | None
) -> Tensor:
    """Cross-entropy that counts less the closer the probability is: times ``a |t - p| ** gamma``.

    For labels of 0 and 1 this is the focal loss [1]_, for those between the quality focal loss [2]_. Below a
    distance of 1e-6 the weight stays as it is.

    Parameters
    ----------
    logits, targets, positive_weight
        See `binary_cross_entropy`.
    gamma
        0 or more; 0 is cross-entropy, 2 the choice of [1]_.
    alpha
        In (0, 1), the a of positives, and 1 minus that of negatives; soft labels have ``alpha t + (1 - alpha)
        (1 - t)``, a factor that does not move their least loss. None: 1 for all.

    Returns
    -------
    (B, K) float32, 0 or more.

    References
    ----------
    .. [1] Lin et al., "Focal loss for dense object detection", ICCV 2017, eq. 4 and 5.
    .. [2] Li et al., "Generalized focal loss", NeurIPS 2020, eq. 1.

    Examples
    --------
    >>> focal(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1), gamma=2.0, alpha=None)
    tensor([[0.1733]])
    """
    logits = logits.float()
    distance = (targets - logits.sigmoid()).abs()
    loss = _power(distance, gamma) * binary_cross_entropy(logits, targets, positive_weight)
    return loss if alpha is None else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    positive_weight: Tensor,
    *,
    gamma_positive: float,
    gamma_negative: float,
    shift: float,
) -> Tensor:
    """Focal loss that forgives negatives more than positives [1]_.

    ``-(w t (1 - p) ** gamma_positive log p + (1 - t) q ** gamma_negative log(1 - q))`` with
    ``q = max(p - shift, 0)``: soft labels mix the two parts. Below 1e-6 the base of the second power stays as
    it is.

    Parameters
    ----------
    logits, targets, positive_weight
        See `binary_cross_entropy`.
    gamma_positive, gamma_negative
        0 or more; [1]_ uses 0 and 4.
    shift
        In [0, 1): negatives below this probability cost nothing; [1]_ uses 0.05.

    Returns
    -------
    (B, K) float32, 0 or more.

    References
    ----------
    .. [1] Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021, eq. 5 to 7.

    Examples
    --------
    >>> settings = {"gamma_positive": 0.0, "gamma_negative": 1.0, "shift": 0.25}
    >>> asymmetric(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1), **settings)
    tensor([[0.0719]])
    """
    logits = logits.float()
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -log_p * (gamma_positive * log_not_p).exp()
    # log(1 - p + shift): never of 0, also without a shift.
    log_not_q = torch.logaddexp(log_not_p, torch.full_like(logits, shift).log()).clamp(max=0)
    negative = -log_not_q * _power(logits.sigmoid() - shift, gamma_negative)
    return positive_weight * targets * positive + (1 - targets) * negative


def _power(base: Tensor, exponent: float) -> Tensor:
    return base.clamp(min=_LEAST_DISTANCE) ** exponent


ELEMENT_LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": binary_cross_entropy,
    "focal": focal,
    "asymmetric": asymmetric,
}
# What only this loss has to be told.
OWN_SETTINGS: dict[str, tuple[str, ...]] = {
    "bce": (),
    "focal": ("gamma", "alpha"),
    "asymmetric": ("gamma_positive", "gamma_negative", "shift"),
}
