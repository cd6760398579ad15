"""Which settings belong to which view."""

from __future__ import annotations

from typing import Any

import pytest

from hpa_cells.cells import CropSettings, FieldViewSettings, SquareSettings
from hpa_cells.training.view import ViewSettings

SQUARES: dict[str, Any] = {"size_px": 32, "num_training": 4, "num_predicted": 2, "seed": 0}


def test_each_view_shows_what_it_says() -> None:
    crops = CropSettings(size_px=16)
    assert ViewSettings(kind="crops").shown(crops) is crops
    whole = ViewSettings(kind="field", um_per_px=0.3, masked=False)
    assert whole.shown(crops) == FieldViewSettings(um_per_px=0.3, masked=False)
    assert whole.squares is None
    squares = ViewSettings(kind="squares", um_per_px=0.3, **SQUARES)
    assert squares.shown(crops) == SquareSettings(um_per_px=0.3, field_px=None, **SQUARES)
    assert squares.field is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "tiles"}, "view.kind is 'tiles': use view=crops or view=field or view=squares"),
        (
            {"kind": "crops", "seed": 0},
            "view.seed is 0, but view=crops has no such setting: use view=squares",
        ),
        ({"kind": "crops", "um_per_px": 0.3}, "no such setting: use view=field or view=squares"),
        (
            {"kind": "field", "um_per_px": 0.3, "masked": True, "size_px": 9},
            "view.size_px is 9, but view=field",
        ),
        ({"kind": "field", "masked": True}, "view.um_per_px is null: view=field needs a value"),
        ({"kind": "squares", **SQUARES, "stride": 8}, "view.stride is 8, but view=squares"),
        ({"kind": "squares", **SQUARES, "masked": False}, "view.masked is False, but view=squares"),
        ({"kind": "squares", **SQUARES, "seed": None}, "view.seed is null: view=squares needs a value"),
    ],
)
def test_settings_of_other_views(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewSettings(**settings)


@pytest.mark.parametrize(
    ("cell_labels", "area", "message"),
    [("table", 0.0, "cell_labels is table"), (None, 9.0, "area_weight goes up to 9.0 um2")],
)
def test_squares_are_no_cells(cell_labels: str | None, area: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}, but view=squares knows no cells"):
        ViewSettings(kind="squares", **SQUARES).check_cells(cell_labels, area)
    ViewSettings(kind="crops").check_cells(cell_labels, area)
    ViewSettings(kind="squares", **SQUARES).check_cells(None, 0.0)
