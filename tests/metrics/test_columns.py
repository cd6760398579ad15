from __future__ import annotations

import numpy as np
import pandas as pd

from hpa_cells.metrics import macro_mean


def test_absent_classes_are_left_out() -> None:
    scores = pd.DataFrame({"f1": [np.nan, 0.0, 1.0, np.nan]})
    assert macro_mean(scores, "f1") == 0.5
    assert np.isnan(macro_mean(scores.iloc[[0, 3]], "f1"))
