from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.explore import CellEmbeddings, EmbeddingSettings, place_cells, place_fields
from hpa_cells.explore.embeddings import plane, standardised

SETTINGS = EmbeddingSettings(neighbours=3, max_deviation=3.5, max_copy_distance=0.1, reference_cells=1000)


def cells_of(num_fields: int, cells_per_field: int = 6, seed: int = 0) -> CellEmbeddings:
    """Fields around places of their own, with cells of ids 5, 6 ..."""
    draw = np.random.default_rng(seed)
    field_of_cell = np.repeat(np.arange(num_fields), cells_per_field)
    middles = draw.normal(size=(num_fields, 8))
    vectors = middles[field_of_cell] + 0.3 * draw.normal(size=(len(field_of_cell), 8))
    return CellEmbeddings(
        class_set=get_class_set("hpa2021"),
        field_ids=tuple(f"f{number:02d}" for number in range(num_fields)),
        field_of_cell=field_of_cell,
        cell_ids=np.tile(5 + np.arange(cells_per_field, dtype=np.int32), num_fields),
        vectors=vectors.astype(np.float32),
        probabilities=np.zeros((len(field_of_cell), 19), dtype=np.float32),
    )


def test_a_usual_world_has_nothing_to_tell() -> None:
    cells = cells_of(30)
    assert not place_cells(cells, SETTINGS)["is_odd"].any()
    fields = place_fields(cells, SETTINGS)
    assert not fields["is_odd"].any()
    assert not fields["is_near_copy"].any()


def test_cells_far_from_all_others_are_odd_also_when_they_are_two() -> None:
    cells = cells_of(30)
    cells.vectors[40] += 25
    cells.vectors[77] = cells.vectors[40] + np.float32(0.2)
    placed = place_cells(cells, SETTINGS)
    odd = placed[placed["is_odd"]]
    assert odd[["field_id", "cell_id"]].to_numpy().tolist() == [["f06", 9], ["f12", 10]]
    assert (odd["deviation"] > 3.5).all()
    assert not place_cells(cells, replace(SETTINGS, max_deviation=1e3))["is_odd"].any()
    # The nearest one of each is the other: with that alone they would look usual.
    assert not place_cells(cells, replace(SETTINGS, neighbours=1)).loc[[40, 77], "is_odd"].any()


def test_rows_are_of_the_cells_and_lie_on_the_plane() -> None:
    cells = cells_of(5)
    placed = place_cells(cells, SETTINGS)
    assert placed["field_id"].tolist() == [cells.field_ids[each] for each in cells.field_of_cell]
    assert placed["cell_id"].tolist() == cells.cell_ids.tolist()
    np.testing.assert_allclose(placed[["x", "y"]], plane(standardised(cells.vectors)), rtol=1e-6)
    for row in (0, 7):
        vectors = standardised(cells.vectors)
        others = np.sort(np.linalg.norm(vectors - vectors[row], axis=1))[1:]
        assert placed["distance"][row] == pytest.approx(others[2], rel=1e-5)


def test_a_sample_tells_the_same_outliers() -> None:
    cells = cells_of(60)
    cells.vectors[[40, 77]] += 25
    sampled = place_cells(cells, replace(SETTINGS, reference_cells=120))
    assert np.flatnonzero(sampled["is_odd"]).tolist() == [40, 77]
    assert not np.allclose(sampled["distance"], place_cells(cells, SETTINGS)["distance"])
    again = place_cells(cells, replace(SETTINGS, reference_cells=120))
    np.testing.assert_array_equal(sampled["distance"], again["distance"])


def test_an_odd_field() -> None:
    cells = cells_of(30)
    cells.vectors[cells.field_of_cell == 4] += 20
    fields = place_fields(cells, SETTINGS)
    assert fields.loc[fields["is_odd"], "field_id"].tolist() == ["f04"]
    assert (fields["num_cells"] == 6).all()


def test_near_copies_name_each_other() -> None:
    cells = cells_of(30)
    copy = cells.field_of_cell == 22
    cells.vectors[copy] = cells.vectors[cells.field_of_cell == 3] + np.float32(0.01)
    fields = place_fields(cells, SETTINGS).set_index("field_id")
    assert fields.index[fields["is_near_copy"]].tolist() == ["f03", "f22"]
    assert fields.loc[["f03", "f22"], "nearest_field"].tolist() == ["f22", "f03"]
    assert (fields.loc[["f03", "f22"], "nearest_distance"] < 0.02).all()
    assert fields["nearest_distance"].drop(["f03", "f22"]).min() > 0.2


def test_where_every_field_has_a_copy_all_are_told() -> None:
    cells = cells_of(30)
    cells.vectors[90:] = cells.vectors[:90] + np.float32(0.01)
    assert place_fields(cells, SETTINGS)["is_near_copy"].all()


def test_among_few_nothing_is_odd() -> None:
    cells = cells_of(3)
    cells.vectors[-1] += 100
    assert place_cells(cells, SETTINGS)["deviation"].isna().all() == (len(cells) < 20)
    assert len(cells) == 18
    assert not place_cells(cells, SETTINGS)["is_odd"].any()
    assert not place_fields(cells, SETTINGS)["is_odd"].any()


def test_a_single_cell() -> None:
    cells = cells_of(1, cells_per_field=1)
    [placed] = place_cells(cells, SETTINGS).to_dict("records")
    assert (placed["x"], placed["y"], placed["is_odd"]) == (0, 0, False)
    assert np.isnan(placed["distance"])
    [field] = place_fields(cells, SETTINGS).to_dict("records")
    assert (field["nearest_field"], field["is_near_copy"], field["is_odd"]) == ("", False, False)


def test_fields_that_are_all_one_are_copies() -> None:
    cells = cells_of(4)
    cells.vectors[:] = 1
    fields = place_fields(cells, SETTINGS)
    assert fields["is_near_copy"].all()
    assert (fields["nearest_distance"] == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighbours": 0}, r"embedding_anomalies\.neighbours is 0: give at least 1"),
        ({"reference_cells": 0}, r"embedding_anomalies\.reference_cells is 0"),
        ({"max_deviation": float("nan")}, r"embedding_anomalies\.max_deviation is nan: give 0 or more"),
        ({"max_copy_distance": -0.1}, r"embedding_anomalies\.max_copy_distance is -0\.1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)
