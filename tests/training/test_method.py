from __future__ import annotations

import math

import pytest

from hpa_cells.training.method import MethodSettings


@pytest.mark.parametrize(("field", "cell"), [(-1.0, 2.0), (1.0, math.nan), (math.inf, 1.0)])
def test_weights_out_of_range(field: float, cell: float) -> None:
    message = rf"field_weight is {field} and .*cell_weight {cell}: give weights of 0 or more"
    with pytest.raises(ValueError, match=message):
        MethodSettings(field_head="own", field_weight=field, cell_weight=cell)


@pytest.mark.parametrize(
    ("field", "cell", "learns"), [(0.0, 1.0, True), (0.1, 0.0, True), (1.0, 1.0, True), (0.0, 0.0, False)]
)
def test_labels_may_have_no_say(field: float, cell: float, learns: bool) -> None:
    method = MethodSettings(field_head="own", field_weight=field, cell_weight=cell)
    assert method.learns_labels == learns
