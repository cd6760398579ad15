from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.report import ReportSettings
from hpa_cells.report.selection import select
from hpa_cells.table import Column


def test_everything_of_a_small_run(world) -> None:
    selection = select(world.table, world.sources, ReportSettings())
    assert list(selection.sources) == selection.shown == ["first", "plain", "void"]
    probabilities = world.table.probabilities()
    for index, rows in enumerate(selection.most):
        expected = np.argsort(-probabilities[:, index], kind="stable")[: ReportSettings().cells_per_class]
        assert rows == expected.tolist()


def test_limits(world) -> None:
    settings = ReportSettings(max_fields=1, cells_per_class=1, threshold=0.0, seed=3)
    selection = select(world.table, world.sources, settings)
    assert len(selection.shown) == 1
    assert selection.shown == select(world.table, world.sources, settings).shown
    drawn = [ReportSettings(max_fields=1, seed=seed) for seed in range(20)]
    assert {select(world.table, world.sources, each).shown[0] for each in drawn} == {
        "first", "plain", "void",
    }  # fmt: skip
    assert [len(rows) for rows in selection.most] == [1] * 19


def test_fields_that_are_not_there(world) -> None:
    with pytest.raises(
        ValueError, match=r"1 of the table's 3 fields are not among the 2 fields given \(first\)"
    ):
        select(world.table, world.sources[1:], ReportSettings())
    selection = select(world.table, world.sources[1:], ReportSettings(skip_missing=True, threshold=0.0))
    assert list(selection.sources) == ["plain", "void"]
    shown = {row for rows in selection.most for row in rows}
    assert set(world.table.cells[Column.FIELD_ID].iloc[sorted(shown)]) == {"plain"}
    with pytest.raises(ValueError, match="3 of the table's 3 fields"):
        select(world.table, [], ReportSettings(skip_missing=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_fields": -1},
        {"max_overlays": -1},
        {"cells_per_class": -1},
        {"num_disagreeing": -1},
        {"threshold": 1.1},
        {"field_px": 3},
        {"fields_mb": 0.0},
        {"tile_px": 0},
    ],
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"page.{next(iter(settings))} is "):
        ReportSettings(**settings)


def test_the_least_confident_are_called_and_not_among_the_most_confident(world) -> None:
    settings = ReportSettings(cells_per_class=2, threshold=0.3)
    selection = select(world.table, world.sources, settings)
    for values, most, least in zip(
        world.table.probabilities().T, selection.most, selection.least, strict=True
    ):
        called = [row for row in np.argsort(values, kind="stable") if values[row] >= 0.3 and row not in most]
        assert least == called[:2]
    assert any(selection.least)


def test_disagreements_are_those_of_a_plain_loop(world) -> None:
    table = world.table
    selection = select(table, world.sources, ReportSettings(num_disagreeing=3))
    of_fields = dict(zip(table.fields[Column.FIELD_ID], table.field_probabilities(), strict=True))
    gaps = []
    for row, field_id in enumerate(table.cells[Column.FIELD_ID]):
        gap = np.abs(table.probabilities()[row] - of_fields[field_id])
        gaps.append((float(gap.max()), row, int(gap.argmax())))
    expected = sorted(gaps, key=lambda each: -each[0])[:3]
    assert [(each.row, each.class_index) for each in selection.disagreements] == [
        (row, class_index) for _, row, class_index in expected
    ]
    for each, (gap, _, _) in zip(selection.disagreements, expected, strict=True):
        assert abs(each.of_cell - each.of_field) == pytest.approx(gap)
    assert {row for each in (*selection.most, *selection.least) for row in each} <= set(selection.rows)
