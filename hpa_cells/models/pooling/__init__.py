"""From the cells of a field to the field: pooling over bags of any size, without padding.

Every pooling is a function of a set: it does not depend on the order of the cells, and no bag changes another.
A bag of one cell is that cell, but for `NoisyAndPooling`, where it is a rising function of it. What else one
may rely on differs, and is tested as [1]_ asks, since models of bags are known to break such rules unnoticed:

===============  ==========  ===========  =============  ============================================
pooling          rises with  negatives    one positive   added cells
                 each cell   stay so      cell decides
===============  ==========  ===========  =============  ============================================
mean             yes         yes          no             pull the field towards themselves
log_sum_exp      yes         yes          if it is high  pull the field towards themselves
top_k            yes         yes          in small bags  raise k, so that a weak cell may count
max              yes         yes          yes            never lower the field
noisy_or         yes         few of them  yes            never lower the field, also negative ones
noisy_and        yes         yes          no             pull the field towards themselves
gated_attention  no          yes          no             change the weights of the others
===============  ==========  ===========  =============  ============================================

"Rises with each cell" means that more evidence in a cell never lowers the field. "Negatives stay so" means that
a field of cells below 0 (a probability below a half) is below 0; for `noisy_and` as long as its threshold is
a half or more, for `gated_attention` where logits are pooled. `noisy_or` takes every cell for evidence of its
own: 100 cells of probability 0.01 make a field of 0.63, so it wants well-trained cells and bags of like sizes.
`gated_attention` may turn away from a cell as its evidence grows. With it, `mean` and `noisy_and` a cell that shows
another location can count against this one: where the two seldom meet in training, models learn to use that,
and rank fields the wrong way round where they do meet. `max`, `noisy_or`, `log_sum_exp` and `top_k` learn what is
there.

References
----------
.. [1] Raff and Holt, "Reproducibility in multiple instance learning: a case for algorithmic unit tests",
   NeurIPS 2023, arXiv 2310.17867.
"""

from __future__ import annotations

from hpa_cells.models.pooling.attention import GatedAttention
from hpa_cells.models.pooling.bags import bag_softmax
from hpa_cells.models.pooling.base import BagPooling
from hpa_cells.models.pooling.build import build_pooling
from hpa_cells.models.pooling.by_class import PoolingByClass
from hpa_cells.models.pooling.noisy import NoisyAndPooling, NoisyOrPooling
from hpa_cells.models.pooling.settings import POOLINGS, PoolingSettings
from hpa_cells.models.pooling.values import LogSumExpPooling, MaxPooling, MeanPooling, TopKPooling

__all__ = [
    "POOLINGS",
    "BagPooling",
    "GatedAttention",
    "LogSumExpPooling",
    "MaxPooling",
    "MeanPooling",
    "NoisyAndPooling",
    "NoisyOrPooling",
    "PoolingByClass",
    "PoolingSettings",
    "TopKPooling",
    "bag_softmax",
    "build_pooling",
]
