"""Embeddings of cells in place of their pixels: what a training sees whose encoder stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["EmbeddingStore"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingStore:
    """Embeddings of N cells, in memory.

    Attributes
    ----------
    cells
        One row a cell, those of the crops or fields that were embedded; its position is its row number.
    embeddings
        (N, D) float32; NaN for a cell that no labelled field has.
    """

    cells: pd.DataFrame
    embeddings: NDArray[np.float32]

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, D) float32: the embeddings of these rows, in their order."""
        return self.embeddings[rows]
