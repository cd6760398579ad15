"""Pictures of the statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hpa_cells.classes import ClassSet
from hpa_cells.explore.pixel_statistics import QUANTILES
from hpa_cells.figures import INK, new_figure, save_figure
from hpa_cells.types import Channel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOR_OF_CHANNEL", "FAINT", "write_intensity_figure", "write_label_figure"]

FAINT = "#8a8a8a"
COLOR_OF_CHANNEL = {"red": "#d1495b", "green": "#3f8f4f", "blue": "#3066be", "yellow": "#c9a227"}


def write_label_figure(
    counts: pd.DataFrame, together: pd.DataFrame, class_set: ClassSet, path: Path | str
) -> None:
    """Draw how many fields have each class, and which classes come together.

    Parameters
    ----------
    counts, together
        From `label_counts` and `co_occurrence`.
    class_set
        Gives names and colours.
    path
        A PNG.
    """
    num_classes = len(class_set)
    height_inch = 1.6 + 0.27 * num_classes
    figure = new_figure(7 + 0.36 * num_classes, height_inch)
    left, right = figure.subplots(1, 2, width_ratios=[5, 0.36 * num_classes + 1])
    _draw_counts(left, counts, class_set)
    _draw_together(right, together.to_numpy(), class_set)
    save_figure(figure, path)


def write_intensity_figure(channels: pd.DataFrame, anomalies: pd.DataFrame, path: Path | str) -> None:
    """Draw how bright each channel is over all fields, and mark the outliers.

    Parameters
    ----------
    channels
        One row a field and channel, from `channel_statistics`.
    anomalies
        From `find_anomalies`.
    path
        A PNG.
    """
    figure = new_figure(12, 4.5)
    outliers = anomalies[anomalies["kind"] == "outlier"]
    for channel, axes in zip(Channel, figure.subplots(1, len(Channel), sharey=True), strict=True):
        rows = channels[(channels["channel"] == channel.color) & ~channels["is_missing"]]
        odd = set(outliers.loc[outliers["channel"] == channel.color, "field_id"])
        _draw_intensities(axes, rows, odd, channel)
    figure.get_axes()[0].set_ylabel("brightness, of what the data type holds", fontsize=9)
    ringed = "; ringed: of unusual brightness, see anomalies.csv" if len(outliers) else ""
    figure.suptitle(
        f"From the darkest to the brightest pixels: each dot is a field, each bar their median{ringed}",
        fontsize=10,
        x=0.01,
        ha="left",
        color=INK,
    )
    save_figure(figure, path)


def _draw_counts(axes: Axes, counts: pd.DataFrame, class_set: ClassSet) -> None:
    positions = np.arange(len(class_set))
    # On a log scale, so that a class of ten fields can still be seen beside one of ten thousand.
    axes.barh(positions, counts["num_fields"], color=class_set.colors, height=0.72)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, max(10, counts["num_fields"].max() * 4))
    for position, number in zip(positions, counts["num_fields"], strict=True):
        text, place = f"{number:,}", (number, position)
        axes.annotate(text, place, (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.set_yticks(positions, class_set.names, fontsize=8)
    axes.set_ylim(len(class_set) - 0.4, -0.6)
    axes.set_xlabel("fields", fontsize=9)
    axes.set_title("Fields of each location", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=8)


def _draw_together(axes: Axes, together: np.ndarray, class_set: ClassSet) -> None:
    """A square says: of the fields of its row, this per cent have the class of its column too."""
    per_cent = 100 * together / np.maximum(np.diagonal(together), 1)[:, None]
    np.fill_diagonal(per_cent, np.nan)
    axes.imshow(per_cent, cmap="Blues", vmin=0, vmax=60, aspect="auto")
    for (row, column), value in np.ndenumerate(per_cent):
        if value >= 1:
            color = "white" if value > 35 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=color)
    places = np.arange(len(class_set))
    axes.set_yticks(places, class_set.keys, fontsize=7)
    axes.set_xticks(places, class_set.keys, fontsize=7, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_title("Of the fields of a row, % that have the column's location too", fontsize=10, loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_intensities(axes: Axes, rows: pd.DataFrame, odd: set[str], channel: Channel) -> None:
    """Draw a column of points a quantile, one a field; a bar at the median field, a ring around outliers."""
    rng = np.random.default_rng(0)
    is_odd = rows["field_id"].isin(odd).to_numpy(dtype=bool)
    color = COLOR_OF_CHANNEL[channel.color]
    opacity = float(np.clip(20 / max(len(rows), 1), 0.15, 0.8))
    for position, name in enumerate(QUANTILES):
        values = rows[name].to_numpy()
        spread = position + rng.uniform(-0.28, 0.28, len(values))
        axes.scatter(spread, values, s=9, color=color, alpha=opacity, lw=0)
        axes.scatter(spread[is_odd], values[is_odd], s=26, facecolors="none", edgecolors=INK, lw=0.7)
        if len(values):
            axes.plot([position - 0.36, position + 0.36], [np.median(values)] * 2, color=INK, lw=1.2)
    axes.set_yscale("symlog", linthresh=1 / 255, linscale=0.3)
    axes.set_ylim(-0.0006, 1.25)
    axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"], minor=False)
    axes.set_yticks([], minor=True)
    axes.set_xticks(range(len(QUANTILES)), [f"{100 * share:g} %" for share in QUANTILES.values()], fontsize=8)
    name = "ER" if channel is Channel.ER else channel.name.lower()
    axes.set_title(f"{channel.color}: {name}", fontsize=10, loc="left")
    axes.set_xlabel("pixels that are at most so bright", fontsize=8, color=FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2, labelsize=8)
