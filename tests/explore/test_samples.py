from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.explore import SampleSettings, draw_cells, draw_fields

CLASS_SET = get_class_set("hpa2021")
SETTINGS = SampleSettings(fields=5, cells=7, columns=6, seed=3)


def labels(num_fields: int = 60) -> tuple[np.ndarray, list[str]]:
    has = np.random.default_rng(0).random((num_fields, len(CLASS_SET))) < 0.15
    has[:, 4] = False
    return has, [f"f{row:02d}" for row in range(num_fields)]


def test_fields_of_each_class_are_drawn_without_repetition() -> None:
    has, ids = labels()
    samples = draw_fields(has, ids, CLASS_SET, SETTINGS)
    for column, drawn in enumerate(samples.field_ids):
        having = {ids[row] for row in range(len(ids)) if has[row, column]}
        assert set(drawn) <= having
        assert len(set(drawn)) == len(drawn) == min(5, len(having))
    assert samples.field_ids[4] == ()
    assert set(samples.labels_of) == {field_id for drawn in samples.field_ids for field_id in drawn}
    for field_id, row in samples.labels_of.items():
        np.testing.assert_array_equal(row, has[ids.index(field_id)])


def test_the_same_seed_draws_the_same_and_classes_do_not_disturb_each_other() -> None:
    has, ids = labels()
    drawn = draw_fields(has, ids, CLASS_SET, SETTINGS).field_ids
    assert draw_fields(has, ids, CLASS_SET, SETTINGS).field_ids == drawn
    other = SampleSettings(fields=5, cells=7, columns=6, seed=4)
    assert draw_fields(has, ids, CLASS_SET, other).field_ids != drawn
    changed = has.copy()
    changed[:, 7] = True
    assert [
        each
        for column, each in enumerate(draw_fields(changed, ids, CLASS_SET, SETTINGS).field_ids)
        if column != 7
    ] == [each for column, each in enumerate(drawn) if column != 7]


def test_cells_are_of_the_fields_that_are_drawn() -> None:
    has, ids = labels()
    samples = draw_fields(has, ids, CLASS_SET, SETTINGS)
    cells = pd.DataFrame({"field_id": np.repeat(ids, 3), "cell_id": np.tile([1, 2, 300], len(ids))})
    for drawn, rows in zip(samples.field_ids, draw_cells(samples, cells, SETTINGS), strict=True):
        assert set(cells["field_id"].iloc[rows]) <= set(drawn)
        assert len(set(rows.tolist())) == len(rows) == min(7, 3 * len(drawn))


@pytest.mark.parametrize(("name", "value", "least"), [("fields", -1, 0), ("cells", -2, 0), ("columns", 0, 1)])
def test_settings_are_checked(name: str, value: int, least: int) -> None:
    with pytest.raises(ValueError, match=rf"samples\.{name} is {value}: give at least {least}"):
        SampleSettings(**{"fields": 1, "cells": 1, "columns": 1, "seed": 0, name: value})
