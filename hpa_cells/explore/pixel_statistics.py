"""A field in numbers: the intensities of each channel, and a fingerprint to tell copies by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.types import Channel, Field

__all__ = [
    "HISTOGRAM_LEVELS",
    "QUANTILES",
    "FieldStatistics",
    "channel_statistics",
    "field_statistics",
    "fingerprint",
    "histogram",
]

# Column -> share of the pixels that are at most so bright.
QUANTILES = {"q01": 0.01, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q99": 0.99, "q999": 0.999}
# Where the histogram is cut, of what the data type holds: equal steps on a log scale, the least one of 8 bits.
HISTOGRAM_LEVELS = np.geomspace(1 / 255, 1, 24)
_FINGERPRINT_SIDE = 8
_MARGIN = 0.02
_ROUNDING = 1e-4  # of sums in 32-bit floats, amply


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldStatistics:
    """A field in numbers.

    Attributes
    ----------
    field_id
        The field.
    channels
        One row a channel, see `channel_statistics`.
    fingerprint
        (4,) uint64, see `fingerprint`.
    digest
        Equal for fields whose pixels are equal, and for no others.
    histogram
        (4, B) float32, see `histogram`.
    """

    field_id: str
    channels: list[dict[str, Any]]
    fingerprint: NDArray[np.uint64]
    digest: str
    histogram: NDArray[np.float32]


def field_statistics(field: Field) -> FieldStatistics:
    """Everything that exploring needs to know of a field, so that its pixels can be let go."""
    digest = hashlib.blake2b(f"{field.image.dtype} {field.image.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(field.image).data)
    return FieldStatistics(
        field_id=field.field_id,
        channels=[channel_statistics(field, channel) for channel in Channel],
        fingerprint=fingerprint(field),
        digest=digest.hexdigest(),
        histogram=histogram(field),
    )


def channel_statistics(field: Field, channel: Channel) -> dict[str, Any]:
    """The intensities of a channel.

    Returns
    -------
    ``field_id``, ``channel`` (its colour), ``is_missing``, ``height_px``, ``width_px``, ``num_bits``,
    ``pixel_size_um``; then intensities in [0, 1] of what the data type holds: ``mean``, the `QUANTILES` (the
    smallest value that so many pixels do not exceed), ``max``; ``saturated_share`` of pixels at the top of
    the data type. For a missing channel the intensities are NaN.
    """
    row: dict[str, Any] = {
        "field_id": field.field_id,
        "channel": channel.color,
        "is_missing": channel in field.missing,
        "height_px": field.height_px,
        "width_px": field.width_px,
        "num_bits": field.image.dtype.itemsize * 8,
        "pixel_size_um": field.pixel_size_um,
    }
    if channel in field.missing:
        return row | dict.fromkeys(("mean", *QUANTILES, "max", "saturated_share"), np.nan)
    counts = np.bincount(field.image[channel].ravel(), minlength=field.max_value + 1)
    num_pixels = field.height_px * field.width_px
    not_above = np.cumsum(counts)
    ranks = np.ceil(np.array(list(QUANTILES.values())) * num_pixels)
    quantiles = np.searchsorted(not_above, ranks) / field.max_value
    return row | {
        "mean": float(counts @ np.arange(len(counts)) / num_pixels / field.max_value),
        **dict(zip(QUANTILES, quantiles.tolist(), strict=True)),
        "max": float(np.flatnonzero(counts)[-1] / field.max_value),
        "saturated_share": float(counts[-1] / num_pixels),
    }


def histogram(field: Field) -> NDArray[np.float32]:
    """The colour histogram, cumulated: the share of each channel's pixels up to each of `HISTOGRAM_LEVELS`.

    Cumulated, histograms that are shifted a little differ a little, which the plain ones do not.

    Returns
    -------
    (4, B) float32 in [0, 1], the last column 1; NaN for a missing channel.
    """
    # A level that is a value of the data type counts that value; rounding must not lose it.
    last_counted = np.floor(HISTOGRAM_LEVELS * field.max_value + 1e-6).astype(np.int64)
    shares = np.full((len(Channel), len(last_counted)), np.nan, dtype=np.float32)
    for channel in Channel:
        if channel not in field.missing:
            counts = np.bincount(field.image[channel].ravel(), minlength=field.max_value + 1)
            shares[channel] = np.cumsum(counts)[last_counted] / field.image[channel].size
    return shares


def fingerprint(field: Field) -> NDArray[np.uint64]:
    """Bits that stay nearly the same when a field is resized, brightened, compressed or stored in other bits.

    Each channel is averaged down to 8 rows of 9 pixels; a bit says whether a pixel is clearly brighter than
    its left neighbour, by a fiftieth of the channel's range.

    Returns
    -------
    (4,) uint64, one a channel; 0 for one that is missing or all of one value.
    """
    side = _FINGERPRINT_SIDE
    small = np.stack(
        [
            cv2.resize(channel.astype(np.float32), (side + 1, side), interpolation=cv2.INTER_AREA)
            for channel in field.image
        ]
    )
    # Without a margin the bits of a dark background would be those of its noise, or of rounding.
    range_, top = np.ptp(small, axis=(1, 2), keepdims=True), small.max(axis=(1, 2), keepdims=True)
    margins = np.maximum(_MARGIN * range_, _ROUNDING * top)
    bits = np.diff(small, axis=2) > margins
    return np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint64).ravel()
