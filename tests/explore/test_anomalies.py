from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hpa_cells.explore import AnomalySettings, FieldStatistics, field_statistics, find_anomalies
from hpa_cells.explore.anomalies import ANOMALY_COLUMNS, _beyond_quartiles, _distances
from hpa_cells.types import Channel, Field

SETTINGS = AnomalySettings(
    min_contrast=0.02,
    max_saturated_share=0.05,
    max_ranges=3.0,
    max_histogram_deviation=3.5,
    max_copy_distance=0.2,
)


def image_of(seed: int) -> np.ndarray:
    """(4, 60, 80) uint8: a dark background with a few bright squares."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 12, (4, 60, 80)).astype(np.uint8)
    for channel in range(4):
        for y, x in rng.integers(0, 50, (8, 2)):
            image[channel, y : y + 9, x : x + 9] = rng.integers(120, 200)
    return image


def statistics_of(
    field_id: str, image: np.ndarray, missing: frozenset[Channel] = frozenset()
) -> FieldStatistics:
    return field_statistics(Field(field_id=field_id, image=image, pixel_size_um=0.1, missing=missing))


@pytest.fixture
def usual() -> list[FieldStatistics]:
    return [statistics_of(f"u{number:02d}", image_of(number)) for number in range(24)]


def kinds(found: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(zip(found["field_id"], found["channel"], found["kind"], strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_contrast", 1.1),
        ("max_saturated_share", -0.1),
        ("max_ranges", -1.0),
        ("max_histogram_deviation", float("nan")),
        ("max_copy_distance", 2.0),
    ],
)
def test_a_limit_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"anomalies\.{name} is {value}: give"):
        replace(SETTINGS, **{name: value})


def test_usual_fields_have_no_anomaly(usual: list[FieldStatistics]) -> None:
    found = find_anomalies(usual, SETTINGS)
    assert found.empty
    assert tuple(found.columns) == ANOMALY_COLUMNS


def test_an_odd_channel_is_told_by_field_color_and_kind(usual: list[FieldStatistics]) -> None:
    empty, saturated, dim, gone = (image_of(seed) for seed in range(100, 104))
    empty[Channel.PROTEIN] = np.random.default_rng(0).integers(5, 8, (60, 80))
    saturated[Channel.MICROTUBULES, :20] = 255
    dim[Channel.NUCLEUS] //= 12
    gone[Channel.ER] = 0
    odd = [
        statistics_of("x_empty", empty),
        statistics_of("x_saturated", saturated),
        statistics_of("x_dim", dim),
        statistics_of("x_gone", gone, frozenset({Channel.ER})),
    ]
    found = find_anomalies(usual + odd, SETTINGS)
    assert set(found.loc[found["kind"] == "histogram", "field_id"]) == {"x_dim", "x_empty", "x_saturated"}
    found = found[found["kind"] != "histogram"]
    assert kinds(found) == [
        ("x_dim", "blue", "outlier"),
        ("x_empty", "green", "empty"),
        ("x_empty", "green", "outlier"),
        ("x_gone", "yellow", "missing"),
        ("x_saturated", "red", "saturated"),
    ]
    detail = found["detail"].tolist()
    assert "half of the fields have" in detail[0]
    assert "33.3% of the pixels at the top" in detail[4]


def test_among_few_fields_nothing_is_an_outlier(usual: list[FieldStatistics]) -> None:
    dim = image_of(100)
    dim[Channel.NUCLEUS] //= 12
    assert find_anomalies([*usual[:10], statistics_of("x", dim)], SETTINGS).empty


def test_copies_are_told_with_what_they_copy(usual: list[FieldStatistics]) -> None:
    near = (image_of(3) * 0.8).astype(np.uint8)
    found = find_anomalies([*usual, replace(usual[5], field_id="z"), statistics_of("y", near)], SETTINGS)
    found = found[found["other_field"] != ""]
    assert found["other_field"].tolist() == ["u03", "u05"]
    assert kinds(found) == [("y", "all", "near_copy"), ("z", "all", "copy")]
    assert found["detail"].tolist()[1] == "the same pixels as u05"
    assert found["detail"].tolist()[0].endswith("like that of u03")


def test_colours_taken_together_may_be_odd_where_each_brightness_is_usual(
    usual: list[FieldStatistics],
) -> None:
    """Half of the pixels at a brightness that no other field has between its background and its squares."""
    middle = image_of(103)
    middle[Channel.ER, 10:40] = np.where(middle[Channel.ER, 10:40] < 20, 40, middle[Channel.ER, 10:40])
    settings = replace(SETTINGS, max_ranges=1e9)
    found = find_anomalies([*usual, statistics_of("x", middle)], settings)
    assert kinds(found) == [("x", "all", "histogram")]
    assert found["detail"].iloc[0].endswith("most of all yellow")
    assert found["value"].iloc[0] > settings.max_histogram_deviation
    assert find_anomalies([*usual[:10], statistics_of("x", middle)], settings).empty


def test_a_channel_that_all_fields_lack_is_in_no_histogram() -> None:
    without = frozenset({Channel.ER})
    fields = [statistics_of(f"u{number:02d}", image_of(number), without) for number in range(24)]
    assert set(find_anomalies(fields, SETTINGS)["kind"]) == {"missing"}


def test_black_fields_are_empty_and_not_copies() -> None:
    black = np.zeros((4, 20, 20), np.uint8)
    found = find_anomalies([statistics_of("a", black), statistics_of("b", black)], SETTINGS)
    assert set(found["kind"]) == {"empty"}
    assert len(found) == 8


def test_nothing_has_no_anomaly() -> None:
    assert find_anomalies([], SETTINGS).empty


def test_distance_from_the_middle_half() -> None:
    logs = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [10.0], [-9.0]])
    low, high = np.quantile(logs, [0.25, 0.75])
    expected = [max(x - high, 0) + min(x - low, 0) for x in logs[:, 0]] / (high - low)
    np.testing.assert_allclose(_beyond_quartiles(logs)[:, 0], expected)
    alike = np.full((30, 1), 0.5)
    alike[0] = 0.6
    assert np.abs(_beyond_quartiles(alike)).max() == pytest.approx(0.1 / 0.3)


def test_distance_of_fingerprints() -> None:
    prints = np.array([[0b1111, 0], [0b0011, 0], [0, 0b1]], dtype=np.uint64)
    np.testing.assert_allclose(_distances(prints, prints[0]), [0, 0.5, 1])
