from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.training.outcome import validation_metrics

CLASS_SET = get_class_set("hpa2021")


def test_a_model_that_went_astray_is_told() -> None:
    probabilities = np.full((4, 19), 0.5, dtype=np.float32)
    probabilities[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"no numbers \(NaN\): train again with resume=false"):
        validation_metrics(probabilities, np.ones((4, 19), dtype=bool), CLASS_SET)


def test_thresholds_call_the_fields_they_were_tuned_on() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((200, 19)) < 0.3
    probabilities = (labels * 0.5 + rng.random((200, 19)) * 0.5).astype(np.float32)
    thresholds, metrics = validation_metrics(probabilities, labels, CLASS_SET)
    assert ((probabilities >= thresholds) == labels).mean() > 0.99
    assert metrics["macro_average_precision"] == pytest.approx(1)
    assert metrics["macro_f1_at_tuned_thresholds"] == pytest.approx(1, abs=0.01)
    assert metrics["validation_fields"] == 200


def test_a_class_that_no_field_has_is_not_measured() -> None:
    labels = np.zeros((4, 19), dtype=bool)
    labels[:2, 0] = True
    probabilities = np.full((4, 19), 0.2, dtype=np.float32)
    thresholds, metrics = validation_metrics(probabilities, labels, CLASS_SET)
    assert metrics["average_precision"]["nucleoplasm"] == 0.5
    assert metrics["average_precision"]["negative"] is None
    assert metrics["fields_of_class"]["negative"] == 0
    assert metrics["fields_of_class"]["nucleoplasm"] == labels[:, 0].sum() > 0
    assert thresholds[1] == pytest.approx(0.5)
    assert metrics["macro_average_precision"] == 0.5
