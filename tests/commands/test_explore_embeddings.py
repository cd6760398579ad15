"""Maps and odd cells by embedding, from fields or from a cell table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.explore import run
from hpa_cells.commands.predict import run as predict
from hpa_cells.commands.settings import compose
from hpa_cells.table import read_table

FIELDS = ["f0", "f2", "f3", "f4"]


def explore(small_world: Any, out: Path, *overrides: str) -> None:
    masks = ("segmenter=precomputed", f"segmenter.folder={small_world.masks}")
    run(compose("explore", [f"out={out}", *masks, *overrides]))


def embed(small_world: Any, out: Path, *overrides: str) -> None:
    place = (f"fields={small_world.fields}", f"embedding={small_world.model}")
    explore(small_world, out, *place, *overrides)


def test_fields_are_embedded_and_looked_at(
    small_world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.csv").write_text("ID,Label\nf0,0|16\nf2,3\nf4,0\nf1,2\n")
    embed(small_world, tmp_path / "out", f"labels={tmp_path / 'train.csv'}")
    cells = pd.read_csv(tmp_path / "out" / "embedding_cells.csv")
    numbers = cells.groupby("field_id").size().to_dict()
    assert numbers == {field_id: small_world.num_cells[field_id] for field_id in FIELDS}
    assert cells["distance"].is_monotonic_decreasing
    table = read_table(tmp_path / "out" / "embedding").cells
    assert set(zip(cells["field_id"], cells["cell_id"], strict=True)) == set(
        zip(table["field_id"], table["cell_id"], strict=True)
    )
    fields = pd.read_csv(tmp_path / "out" / "embedding_fields.csv", keep_default_na=False)
    assert sorted(fields["field_id"]) == FIELDS
    assert set(fields["nearest_field"]) <= set(FIELDS)
    for name in ("embedding_labels.png", "embedding_scores.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    assert "16 cells of 4 fields, by embedding" in capsys.readouterr().out


def test_finished_fields_are_not_embedded_again(small_world: Any, tmp_path: Path) -> None:
    embed(small_world, tmp_path / "out")
    [shard] = (tmp_path / "out" / "embedding").glob("cells-*.parquet")
    written = shard.stat().st_mtime_ns
    embed(small_world, tmp_path / "out")
    assert [each.stat().st_mtime_ns for each in shard.parent.glob("cells-*.parquet")] == [written]
    with pytest.raises(ValueError, match="holds a run with other settings"):
        embed(small_world, tmp_path / "out", "pixel_size_um=0.3")


def test_a_copy_under_another_name_is_found(small_world: Any, tmp_path: Path) -> None:
    for part in ("fields", "masks"):
        shutil.copytree(getattr(small_world, part), tmp_path / part)
        for path in sorted((tmp_path / part).glob("f2_*")):
            shutil.copy(path, path.with_name(path.name.replace("f2", "f9")))
    place = (f"fields={tmp_path / 'fields'}", f"segmenter.folder={tmp_path / 'masks'}")
    embed(small_world, tmp_path / "out", *place)
    fields = pd.read_csv(tmp_path / "out" / "embedding_fields.csv").set_index("field_id")
    assert sorted(fields.index[fields["is_near_copy"]]) == ["f2", "f9"]
    assert fields.loc["f9", "nearest_field"] == "f2"


def test_embeddings_of_a_table_are_used(small_world: Any, tmp_path: Path) -> None:
    masks = ("segmenter=precomputed", f"segmenter.folder={small_world.masks}")
    place = (f"fields={small_world.fields}", f"model={small_world.model}", f"out={tmp_path / 'run'}")
    predict(compose("predict", [*place, *masks]))
    explore(small_world, tmp_path / "from_table", f"table={tmp_path / 'run'}")
    embed(small_world, tmp_path / "from_fields")
    tables = [
        pd.read_csv(tmp_path / name / "embedding_cells.csv").sort_values(["field_id", "cell_id"])
        for name in ("from_table", "from_fields")
    ]
    pd.testing.assert_frame_equal(*(each.reset_index(drop=True) for each in tables))
    assert not (tmp_path / "from_table" / "embedding_labels.png").exists()
    assert not (tmp_path / "from_table" / "embedding").exists()


def test_a_field_that_cannot_be_read_is_told_once_and_the_others_are_embedded(
    small_world: Any, tmp_path: Path
) -> None:
    shutil.copytree(small_world.fields, tmp_path / "fields")
    path = tmp_path / "fields" / "f3_blue.png"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FieldsFailedError, match="1 fields could not be read"):
        embed(small_world, tmp_path / "out", f"fields={tmp_path / 'fields'}")
    assert pd.read_csv(tmp_path / "out" / "failures.csv")["field_id"].tolist() == ["f3"]
    assert set(pd.read_csv(tmp_path / "out" / "embedding_cells.csv")["field_id"]) == {"f0", "f2", "f4"}


def test_fields_without_cells_have_no_map(small_world: Any, tmp_path: Path) -> None:
    (tmp_path / "fields").mkdir()
    for path in small_world.fields.glob("f1_*"):
        shutil.copy(path, tmp_path / "fields")
    embed(small_world, tmp_path / "out", f"fields={tmp_path / 'fields'}")
    assert not (tmp_path / "out" / "embedding_cells.csv").exists()


def test_embedding_needs_fields(small_world: Any, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ID,Label\nf0,0\n")
    with pytest.raises(ValueError, match=r"embedding=shipped looks at fields: give fields=DIR, or table=RUN"):
        explore(small_world, tmp_path, "embedding=shipped", f"labels={tmp_path / 'train.csv'}")


def test_exploring_without_embeddings_needs_no_torch(small_world: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from hpa_cells.commands.explore import run; from hpa_cells.commands.settings import compose;"
        f"run(compose('explore', ['fields={small_world.fields}', 'out={tmp_path}']));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_the_command_line(small_world: Any, tmp_path: Path, hpa_cells: Callable[..., Any]) -> None:
    """Inside of Hydra, which is particular about being called from within."""
    ended = hpa_cells(
        "explore",
        f"fields={small_world.fields}",
        f"embedding={small_world.model}",
        "segmenter=precomputed",
        f"segmenter.folder={small_world.masks}",
        f"out={tmp_path / 'out'}",
    )
    assert ended.status == 0, ended.stderr
    assert np.isfinite(pd.read_csv(tmp_path / "out" / "embedding_cells.csv")[["x", "y"]]).all(axis=None)
