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
    for index, rows in enumerate(selection.rows_of_class):
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
    assert [len(rows) for rows in selection.rows_of_class] == [1] * 19


def test_fields_that_are_not_there(world) -> None:
    with pytest.raises(
        ValueError, match=r"1 of the table's 3 fields are not among the 2 fields given \(first\)"
    ):
        select(world.table, world.sources[1:], ReportSettings())
    selection = select(world.table, world.sources[1:], ReportSettings(skip_missing=True, threshold=0.0))
    assert list(selection.sources) == ["plain", "void"]
    shown = {row for rows in selection.rows_of_class for row in rows}
    assert set(world.table.cells[Column.FIELD_ID].iloc[sorted(shown)]) == {"plain"}
    with pytest.raises(ValueError, match="3 of the table's 3 fields"):
        select(world.table, [], ReportSettings(skip_missing=True))


@pytest.mark.parametrize(
    "settings",
    [{"max_fields": -1}, {"cells_per_class": -1}, {"threshold": 1.1}, {"field_px": 3}, {"tile_px": 0}],
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"page.{next(iter(settings))} is "):
        ReportSettings(**settings)
