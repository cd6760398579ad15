from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.report.field_charts import BarChart, field_charts
from hpa_cells.table import CellTable, Column, Provenance

CLASS_SET = get_class_set("hpa2021")


def table_of(num_cells: list[int], probabilities: np.ndarray) -> CellTable:
    fields = pd.DataFrame(probabilities, columns=Column.probabilities(CLASS_SET))
    fields[Column.FIELD_ID], fields[Column.NUM_CELLS] = [f"f{row}" for row in range(len(fields))], num_cells
    return CellTable(
        cells=pd.DataFrame(),
        fields=fields,
        class_set=CLASS_SET,
        provenance=Provenance(version="1", class_set="hpa2021", source="model"),
    )


def counts(chart: BarChart) -> dict[str, int]:
    return {bar.name: bar.count for bar in chart.bars}


@pytest.fixture
def table() -> CellTable:
    draw = np.random.default_rng(0)
    probabilities = draw.random((50, len(CLASS_SET))).astype(np.float32) ** 3
    probabilities[7] = np.nan
    num_cells = draw.integers(1, 90, 50)
    num_cells[7] = 0
    return table_of(num_cells.tolist(), probabilities)


def test_every_field_is_in_one_bar_of_cells(table: CellTable) -> None:
    chart = field_charts(table, threshold=0.5)[0]
    assert len(chart.bars) <= 16
    numbers = table.fields[Column.NUM_CELLS]
    for bar in chart.bars:
        low, high = (int(part) for part in bar.name.split("–"))
        assert bar.count == sum(low <= number <= high for number in numbers)
    assert sum(bar.count for bar in chart.bars) == 50
    assert max(bar.length for bar in chart.bars) == 1
    assert f"median {np.median(numbers):g}" in chart.told


def test_locations_are_counted_as_a_loop_would(table: CellTable) -> None:
    _, per_field, of_location = field_charts(table, threshold=0.5)
    rows = [row for row in table.field_probabilities() if not np.isnan(row).any()]
    called = [[bool(value >= 0.5) for value in row] for row in rows]
    assert counts(per_field) == {
        str(number): sum(sum(row) == number for row in called) for number in range(max(map(sum, called)) + 1)
    }
    assert sum(counts(per_field).values()) == 49
    assert "49 fields" in per_field.told
    expected = [sum(row[index] for row in called) for index in range(len(CLASS_SET))]
    assert [bar.count for bar in of_location.bars] == sorted(
        (each for each in expected if each), reverse=True
    )
    assert {bar.color for bar in of_location.bars} <= set(CLASS_SET.colors)


def test_few_cells_have_a_bar_a_number() -> None:
    chart, *_ = field_charts(table_of([0, 2, 2], np.zeros((3, len(CLASS_SET)))), threshold=0.5)
    assert counts(chart) == {"0": 1, "1": 0, "2": 2}


def test_where_nothing_is_called_or_known_there_is_no_chart_of_it(table: CellTable) -> None:
    titles = [chart.title for chart in field_charts(table, threshold=1.1)]
    assert titles == ["Cells a field", "Locations a field"]
    unknown = table_of([1, 2], np.full((2, len(CLASS_SET)), np.nan))
    assert [chart.title for chart in field_charts(unknown, threshold=0.5)] == ["Cells a field"]
    assert field_charts(replace(table, fields=table.fields.head(0)), threshold=0.5) == []
