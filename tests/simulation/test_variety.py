from __future__ import annotations

from dataclasses import fields, replace

import pytest

from hpa_cells.simulation import Variety


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side_px", 8),
        ("um_per_px", 0.0),
        ("um_per_px", float("nan")),
        ("most_photons", float("inf")),
        ("lowest_gain", -1.0),
        ("seed", -1),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Variety: {name} is {value}, expected a number from"):
        replace(Variety(), **{name: value})


@pytest.mark.parametrize("name", [each.name for each in fields(Variety) if each.name.endswith("_share")])
def test_every_share_is_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 1.5, expected a number from 0.0 to 1.0"):
        replace(Variety(), **{name: 1.5})


def test_a_range_that_is_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lowest_blur is 6\.0 and highest_blur 5\.0: swap them"):
        Variety(lowest_blur=6.0)


def test_shares_of_what_excludes_each_other_are_one_or_less_together() -> None:
    with pytest.raises(ValueError, match=r"empty_share, debris_only_share add up to 1\.2"):
        Variety(empty_share=0.6, debris_only_share=0.6)
    assert Variety(missing_share=0.5, dead_share=0.3, nuclei_only_share=0.2)
