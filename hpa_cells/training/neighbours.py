"""How well embeddings tell labels without any head: each field is read by those that lie next to it.

Shapes: N cells of F fields, D embedding size, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["field_means", "neighbour_votes"]

# Of the nearest neighbours: their number, and how fast their say falls with the distance, as in the paper.
_NUM_NEIGHBOURS, _TEMPERATURE = 20, 0.07


def field_means(embeddings: Tensor, bag_index: Tensor, num_fields: int) -> Tensor:
    """(F, D) float32, the mean embedding (N, D) of the cells of each field; each field has at least one."""
    means = embeddings.new_zeros(num_fields, embeddings.shape[1], dtype=torch.float32)
    means = means.index_add(0, bag_index, embeddings.float())
    return means / torch.bincount(bag_index, minlength=num_fields)[:, None]


def neighbour_votes(embeddings: NDArray[np.float32], labels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What the fields nearest to each field are labelled with, itself left out.

    The 20 nearest by the cosine of their embeddings, less the mean of all, vote with ``exp(cosine / 0.07)``, as in
    [1]_.

    Parameters
    ----------
    embeddings
        (F, D), one of each field.
    labels
        (F, K) bool.

    Returns
    -------
    (F, K) float32 in [0, 1]; 0 where there is only one field.

    References
    ----------
    .. [1] Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018,
       arXiv:1805.01978, section 3.4.

    Examples
    --------
    >>> embeddings = np.array([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0], [0.0, 0.8]], dtype=np.float32)
    >>> neighbour_votes(embeddings, np.array([[1], [1], [0], [0]], dtype=bool)).round(2)
    array([[1.],
           [1.],
           [0.],
           [0.]], dtype=float32)
    """
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = centred / np.where(lengths > 0, lengths, 1)
    number = min(_NUM_NEIGHBOURS, len(directions) - 1)
    votes = np.zeros(labels.shape, dtype=np.float32)
    for field, direction in enumerate(directions):
        cosines = directions @ direction
        cosines[field] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[:number]
        if number:
            weights = np.exp((cosines[nearest] - cosines[nearest[0]]) / _TEMPERATURE)
            votes[field] = weights @ labels[nearest] / weights.sum()
    return votes
