from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.prediction import FixedThresholds, RatioThresholds, TunedThresholds
from hpa_cells.table import CellTable, Column, Provenance

HPA2021 = get_class_set("hpa2021")


def table_of(field_probabilities: np.ndarray, **settings: object) -> CellTable:
    columns = Column.probabilities(HPA2021)
    fields = pd.DataFrame(field_probabilities, columns=columns)
    fields[Column.FIELD_ID] = [f"f{row}" for row in fields.index]
    return CellTable(
        cells=pd.DataFrame(),
        fields=fields,
        class_set=HPA2021,
        provenance=Provenance(version="1", class_set="hpa2021", source="model", settings=settings),
    )


ANY = table_of(np.zeros((2, 19)))


def test_fixed() -> None:
    np.testing.assert_array_equal(FixedThresholds(value=0.3).of(ANY), np.full(19, 0.3))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_fixed_threshold_is_a_probability(value: float) -> None:
    with pytest.raises(ValueError, match=f"thresholds.value is {value}: give a probability from 0 to 1"):
        FixedThresholds(value=value)


def test_tuned_ones_travel_with_the_table() -> None:
    tuned = {key: index / 20 for index, key in enumerate(HPA2021.keys)} | {"nucleoli": None}
    thresholds = TunedThresholds(fallback=0.25).of(table_of(np.zeros((2, 19)), thresholds=tuned))
    expected = np.arange(19) / 20
    expected[2] = 0.25
    np.testing.assert_array_equal(thresholds, expected)


def test_a_table_without_tuned_ones_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    np.testing.assert_array_equal(TunedThresholds(fallback=0.4).of(ANY), np.full(19, 0.4))
    assert "carries no tuned thresholds: taking 0.4 for all classes" in caplog.text


def test_ratios_are_those_of_the_training_labels(tmp_path: Path) -> None:
    """Nucleoplasm on half of the training fields, cytosol on a quarter; a field without cells is left out."""
    path = tmp_path / "train.csv"
    path.write_text("ID,Label\na,0\nb,0|16\nc,1\nd,1\n")
    probabilities = np.random.default_rng(0).random((41, 19), dtype=np.float32)
    probabilities[-1] = np.nan
    thresholds = RatioThresholds(labels=str(path)).of(table_of(probabilities))
    called = (probabilities[:-1] >= thresholds).mean(axis=0)
    np.testing.assert_allclose(called[[0, 1, 16, 5]], [0.5, 0.5, 0.25, 0])


def test_ratios_need_fields_with_cells(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ID,Label\na,0\n")
    with pytest.raises(ValueError, match="There are no rows to match label ratios on"):
        RatioThresholds(labels=str(tmp_path / "train.csv")).of(table_of(np.full((2, 19), np.nan)))
