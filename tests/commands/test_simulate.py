from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import class_map, get_class_set
from hpa_cells.commands import simulate as command
from hpa_cells.commands.settings import compose
from hpa_cells.fields import find_fields, match_labels, read_field, read_label_table
from hpa_cells.metrics import challenge_average_precision, mean_average_precision
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.simulation.classes_2018 import to_2018
from hpa_cells.table import Column, read_table

SMALL = [
    "recipe.height_px=96",
    "recipe.width_px=120",
    "recipe.pixel_size_um=0.6",
    "test_fields=0",
    "workers=1",
]
SMALL_RECIPE = Recipe(height_px=96, width_px=120, pixel_size_um=0.6)


def simulate(out: Path, *overrides: str) -> None:
    command.run(compose("simulate", [f"out={out}", *SMALL, *overrides]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    simulate(out, "fields=5", "test_fields=2", "shard_fields=2")
    return out


def same_files(one: Path, other: Path) -> bool:
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, other)]
    return names[0] == names[1] and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names[0]
    )


def same_truth(one: Path, other: Path) -> bool:
    tables = [read_table(folder) for folder in (one, other)]
    return tables[0].cells.equals(tables[1].cells) and tables[0].fields.equals(tables[1].fields)


def test_the_files_are_where_they_are_promised(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        *("train", "train.csv", "train_cell_lines.csv", "truth"),
        *("test", "test.csv", "test_cell_lines.csv", "truth_test"),
    }
    assert (made / "train.csv").read_text().splitlines()[0] == "ID,Label"
    for split, number in (("train", 5), ("test", 2)):
        sources = find_fields(made / split)
        table = read_label_table(made / f"{split}.csv", groups_path=made / f"{split}_cell_lines.csv")
        assert len(sources) == len(table) == number
        assert set(table.groups) == {"cell_line"}
        match_labels(table, sources)


def test_train_and_test_share_no_field(made: Path) -> None:
    train, test = (read_label_table(made / f"{split}.csv").field_ids for split in ("train", "test"))
    assert not set(train) & set(test)


def test_the_files_hold_what_the_function_returns(made: Path) -> None:
    truth = read_table(made / "truth")
    for index, source in enumerate(find_fields(made / "train")):
        simulated = simulate_field(SMALL_RECIPE, index)
        field = read_field(source)
        assert field.field_id == simulated.field.field_id
        assert field.pixel_size_um == pytest.approx(0.6)
        np.testing.assert_array_equal(field.image, simulated.field.image)
        cells = truth.cells[truth.cells[Column.FIELD_ID] == field.field_id]
        np.testing.assert_array_equal(cells[Column.CELL_ID], simulated.segmentation.cell_ids)
        shown = cells[Column.probabilities(truth.class_set)].to_numpy()
        np.testing.assert_array_equal(shown, simulated.cell_labels)


def test_the_truth_scores_one_against_itself(made: Path) -> None:
    truth = read_table(made / "truth")
    assert truth.provenance.source == "simulation truth"
    assert mean_average_precision(challenge_average_precision(truth, truth)) == pytest.approx(1)


def test_field_labels_of_truth_and_table_agree(made: Path) -> None:
    truth = read_table(made / "truth_test")
    table = read_label_table(made / "test.csv")
    assert tuple(truth.fields[Column.FIELD_ID]) == table.field_ids
    np.testing.assert_array_equal(truth.field_probabilities() > 0.5, table.labels)


def test_labels_and_truth_of_2018(tmp_path: Path) -> None:
    simulate(tmp_path, "fields=16", "class_set=hpa2018", "recipe.class_floor=0.04")
    assert (tmp_path / "train.csv").read_text().splitlines()[0] == "Id,Target"
    table, truth = read_label_table(tmp_path / "train.csv"), read_table(tmp_path / "truth")
    assert table.class_set.name == truth.class_set.name == "hpa2018"
    assert tuple(truth.fields[Column.FIELD_ID]) == table.field_ids
    np.testing.assert_array_equal(truth.field_probabilities() > 0.5, table.labels)
    match_labels(table, find_fields(tmp_path / "train"))
    recipe = Recipe(height_px=96, width_px=120, pixel_size_um=0.6, class_floor=0.04)
    to_2021 = class_map(truth.class_set, get_class_set("hpa2021"))
    for field_id, cells in truth.cells.groupby(Column.FIELD_ID):
        index = int(str(field_id).removeprefix("sim-"))
        simulated = simulate_field(recipe, index)
        of_2018 = cells[Column.probabilities(truth.class_set)].to_numpy() > 0.5
        np.testing.assert_array_equal(of_2018, to_2018(simulated.cell_labels, recipe, index))
        shown = [{to_2021[each] for each in np.flatnonzero(row)} for row in of_2018]
        assert shown == [set(np.flatnonzero(row[:-1])) for row in simulated.cell_labels]


def test_any_number_of_workers_gives_the_same(made: Path, tmp_path: Path) -> None:
    simulate(tmp_path, "fields=5", "workers=2", "shard_fields=3")
    assert same_files(made / "train", tmp_path / "train")
    assert same_truth(made / "truth", tmp_path / "truth")
    assert (made / "train.csv").read_text() == (tmp_path / "train.csv").read_text()


def test_a_stopped_run_goes_on_where_it_was(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[int] = []

    def stopped_after_three(recipe: Recipe, folder: Path, index: int, **more: Any) -> Any:
        if len(finished) == 3:
            raise KeyboardInterrupt
        finished.append(index)
        return make_field(recipe, folder, index, **more)

    make_field = command._make_field
    monkeypatch.setattr(command, "_make_field", stopped_after_three)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, "fields=5")
    assert not (tmp_path / "train.csv").exists()
    assert not list(tmp_path.rglob("*.tmp*"))
    assert len(read_table(tmp_path / "truth").fields) == 3

    finished.clear()
    finished_before = (tmp_path / "train" / "sim-000000_red.png").stat().st_mtime_ns
    monkeypatch.setattr(command, "_make_field", make_field)
    simulate(tmp_path, "fields=5")
    assert (tmp_path / "train" / "sim-000000_red.png").stat().st_mtime_ns == finished_before
    assert same_files(made / "train", tmp_path / "train")
    assert same_truth(made / "truth", tmp_path / "truth")


def test_more_fields_can_be_made_later_but_not_fewer(tmp_path: Path) -> None:
    simulate(tmp_path, "fields=2")
    simulate(tmp_path, "fields=3")
    assert len(pd.read_csv(tmp_path / "train.csv")) == len(find_fields(tmp_path / "train")) == 3
    with pytest.raises(ValueError, match="holds 1 fields more than asked for"):
        simulate(tmp_path, "fields=2")


def test_another_recipe_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    simulate(tmp_path, "fields=1")
    with pytest.raises(ValueError, match=r"recipe\.weakness"):
        simulate(tmp_path, "fields=1", "recipe=easy")


def test_without_er_there_are_no_yellow_files(tmp_path: Path) -> None:
    simulate(tmp_path, "fields=1", "recipe.has_er=false", "recipe.bit_depth=16")
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == [
        f"sim-000000_{color}.png" for color in ("blue", "green", "red")
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("recipe.pixel_size_um=-1", "pixel_size_um is -1.0, expected a number from 0.02 to 2.0"),
        ("recipe.cell_lines=[HELA]", "cell line HELA is unknown: use some of U-2 OS"),
        ("fields=0", "`fields` is 0, expected 1 to"),
        ("test_fields=-3", "`test_fields` is -3"),
        ("workers=0", "`workers` is 0"),
        ("recipe.photon=9", "photon"),
        ("recipe=hard", "hard"),
        ("class_set=subcell", "`class_set` is 'subcell': use hpa2021 or hpa2018"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    hpa_cells: Callable[..., Any], tmp_path: Path, setting: str, message: str
) -> None:
    ended = hpa_cells("simulate", f"out={tmp_path / 'out'}", setting)
    assert ended.status in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.rglob("*.png"))
