"""From what is odd about fields to a training that leaves them out, and the pictures of samples and cell lines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import hpa_cells.explore.maps as maps
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.explore import run
from hpa_cells.commands.settings import compose
from hpa_cells.models import load_checkpoint
from hpa_cells.training.field_weights import read_field_weights

COLORS = ("red", "green", "blue", "yellow")
# The drawn fields are so alike that each is nearly a copy; here only the real one shall be.
COPIES_ONLY = "anomalies.max_copy_distance=-1"


@pytest.fixture
def world(drawn: Any, tmp_path: Path) -> Any:
    """The drawn fields; the last has the pixels of the first, which is labelled otherwise; one is overexposed."""
    shutil.copytree(drawn.root / "train", tmp_path / "train")
    shutil.copytree(drawn.root / "truth", tmp_path / "truth")
    shutil.copy(drawn.root / "train.csv", tmp_path)
    ids = ids_of(tmp_path)
    for color in COLORS:
        shutil.copy(
            tmp_path / "train" / f"{ids[0]}_{color}.png", tmp_path / "train" / f"{ids[-1]}_{color}.png"
        )
    red = cv2.imread(str(tmp_path / "train" / f"{ids[4]}_red.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "train" / f"{ids[4]}_red.png"), np.where(red > 100, 255, red))
    lines = "\n".join(f"{field_id},{'BJ' if row % 2 else 'U-2 OS'}" for row, field_id in enumerate(ids[:-1]))
    (tmp_path / "lines.csv").write_text(f"ID,cell_line\n{lines}\n")
    return type(drawn)(tmp_path)


def ids_of(root: Path) -> list[str]:
    return pd.read_csv(root / "train.csv")["ID"].tolist()


def explore(world: Any, *overrides: str) -> Path:
    out = world.root / "look"
    place = (f"labels={world.root / 'train.csv'}", f"fields={world.root / 'train'}", f"out={out}")
    run(compose("explore", [*place, "pixel_size_um=0.5", COPIES_ONLY, *overrides]))
    return out


def test_what_is_found_is_what_a_training_leaves_out(world: Any) -> None:
    ids, path = ids_of(world.root), explore(world, "samples.fields=0") / "field_weights.csv"
    rows = pd.read_csv(path, keep_default_na=False).set_index("field_id")
    assert rows["weight"].to_dict() == {ids[0]: 0.0, ids[-1]: 0.0, ids[4]: 0.5}
    assert rows.loc[ids[-1], "copy_of"] == f"{ids[0]}, labelled otherwise"
    assert rows.loc[ids[4], "pixels"].startswith("red saturated: ")
    weights = read_field_weights(path, ids)
    assert dict(zip(ids, weights, strict=True)) == dict.fromkeys(ids, 1.0) | rows["weight"].to_dict()

    def training_fields(name: str, *more: str) -> int:
        world.train(world.root / name, "data.num_folds=2", *more)
        return int(load_checkpoint(world.root / name).provenance["data"]["training_fields"])

    whole = [training_fields(f"all-{fold}", f"data.fold={fold}") for fold in range(2)]
    kept = [training_fields(f"some-{fold}", f"data.fold={fold}", f"data.review={path}") for fold in range(2)]
    # Each field is in one of two folds, and so in the training of one of two models.
    assert (sum(whole), sum(kept)) == (10, 8)


def test_fields_without_label_have_no_weight(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    lines = (world.root / "train.csv").read_text().splitlines()
    (world.root / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    ids = ids_of(world.root)
    weights = pd.read_csv(explore(world, "samples.fields=0") / "field_weights.csv")
    # The copy has no label, so that the original is all that is learned from.
    assert weights["field_id"].tolist() == [ids[4]]
    (world.root / "train.csv").write_text("\n".join([lines[0], lines[1]]) + "\n")
    explore(world, "samples.fields=0", f"out={world.root / 'other'}")
    weights = pd.read_csv(world.root / "other" / "field_weights.csv")
    assert weights.empty
    assert "1 fields with findings have no label: no weight is proposed for them." in caplog.text


def test_samples_of_each_class_are_drawn_with_their_cells(world: Any) -> None:
    settings = (f"table={world.root / 'truth'}", f"cell_lines={world.root / 'lines.csv'}", "samples.fields=3")
    out = explore(world, *settings)
    names = sorted(path.name for path in (out / "samples").iterdir())
    assert names == ["cytosol.png", "cytosol_cells.png", "negative.png", "negative_cells.png"]
    fields, cells = (cv2.imread(str(out / "samples" / name)) for name in ("cytosol.png", "cytosol_cells.png"))
    assert fields.std() > 10
    assert cells.std() > 10
    drawn_again = explore(world, *settings, f"out={world.root / 'again'}").parent / "again" / "samples"
    for name in names:
        assert (drawn_again / name).read_bytes() == (out / "samples" / name).read_bytes()


def test_without_labels_the_samples_are_of_what_the_table_says(world: Any) -> None:
    place = (f"fields={world.root / 'train'}", f"table={world.root / 'truth'}", f"out={world.root / 'look'}")
    run(compose("explore", [*place, "pixel_size_um=0.5", "samples.cells=0"]))
    names = sorted(path.name for path in (world.root / "look" / "samples").iterdir())
    assert names == ["cytosol.png", "negative.png"]


def test_a_field_of_another_size_than_in_the_table_is_on_record(world: Any) -> None:
    ids = ids_of(world.root)
    for color in COLORS:
        path = str(world.root / "train" / f"{ids[1]}_{color}.png")
        cv2.imwrite(path, cv2.imread(path, cv2.IMREAD_GRAYSCALE)[:-8])
    with pytest.raises(FieldsFailedError, match="1 fields could not be read, drawn or embedded"):
        explore(world, f"table={world.root / 'truth'}")
    [failure] = pd.read_csv(world.root / "look" / "failures.csv").to_dict("records")
    assert (failure["field_id"], failure["stage"]) == (ids[1], "draw")
    assert "in the table 64 x 96" in failure["error"]
    assert (world.root / "look" / "field_weights.csv").exists()


def test_cell_lines_are_told_apart(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = explore(
        world, f"cell_lines={world.root / 'lines.csv'}", f"table={world.root / 'truth'}", "samples.fields=0"
    )
    of_lines = pd.read_csv(out / "cell_line_intensities.csv")
    assert of_lines["cell_line"].drop_duplicates().tolist() == ["U-2 OS", "BJ", "not known"]
    assert of_lines.groupby("cell_line")["num_fields"].first().to_dict() == {
        "BJ": 4,
        "U-2 OS": 5,
        "not known": 1,
    }
    labels = pd.read_csv(out / "cell_line_labels.csv").set_index("cell_line")
    assert labels.loc["BJ", "cytosol"] == 4
    cells = pd.read_csv(out / "cells_per_field_summary.csv").set_index("cell_line")
    assert cells["num_cells"].to_dict() == {"U-2 OS": 10, "BJ": 8, "not known": 2}
    assert pd.read_csv(out / "cells_per_field.csv")["num_cells"].tolist() == [2] * 10
    assert pd.read_csv(out / "image_sizes.csv")["num_fields"].tolist() == [10]
    for name in ("cell_line_intensities", "cells_per_field", "image_sizes", "labels_per_field"):
        assert cv2.imread(str(out / f"{name}.png")).std() > 3
    assert "20 cells of 10 fields" in capsys.readouterr().out


def test_the_label_table_may_tell_the_cell_lines(world: Any) -> None:
    labels = pd.read_csv(world.root / "train.csv")
    labels.assign(cell_line="HaCaT").to_csv(world.root / "train.csv", index=False)
    out = explore(world, "samples.fields=0")
    assert set(pd.read_csv(out / "cell_line_intensities.csv")["cell_line"]) == {"HaCaT"}


def test_a_map_of_cell_lines(small_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    (tmp_path / "lines.csv").write_text("ID,cell_line\nf0,BJ\nf2,HeLa\nelsewhere,PC-3\n")
    place = (f"fields={small_world.fields}", f"embedding={small_world.model}", f"out={tmp_path / 'out'}")
    masks = ("segmenter=precomputed", f"segmenter.folder={small_world.masks}")
    run(compose("explore", [*place, *masks, f"cell_lines={tmp_path / 'lines.csv'}"]))
    assert cv2.imread(str(tmp_path / "out" / "embedding_cell_lines.png")).std() > 3


def test_a_misspelt_map_is_refused_before_anything_runs(world: Any) -> None:
    with pytest.raises(ValueError, match="map is 'tsne': use umap or pca"):
        explore(world, "map=tsne")
    assert not (world.root / "look").exists()


def test_the_command_line(world: Any, hpa_cells: Callable[..., Any]) -> None:
    ended = hpa_cells(
        "explore",
        f"labels={world.root / 'train.csv'}",
        f"fields={world.root / 'train'}",
        "samples.fields=0",
        COPIES_ONLY,
        f"out={world.root / 'look'}",
    )
    assert ended.status == 0, ended.stderr
    assert "3 fields to look at" in ended.stdout
