"""Fields to look at before training: empty, saturated, unlike the others, or there twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.explore.neighbours import deviations, nearest
from hpa_cells.explore.pixel_statistics import FieldStatistics

__all__ = ["ANOMALY_COLUMNS", "AnomalySettings", "find_anomalies"]

ANOMALY_COLUMNS = ("field_id", "channel", "kind", "value", "detail", "other_field")

# Below, one cannot say what is usual.
_FEWEST_FIELDS = 20
_OUTLIER_QUANTILES = ("q50", "q99", "q999")
# In powers of ten, that is a factor of two: where fields are all alike, the least difference is no outlier.
_NARROWEST = 0.3
# Differences below one step of 8 bits are no difference.
_DARKEST = 1 / 255
# A histogram is as odd as its 5th nearest is far, so that four odd ones that are alike are still odd; of very many
# fields, a sample is compared with.
_NEIGHBOURS = 5
# In parts of the median distance: where fields are all alike, the least difference is no outlier.
_LEAST_DISTANCE = 2.0
_REFERENCE_FIELDS = 20_000


@dataclass(kw_only=True)
class AnomalySettings:
    """From where on something is told.

    Attributes
    ----------
    min_contrast
        A channel is empty when its 99.9 % quantile is not this far above its median, in [0, 1] of what the
        data type holds.
    max_saturated_share
        Share of pixels at the top of the data type that is still fine.
    max_ranges
        How far from the middle half of all fields an intensity may lie, in widths of that half on a log
        scale; 3 is Tukey's "far out" [1]_.
    max_histogram_deviation
        How many robust standard deviations the distance of a colour histogram to its 5th nearest may lie above the
        median, see `hpa_cells.explore.neighbours.deviations`.
    max_copy_distance
        Fields are near copies when of the bits that either fingerprint has, at most this share is not in
        both. Resized, brightened or compressed copies stay below 0.15; unlike fields have about 0.8. At -1
        there are none.

    References
    ----------
    .. [1] Tukey: Exploratory Data Analysis. Addison-Wesley 1977, chapter 2.
    """

    min_contrast: float
    max_saturated_share: float
    max_ranges: float
    max_histogram_deviation: float
    max_copy_distance: float

    def __post_init__(self) -> None:
        ranges = {"min_contrast": (0, 1), "max_saturated_share": (0, 1), "max_copy_distance": (-1, 1)}
        for name in (*ranges, "max_ranges", "max_histogram_deviation"):
            least, most = ranges.get(name, (0, math.inf))
            if not least <= getattr(self, name) <= most:
                wanted = f"{least} or more" if most == math.inf else f"a number from {least} to {most}"
                raise ValueError(f"anomalies.{name} is {getattr(self, name)}: give {wanted}.")


def find_anomalies(statistics: Sequence[FieldStatistics], settings: AnomalySettings) -> pd.DataFrame:
    """What is odd about some fields.

    Parameters
    ----------
    statistics
        All fields.
    settings
        From where on something is odd.

    Returns
    -------
    One row a finding, by field: ``field_id``, ``channel`` (a colour, or ``all``), ``kind``, ``value``, ``detail``, the
    finding in words, and ``other_field``, empty but for copies. Kinds: ``missing``; ``empty`` (as it must be in green
    where no protein is found); ``saturated``; ``outlier``, a brightness, and ``histogram``, all of them taken together
    (with fewer than 20 fields nothing is one of these two); ``copy`` (equal pixels) and ``near_copy``, each told of
    the later field.
    """
    channels = pd.DataFrame([row for field in statistics for row in field.channels])
    if channels.empty:
        return pd.DataFrame(columns=list(ANOMALY_COLUMNS))
    findings = [
        *_missing(channels),
        *_empty(channels, settings.min_contrast),
        *_saturated(channels, settings.max_saturated_share),
        *_outliers(channels, settings.max_ranges),
        *_odd_histograms(statistics, settings.max_histogram_deviation),
        *_copies(statistics, settings.max_copy_distance),
    ]
    rows = pd.DataFrame(findings, columns=list(ANOMALY_COLUMNS))
    return rows.sort_values(["field_id", "kind", "channel"], ignore_index=True)


_Finding = tuple[str, str, str, float, str, str]


def _missing(channels: pd.DataFrame) -> Iterator[_Finding]:
    found = channels[channels["is_missing"]]
    for field_id, color in zip(found["field_id"], found["channel"], strict=True):
        yield field_id, color, "missing", math.nan, "no file", ""


def _empty(channels: pd.DataFrame, min_contrast: float) -> Iterator[_Finding]:
    contrasts = channels["q999"] - channels["q50"]
    found = channels[contrasts < min_contrast]
    for field_id, color, contrast in zip(
        found["field_id"], found["channel"], contrasts[found.index], strict=True
    ):
        detail = f"brightest 0.1 % only {contrast:.4f} above the median"
        yield field_id, color, "empty", contrast, detail, ""


def _saturated(channels: pd.DataFrame, max_share: float) -> Iterator[_Finding]:
    found = channels[channels["saturated_share"] > max_share]
    for field_id, color, share in zip(
        found["field_id"], found["channel"], found["saturated_share"], strict=True
    ):
        detail = f"{share:.1%} of the pixels at the top of the data type"
        yield field_id, color, "saturated", share, detail, ""


def _outliers(channels: pd.DataFrame, max_ranges: float) -> Iterator[_Finding]:
    """For each field and channel its most unusual quantile, where it is unusual enough."""
    names = list(_OUTLIER_QUANTILES)
    for color, rows in channels[~channels["is_missing"]].groupby("channel", sort=False):
        if len(rows) < _FEWEST_FIELDS:
            continue
        usual = np.quantile(rows[names].to_numpy(), [0.25, 0.75], axis=0)
        distances = _beyond_quartiles(np.log10(rows[names].to_numpy() + _DARKEST))
        worst = np.abs(distances).argmax(axis=1)
        for row in np.flatnonzero(np.abs(distances).max(axis=1) > max_ranges):
            column = worst[row]
            low, high = usual[:, column]
            found = rows[names[column]].iloc[row]
            detail = f"{names[column]} is {found:.3f}; half of the fields have {low:.3f} to {high:.3f}"
            yield rows["field_id"].iloc[row], str(color), "outlier", float(distances[row, column]), detail, ""


def _beyond_quartiles(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each value lies above (or, negative, below) the middle half of its column, in its widths.

    Unlike standard deviations this holds for skewed columns too: a dark background is common in green.
    """
    low, high = np.quantile(logs, [0.25, 0.75], axis=0)
    above, below = np.maximum(logs - high, 0), np.minimum(logs - low, 0)
    distances: NDArray[np.float64] = (above + below) / np.maximum(high - low, _NARROWEST)
    return distances


def _odd_histograms(statistics: Sequence[FieldStatistics], max_deviation: float) -> Iterator[_Finding]:
    """Each field whose colour histogram is far from those of all others.

    The Euclidean distance of cumulated histograms is Cramér's, here on a log scale of brightness.
    """
    if len(statistics) < _FEWEST_FIELDS:
        return
    histograms = np.stack([field.histogram for field in statistics])
    # A missing channel is told as such, and is as usual here; one that all fields lack tells nothing.
    is_known = ~np.isnan(histograms)
    usual = np.zeros(histograms.shape[1:], dtype=np.float32)
    for channel in np.flatnonzero(is_known.any(axis=(0, 2))):
        usual[channel] = np.nanmedian(histograms[:, channel], axis=0)
    vectors = np.where(is_known, histograms, usual).reshape(len(statistics), -1)
    size = min(len(vectors), _REFERENCE_FIELDS)
    sample = np.sort(np.random.default_rng(0).choice(len(vectors), size, replace=False))
    distances, _ = nearest(vectors, sample, _NEIGHBOURS)
    farthest = distances[:, -1]
    unusual = np.where(farthest > _LEAST_DISTANCE * np.median(farthest), deviations(farthest), 0)
    channels = [row["channel"] for row in statistics[0].channels]
    for row in np.flatnonzero(unusual > max_deviation):
        apart = np.square(vectors[row].reshape(usual.shape) - usual).sum(axis=1)
        detail = (
            f"its colours are unlike those of the other fields, most of all {channels[int(apart.argmax())]}"
        )
        yield statistics[int(row)].field_id, "all", "histogram", float(unusual[row]), detail, ""


def _copies(statistics: Sequence[FieldStatistics], max_distance: float) -> Iterator[_Finding]:
    """Each field that is like an earlier one, with the earlier one it is most like."""
    # A fingerprint of zeros is a field of one value: it tells nothing.
    fields = [field for field in statistics if field.fingerprint.any()]
    fields.sort(key=lambda field: field.field_id)
    prints = np.array([field.fingerprint for field in fields], dtype=np.uint64)
    first_of_digest: dict[str, str] = {}
    for row, field in enumerate(fields):
        first = first_of_digest.setdefault(field.digest, field.field_id)
        if first != field.field_id:
            yield field.field_id, "all", "copy", 0.0, f"the same pixels as {first}", first
        elif row > 0:
            distances = _distances(prints[:row], prints[row])
            closest = int(distances.argmin())
            if distances[closest] <= max_distance:
                other = fields[closest].field_id
                detail = f"fingerprint {1 - distances[closest]:.0%} like that of {other}"
                yield field.field_id, "all", "near_copy", float(distances[closest]), detail, other


def _distances(prints: NDArray[np.uint64], one: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Share of the bits of either that are not in both (Jaccard's distance), (N,) from (N, 4) and (4,)."""
    in_one_only = np.bitwise_count(prints ^ one).sum(axis=1)
    in_either = np.bitwise_count(prints | one).sum(axis=1)
    shares: NDArray[np.float64] = in_one_only / in_either
    return shares
