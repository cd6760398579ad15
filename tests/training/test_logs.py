from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpa_cells.training.logs import ContinuedCSVLogger


def write(folder: Path, *rows: tuple[int, dict[str, float]], num_rows: int = 0) -> pd.DataFrame:
    """The file after one more start of a training that logs these rows, from a state of so many rows."""
    logger = ContinuedCSVLogger(folder, name="logs", version="csv")
    logger.go_on_from(num_rows)
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


def test_of_a_step_of_several_batches_those_before_the_state_stay(tmp_path: Path) -> None:
    # The state is of the second row: a validation between two batches of one step.
    write(tmp_path, (4, {"loss": 3.0}), (4, {"ap": 0.5}), (4, {"loss": 9.0}), (5, {"loss": 9.0}))
    found = write(tmp_path, (4, {"loss": 2.0}), (5, {"loss": 1.0}), num_rows=2)
    assert found["loss"].dropna().tolist() == [3, 2, 1]
    assert found["ap"].dropna().tolist() == [0.5]


def test_the_row_of_the_batch_in_which_it_was_stopped_stays(tmp_path: Path) -> None:
    # The state was saved before the second row was written.
    write(tmp_path, (0, {"loss": 3.0}), (1, {"loss": 2.0}))
    assert write(tmp_path, (2, {"loss": 1.0}), num_rows=1)["loss"].tolist() == [3, 2, 1]


def test_rows_are_counted_in_the_file(tmp_path: Path) -> None:
    logger = ContinuedCSVLogger(tmp_path, name="logs", version="csv")
    assert logger.num_rows() == 0
    logger.log_metrics({"loss": 1.0}, 0)
    logger.log_metrics({"ap": 1.0}, 0)
    assert logger.num_rows() == 2
    assert len(pd.read_csv(tmp_path / "logs" / "csv" / "metrics.csv")) == 2


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
