from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import hpa_cells.explore.figures as figures
from hpa_cells.classes import CLASS_SETS, ClassSet
from hpa_cells.explore import (
    channel_statistics,
    co_occurrence,
    label_counts,
    write_intensity_figure,
    write_label_figure,
)
from hpa_cells.explore.anomalies import ANOMALY_COLUMNS
from hpa_cells.fields import LabelTable
from hpa_cells.types import Channel, Field


@pytest.mark.parametrize("class_set", CLASS_SETS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("num_fields", [0, 50])
def test_the_figure_of_labels_is_drawn(tmp_path: Path, class_set: ClassSet, num_fields: int) -> None:
    labels = np.random.default_rng(0).random((num_fields, len(class_set))) < 0.1
    table = LabelTable(class_set=class_set, field_ids=tuple(map(str, range(num_fields))), labels=labels)
    write_label_figure(label_counts(table), co_occurrence(table), class_set, tmp_path / "labels.png")
    assert cv2.imread(str(tmp_path / "labels.png")).std() > 5


@pytest.mark.parametrize("num_fields", [1, 40])
def test_the_figure_of_intensities_is_drawn(tmp_path: Path, num_fields: int) -> None:
    rows = []
    for number in range(num_fields):
        image = np.random.default_rng(number).integers(0, 200, (4, 9, 9), dtype=np.uint8)
        field = Field(field_id=str(number), image=image, pixel_size_um=1.0, missing=frozenset({Channel.ER}))
        rows += [channel_statistics(field, channel) for channel in Channel]
    odd = pd.DataFrame([("0", "red", "outlier", 4.0, "too bright", "")], columns=list(ANOMALY_COLUMNS))
    write_intensity_figure(pd.DataFrame(rows), odd, tmp_path / "intensities.png")
    assert cv2.imread(str(tmp_path / "intensities.png")).std() > 5


@pytest.mark.parametrize("num_odd", [0, 1])
def test_the_figure_of_intensities_tells_what_its_marks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_odd: int
) -> None:
    seen = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: seen.append(figure))
    image = np.random.default_rng(0).integers(0, 200, (4, 9, 9), dtype=np.uint8)
    field = Field(field_id="0", image=image, pixel_size_um=1.0)
    rows = pd.DataFrame([channel_statistics(field, channel) for channel in Channel])
    odd = pd.DataFrame([("0", "red", "outlier", 4.0, "", "")], columns=list(ANOMALY_COLUMNS)).head(num_odd)
    write_intensity_figure(rows, odd, tmp_path / "intensities.png")
    (title,) = seen[0].texts
    assert "each dot is a field, each bar their median" in title.get_text()
    assert ("ringed: of unusual brightness" in title.get_text()) == bool(num_odd)
    renderer = FigureCanvasAgg(seen[0]).get_renderer()
    assert title.get_window_extent(renderer).x1 < seen[0].bbox.x1
