"""Validation cells whose truth is made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from hpa_cells.metrics import Overlaps
from hpa_cells.prediction.fusion_choice import ValidationCells


@pytest.fixture
def validation_cells() -> Callable[..., ValidationCells]:
    """Make cells on their own true masks from logits (F, N, K) of cells, (F, K) of fields, and truth (F, N, K)."""

    def make(of_cells: np.ndarray, of_fields: np.ndarray, truth: np.ndarray) -> ValidationCells:
        num_fields, num_cells, num_classes = of_cells.shape
        rows = np.arange(num_fields * num_cells)
        fields = rows // num_cells
        return ValidationCells(
            scores=expit(of_cells).reshape(-1, num_classes).astype(np.float32),
            field_scores=expit(of_fields)[fields].astype(np.float32),
            field_of_cell=fields,
            overlaps=Overlaps(predicted_rows=rows, truth_rows=rows, iou=np.ones(len(rows))),
            is_truth=truth.reshape(-1, num_classes),
            field_of_truth=fields,
        )

    return make
