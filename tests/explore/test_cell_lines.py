from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.explore import (
    UNKNOWN_LINE,
    cells_of_lines,
    channel_statistics,
    image_sizes,
    intensities_of_lines,
    labels_of_lines,
    lines_by_size,
)
from hpa_cells.fields import LabelTable
from hpa_cells.types import Channel, Field

LINES = {"f0": "BJ", "f1": "A-431", "f2": "BJ", "elsewhere": "PC-3"}


def channels_of(num_fields: int) -> pd.DataFrame:
    rows = []
    for number in range(num_fields):
        image = np.random.default_rng(number).integers(0, 40 + 40 * number, (4, 9, 11), dtype=np.uint8)
        missing = frozenset({Channel.ER}) if number == 1 else frozenset()
        field = Field(field_id=f"f{number}", image=image, pixel_size_um=0.5, missing=missing)
        rows += [channel_statistics(field, channel) for channel in Channel]
    return pd.DataFrame(rows)


def test_lines_are_sorted_by_size_with_unknown_ones_last() -> None:
    lines = pd.Series([UNKNOWN_LINE] * 5 + ["b", "a", "c", "c"])
    assert lines_by_size(lines) == ["c", "a", "b", UNKNOWN_LINE]
    assert lines_by_size(lines.head(0)) == []


def test_intensities_of_each_line_are_quartiles_over_its_fields() -> None:
    channels = channels_of(5)
    found = intensities_of_lines(channels, LINES).set_index(["cell_line", "channel"])
    assert found.index.get_level_values(0).unique().tolist() == ["BJ", "A-431", UNKNOWN_LINE]
    for line, ids in (("BJ", ["f0", "f2"]), ("A-431", ["f1"]), (UNKNOWN_LINE, ["f3", "f4"])):
        for channel in ("red", "green", "blue"):
            own = channels[channels["field_id"].isin(ids) & (channels["channel"] == channel)]
            assert found.loc[(line, channel), "num_fields"] == len(ids)
            for name in ("mean", "q50", "q99"):
                expected = np.quantile(own[name], [0.25, 0.5, 0.75])
                parts = [f"{name}_{part}" for part in ("low", "median", "high")]
                np.testing.assert_allclose(found.loc[(line, channel), parts].astype(float), expected)
    assert found.loc[("A-431", "yellow"), "num_fields"] == 0
    assert np.isnan(found.loc[("A-431", "yellow"), "q99_median"])


def test_labels_are_counted_for_each_line() -> None:
    class_set = get_class_set("hpa2021")
    labels = np.random.default_rng(0).random((4, len(class_set))) < 0.3
    table = LabelTable(class_set=class_set, field_ids=("f0", "f1", "f2", "f3"), labels=labels)
    found = labels_of_lines(table, LINES).set_index("cell_line")
    assert found["num_fields"].to_dict() == {"BJ": 2, "A-431": 1, UNKNOWN_LINE: 1}
    for index, key in enumerate(class_set.keys):
        assert found.loc["BJ", key] == int(labels[0, index]) + int(labels[2, index])
    assert found.drop(columns="num_fields").to_numpy().sum() == labels.sum()
    empty = labels_of_lines(table.take([]), LINES)
    assert (len(empty), empty.shape[1]) == (0, 2 + len(class_set))


def test_cells_of_fields_are_summed_up_for_each_line() -> None:
    cells = pd.DataFrame({"field_id": ["f0", "f1", "f2", "f3"], "num_cells": [0, 7, 10, 5]})
    found = cells_of_lines(cells, LINES).set_index("cell_line")
    assert found.loc["BJ"].to_dict() == {
        "num_fields": 2,
        "num_empty": 1,
        "num_cells": 10,
        "least": 0,
        "low": 2.5,
        "median": 5.0,
        "high": 7.5,
        "most": 10,
    }
    assert found.index.tolist() == ["BJ", "A-431", UNKNOWN_LINE]
    assert cells_of_lines(cells, {}).loc[0, "num_cells"] == 22
    assert cells_of_lines(cells.head(0), {}).empty


def test_image_sizes_are_counted_once_a_field() -> None:
    rows = channels_of(3)
    rows.loc[rows["field_id"] == "f2", "height_px"] = 8
    found = image_sizes(rows)
    assert found["num_fields"].tolist() == [2, 1]
    assert found["height_px"].tolist() == [9, 8]
    assert image_sizes(rows)["num_fields"].sum() == pytest.approx(rows["field_id"].nunique())
