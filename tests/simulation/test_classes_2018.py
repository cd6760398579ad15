from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.classes import class_map
from hpa_cells.simulation import Recipe, simulate_labels
from hpa_cells.simulation.classes_2018 import _FIELDS, CLASS_SET_2018, fields_of_2018, to_2018
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE

RECIPE = Recipe()
TO_2021 = class_map(CLASS_SET_2018, CLASS_SET)


def back_to_2021(labels: np.ndarray) -> np.ndarray:
    """The slow way back: class by class, by the map that label tables are merged with."""
    mapped = np.zeros((len(labels), len(CLASS_SET)), dtype=bool)
    for row, of_2018 in zip(mapped, labels, strict=True):
        for index in np.flatnonzero(of_2018):
            target = TO_2021[index]
            assert target is not None
            row[target] = True
    return mapped


def test_what_a_field_shows_stays_but_for_negative() -> None:
    labels = simulate_labels(RECIPE, 300).field_labels
    mapped = np.concatenate([to_2018(row[None], RECIPE, index) for index, row in enumerate(labels)])
    expected = labels.copy()
    expected[:, NEGATIVE] = False
    np.testing.assert_array_equal(back_to_2021(mapped), expected)
    # One class for one: a field with vesicles has peroxisomes or endosomes or ..., never several of them.
    np.testing.assert_array_equal(mapped.sum(axis=1), expected.sum(axis=1))


def test_all_cells_of_a_field_get_the_same_draw() -> None:
    everything = np.ones((5, len(CLASS_SET)), dtype=bool)
    mapped = to_2018(everything, RECIPE, 7)
    assert (mapped == mapped[0]).all()
    np.testing.assert_array_equal(mapped, to_2018(everything, RECIPE, 7))
    others = [to_2018(everything, RECIPE, index)[0] for index in range(20)]
    assert len({row.tobytes() for row in others}) > 5


def test_draws_follow_the_real_frequencies() -> None:
    number = 3000
    shown = np.concatenate([to_2018(np.eye(19, dtype=bool), RECIPE, index) for index in range(number)])
    counts = shown.sum(axis=0)
    for target in range(len(CLASS_SET)):
        origins = [index for index, merged_in in enumerate(TO_2021) if merged_in == target]
        if not origins:
            assert target == NEGATIVE
            continue
        keys = [CLASS_SET_2018.keys[index] for index in origins]
        total = sum(_FIELDS.get(key, 1) for key in keys)
        for index, key in zip(origins, keys, strict=True):
            share = _FIELDS.get(key, 1) / total
            spread = np.sqrt(share * (1 - share) / number)
            assert abs(counts[index] / number - share) <= 4 * spread, key


def test_the_frequencies_are_those_of_the_real_table(real_data: Path) -> None:
    with (real_data / "hpa2018" / "train.csv").open() as file:
        counts = Counter(int(token) for row in csv.DictReader(file) for token in row["Target"].split())
    assert {key: counts[CLASS_SET_2018.index(key)] for key in _FIELDS} == _FIELDS
    merged = Counter(TO_2021)
    several = {CLASS_SET_2018.keys[index] for index, target in enumerate(TO_2021) if merged[target] > 1}
    dropped = {"microtubule_ends", "cytokinetic_bridge", "rods_and_rings"}
    assert several - dropped == set(_FIELDS)


@pytest.mark.parametrize("first_index", [0, 500_000])
def test_fields_without_a_label_in_2018_are_passed_over(first_index: int) -> None:
    recipe = Recipe(class_floor=0.04)
    indices = fields_of_2018(recipe, 60, first_index=first_index)
    slow, index = [], first_index
    while len(slow) < 60:
        labels = simulate_labels(recipe, 1, first_index=index).field_labels
        if to_2018(labels, recipe, index).any():
            slow.append(index)
        index += 1
    assert indices == slow
    assert indices[-1] > first_index + 59
    assert fields_of_2018(recipe, 20, first_index=first_index) == indices[:20]
