from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpa_cells.training.logs import ContinuedCSVLogger


def write(folder: Path, *rows: tuple[int, dict[str, float]]) -> pd.DataFrame:
    """The file after one more start of a training that logs these rows."""
    logger = ContinuedCSVLogger(folder, name="logs", version="csv")
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.finalize("success")
    return pd.read_csv(folder / "logs" / "csv" / "metrics.csv").set_index("step")


def test_a_later_start_goes_on_in_the_file(tmp_path: Path) -> None:
    write(tmp_path, (0, {"loss": 3.0}), (1, {"loss": 2.0}))
    assert write(tmp_path, (2, {"loss": 1.0}))["loss"].to_dict() == {0: 3, 1: 2, 2: 1}


def test_steps_done_again_are_there_once(tmp_path: Path) -> None:
    write(tmp_path, (9, {"loss": 3.0}), (19, {"loss": 2.0}), (19, {"ap": 0.5}), (29, {"loss": 9.0}))
    found = write(tmp_path, (19, {"loss": 2.5}), (19, {"ap": 0.25}), (29, {"loss": 1.0}))
    assert found["loss"].dropna().to_dict() == {9: 3, 19: 2.5, 29: 1}
    assert found["ap"].dropna().to_dict() == {19: 0.25}


def test_columns_may_be_new_and_may_stay_away(tmp_path: Path) -> None:
    write(tmp_path, (0, {"loss": 3.0, "rate": 0.5}))
    found = write(tmp_path, (1, {"ap": 0.25}), (1, {"loss": 2.0}))
    assert found["rate"].dropna().to_dict() == {0: 0.5}
    assert found["ap"].dropna().to_dict() == {1: 0.25}
    assert found["loss"].dropna().to_dict() == {0: 3, 1: 2}


def test_a_start_without_a_row_leaves_the_file(tmp_path: Path) -> None:
    before = write(tmp_path, (0, {"loss": 3.0}))
    logger = ContinuedCSVLogger(tmp_path, name="logs", version="csv")
    logger.log_hyperparams({"seed": 1})
    pd.testing.assert_frame_equal(write(tmp_path), before)
