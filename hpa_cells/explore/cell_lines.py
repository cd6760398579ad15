"""Intensities and labels of each cell line: what differs between lines is no fault of a field."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from hpa_cells.fields import LabelTable

__all__ = ["UNKNOWN_LINE", "intensities_of_lines", "labels_of_lines", "lines_by_size"]

UNKNOWN_LINE = "not known"

_INTENSITIES = ("mean", "q50", "q99")
_SHARES = {"low": 0.25, "median": 0.5, "high": 0.75}


def lines_by_size(lines: pd.Series) -> list[str]:
    """The cell lines that occur, that of the most rows first; rows without a known one last."""
    counts = lines.value_counts()
    names = sorted(counts.index, key=lambda name: (name == UNKNOWN_LINE, -counts[name], name))
    return [str(name) for name in names]


def intensities_of_lines(channels: pd.DataFrame, line_of: Mapping[str, str]) -> pd.DataFrame:
    """How bright each channel is in the fields of each cell line.

    Parameters
    ----------
    channels
        One row a field and channel, see `hpa_cells.explore.channel_statistics`.
    line_of
        The cell line of each field; those that it lacks are together.

    Returns
    -------
    One row a cell line and channel, the line of the most fields first: ``cell_line``, ``channel``, ``num_fields`` that
    have the channel, and the quartiles of these fields' ``mean``, ``q50`` and ``q99``, such as ``q99_low``,
    ``q99_median`` and ``q99_high``; NaN where no field has the channel.
    """
    known = channels.assign(cell_line=channels["field_id"].map(line_of).fillna(UNKNOWN_LINE))
    rows = []
    for line in lines_by_size(known.drop_duplicates("field_id")["cell_line"]):
        for channel, own in known[known["cell_line"] == line].groupby("channel", sort=False):
            seen = own[~own["is_missing"]]
            values = {name: seen[name].to_numpy(dtype=np.float64) for name in _INTENSITIES}
            rows.append(
                {
                    "cell_line": line,
                    "channel": channel,
                    "num_fields": len(seen),
                    **{
                        f"{name}_{part}": float(np.quantile(values[name], share)) if len(seen) else math.nan
                        for name in _INTENSITIES
                        for part, share in _SHARES.items()
                    },
                }
            )
    return pd.DataFrame(rows)


def labels_of_lines(table: LabelTable, line_of: Mapping[str, str]) -> pd.DataFrame:
    """How many fields of each cell line have each label.

    Returns
    -------
    One row a cell line, that of the most fields first: ``cell_line``, ``num_fields``, and the number of fields of each
    class by its key.
    """
    lines = pd.Series([line_of.get(field_id, UNKNOWN_LINE) for field_id in table.field_ids], dtype=object)
    names = lines_by_size(lines)
    counts = [table.labels[(lines == name).to_numpy()].sum(axis=0) for name in names]
    numbers = np.reshape(counts, (len(names), len(table.class_set))).astype(np.int64)
    return pd.DataFrame(
        {"cell_line": names, "num_fields": [int((lines == name).sum()) for name in names]}
        | dict(zip(table.class_set.keys, numbers.T, strict=True))
    )
