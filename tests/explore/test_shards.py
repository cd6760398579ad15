from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.explore import read_cell_numbers, read_cells_of_fields, read_field_scores
from hpa_cells.explore.shards import finished_shards, provenance_of
from hpa_cells.table import read_table


def scores_of(*field_ids: str) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {field_id: draw.random(19).astype(np.float32) for field_id in field_ids}


def test_scores_are_those_that_the_whole_table_has(write_table: Callable[..., Path]) -> None:
    scores = scores_of("b", "c", "a")
    scores["c"][:] = np.nan
    folder = write_table({"b": 2, "c": 0, "a": 1}, fields=scores, source="somewhere")
    found, table = read_field_scores(folder), read_table(folder)
    assert found.field_ids == tuple(table.fields["field_id"]) == ("a", "b", "c")
    np.testing.assert_array_equal(found.probabilities, table.field_probabilities())
    np.testing.assert_array_equal(found.probabilities[1], scores["b"])
    assert found.class_set.name == "hpa2021"
    assert found.provenance == table.provenance
    assert found.provenance.source == "somewhere"


def test_a_shard_whose_fields_were_never_written_is_left_out(write_table: Callable[..., Path]) -> None:
    folder = write_table({"a": 1, "b": 1, "c": 1})
    (folder / "fields-000001.parquet").unlink()
    assert [path.name for path in finished_shards(folder, "cells")] == ["cells-000000.parquet"]
    assert read_field_scores(folder).field_ids == ("a", "b")


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no cell table .* `hpa-cells predict` wrote to"):
        read_field_scores(tmp_path)


def test_shards_of_two_runs_are_refused(write_table: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_table({"a": 1})
    shutil.move(folder, tmp_path / "first")
    other = write_table({"b": 1}, source="another")
    shutil.copy(tmp_path / "first" / "fields-000000.parquet", other / "fields-000001.parquet")
    with pytest.raises(ValueError, match=r"source: another -> model\. Keep one run a folder"):
        provenance_of(other)


def test_numbers_of_cells_are_those_of_the_fields(write_table: Callable[..., Path]) -> None:
    folder = write_table({"b": 2, "c": 0, "a": 1})
    assert read_cell_numbers(folder).to_numpy().tolist() == [["a", 1], ["b", 2], ["c", 0]]
    with pytest.raises(FileNotFoundError, match="holds no cell table"):
        read_cell_numbers(folder / "elsewhere")


@pytest.mark.parametrize("wanted", [{"a", "c", "not there"}, {"b"}, set(), {"c"}])
def test_the_cells_of_some_fields_are_those_of_the_whole_table(
    write_table: Callable[..., Path], wanted: set[str]
) -> None:
    folder = write_table({"b": 2, "c": 0, "a": 1})
    found, table = read_cells_of_fields(folder, wanted), read_table(folder)
    for part in ("cells", "fields"):
        whole = getattr(table, part).drop(columns="embedding", errors="ignore")
        expected = whole[whole["field_id"].isin(wanted)].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            getattr(found, part), expected, check_dtype=False, check_categorical=False
        )
    assert found.class_set == table.class_set
