from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import hpa_cells.explore.field_figures as field_figures
from hpa_cells.explore import (
    cells_of_lines,
    intensities_of_lines,
    write_cell_number_figure,
    write_label_number_figure,
    write_line_figure,
    write_size_figure,
)

LONG = "hTERT-immortalized retinal pigment epithelium, serum starved"


def sizes(number: int) -> pd.DataFrame:
    rows = [(512 + step, 512, 8, 0.08, 1000 - step) for step in range(number)]
    return pd.DataFrame(rows, columns=["height_px", "width_px", "num_bits", "pixel_size_um", "num_fields"])


def per_field(number: int) -> pd.DataFrame:
    return pd.DataFrame({"num_labels": range(number), "num_fields": range(number)})


def line_rows(num_lines: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = [
        {
            "field_id": f"f{line}_{number}",
            "channel": channel,
            "is_missing": channel == "yellow",
            **dict.fromkeys(("mean", "q50", "q99"), np.nan if channel == "yellow" else draw.random()),
        }
        for line in range(num_lines)
        for number in range(2)
        for channel in ("red", "green", "blue", "yellow")
    ]
    lines = {row["field_id"]: f"{LONG} {row['field_id'].split('_')[0]}" for row in rows}
    return intensities_of_lines(pd.DataFrame(rows), lines)


def numbers(num_fields: int, num_lines: int) -> tuple[list[int], pd.DataFrame]:
    cells = pd.DataFrame(
        {"field_id": [f"f{each}" for each in range(num_fields)], "num_cells": np.arange(num_fields) * 7}
    )
    cells["num_cells"] = cells["num_cells"].astype(np.int64)
    lines = {field_id: f"{LONG} {row % max(num_lines, 1)}" for row, field_id in enumerate(cells["field_id"])}
    return cells["num_cells"].tolist(), cells_of_lines(cells, lines if num_lines else {})


@pytest.mark.parametrize("number", [0, 1, 5, 60])
@pytest.mark.parametrize(
    ("write", "rows"), [(write_size_figure, sizes), (write_label_number_figure, per_field)]
)
def test_bars_are_drawn(
    tmp_path: Path, write: Callable[..., None], rows: Callable[[int], Any], number: int
) -> None:
    write(rows(number), tmp_path / "bars.png")
    assert cv2.imread(str(tmp_path / "bars.png")).std() > 3


@pytest.mark.parametrize(("num_fields", "num_lines"), [(0, 0), (1, 0), (1, 1), (300, 1), (90, 45)])
def test_numbers_of_cells_are_drawn(tmp_path: Path, num_fields: int, num_lines: int) -> None:
    write_cell_number_figure(*numbers(num_fields, num_lines), tmp_path / "cells.png")
    picture = cv2.imread(str(tmp_path / "cells.png"))
    assert picture.std() > 3
    # Of one line, or of none that is known, there is nothing to compare.
    assert (picture.shape[0] > 500) == (num_lines > 1)


@pytest.mark.parametrize("num_lines", [1, 45])
def test_cell_lines_are_drawn(tmp_path: Path, num_lines: int) -> None:
    write_line_figure(line_rows(num_lines), tmp_path / "lines.png")
    assert cv2.imread(str(tmp_path / "lines.png")).std() > 3


def test_of_very_many_sizes_the_last_bar_is_of_all_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(field_figures, "_MOST_ROWS", 3)
    seen: list[Any] = []
    monkeypatch.setattr(field_figures, "save_figure", lambda figure, path: seen.append(figure))
    write_size_figure(sizes(5), tmp_path / "sizes.png")
    [axes] = seen[0].get_axes()
    assert [bar.get_width() for bar in axes.patches] == [1000, 999, 998 + 997 + 996]
    assert [text.get_text() for text in axes.get_yticklabels()][-1] == "3 others"
    assert next(text.get_text() for text in axes.texts) == "1,000 (20.0%)"


def test_a_cell_line_has_its_fields_beside_its_name_also_where_none_has_a_channel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(field_figures, "save_figure", lambda figure, path: seen.append(figure))
    write_line_figure(line_rows(3), tmp_path / "lines.png")
    names = [text.get_text() for text in seen[0].get_axes()[0].get_yticklabels()]
    assert [name.split(": ")[1] for name in names] == ["2", "2", "2"]
