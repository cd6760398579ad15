from __future__ import annotations

import math

import pytest

from hpa_cells.training.method import MethodSettings


@pytest.mark.parametrize(("field", "cell"), [(0.0, 0.0), (-1.0, 2.0), (1.0, math.nan), (math.inf, 1.0)])
def test_weights_out_of_range(field: float, cell: float) -> None:
    message = (
        rf"field_weight is {field} and .*cell_weight {cell}: give weights of 0 or more, at least one above"
    )
    with pytest.raises(ValueError, match=message):
        MethodSettings(field_head="own", field_weight=field, cell_weight=cell)


def test_one_of_the_weights_may_be_zero() -> None:
    assert MethodSettings(field_head="own", field_weight=0.0, cell_weight=1.0).field_weight == 0
