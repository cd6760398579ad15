"""What the true labels of a field are worth at cell level, on hand-labelled real cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from hpa_cells.metrics import (
    average_precision_of_matches,
    challenge_average_precision,
    mean_average_precision,
)
from hpa_cells.table import CellTable

NUM_CLASSES = 19


def one_hot(labels: pd.Series[str]) -> NDArray[np.float32]:
    """(N, 19), from labels split by a semicolon."""
    values = np.zeros((len(labels), NUM_CLASSES), dtype=np.float32)
    for row, names in zip(values, labels, strict=True):
        row[[int(name) for name in names.split(";")]] = 1
    return values


def read_quarter(path: Path) -> NDArray[np.int32]:
    """Every fourth pixel of a label image."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::4, ::4].astype(np.int32)


@pytest.fixture(scope="module")
def real_cells(real_data: Path) -> pd.DataFrame:
    path = real_data / "cell_labels" / "cell_labels.csv"
    cells = pd.read_csv(path, dtype={"image_labels": str, "cell_labels": str})
    return cells.sort_values(["field_id", "cell_id"], ignore_index=True)


def test_true_field_labels_on_true_masks(
    real_cells: pd.DataFrame, real_data: Path, make_table: Callable[..., CellTable]
) -> None:
    """Each cell is given its field's labels with confidence 1, and is no detection of the other classes.

    On 328 fields with 5,090 cells this scores 0.575; these are 162 of them with 2,274 cells. The masks are
    read at a quarter of their size.
    """
    folder = real_data / "cell_labels" / "masks"
    paths = [folder / f"{name}.png" for name in sorted(set(real_cells["field_id"]))]
    images = {path.stem: read_quarter(path) for path in paths}
    confidences = one_hot(real_cells["image_labels"])
    confidences[confidences == 0] = np.nan
    predicted = make_table(images, confidences)
    truth = make_table(images, one_hot(real_cells["cell_labels"]))
    assert truth.cells["cell_id"].tolist() == real_cells["cell_id"].tolist()

    scores = challenge_average_precision(predicted, truth, ties="average")
    assert len(truth.cells) == 2274
    assert mean_average_precision(scores) == pytest.approx(0.649, abs=0.005)
    expected = {
        "mitotic_spindle": 0.077,
        "centrosome": 0.269,
        "nucleoli_fibrillar_center": 0.436,
        "golgi_apparatus": 0.543,
        "nuclear_bodies": 0.561,
        "vesicles": 0.629,
        "cytosol": 0.783,
        "nuclear_speckles": 0.859,
        "negative": 0,
    }
    areas = scores.set_index("class_key")["ap"]
    assert areas[list(expected)].tolist() == pytest.approx(list(expected.values()), abs=0.03)
    assert (scores["ap_worst"] <= scores["ap"]).all()
    assert (scores["ap"] <= scores["ap_best"]).all()


def test_the_same_without_masks(real_cells: pd.DataFrame) -> None:
    """On the true masks each detection meets its own cell, so labels and confidences are enough."""
    given, shown = one_hot(real_cells["image_labels"]) == 1, one_hot(real_cells["cell_labels"]) == 1
    areas = [
        average_precision_of_matches(
            np.ones(given[:, index].sum()),
            shown[given[:, index], index],
            int(shown[:, index].sum()),
            ties="average",
        )
        for index in range(NUM_CLASSES)
    ]
    assert np.mean(areas) == pytest.approx(0.649, abs=0.005)
