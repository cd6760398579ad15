from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.classes import CLASS_SETS
from hpa_cells.explore import co_occurrence, label_combinations, label_counts, labels_per_field
from hpa_cells.fields import LabelTable, read_label_table

HPA2021 = CLASS_SETS["hpa2021"]


def table_of(rows: list[list[int]]) -> LabelTable:
    labels = np.zeros((len(rows), len(HPA2021)), dtype=bool)
    for row, classes in enumerate(rows):
        labels[row, classes] = True
    return LabelTable(
        class_set=HPA2021, field_ids=tuple(f"f{row}" for row in range(len(rows))), labels=labels
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 18), max_size=4), min_size=1, max_size=30))
def test_all_counts_are_those_of_the_obvious_loop(rows: list[list[int]]) -> None:
    table, sets = table_of(rows), [frozenset(row) for row in rows]
    counts = label_counts(table)
    assert counts["num_fields"].tolist() == [sum(index in each for each in sets) for index in range(19)]
    assert counts["num_alone"].tolist() == [sum(each == {index} for each in sets) for index in range(19)]
    np.testing.assert_allclose(counts["share"], counts["num_fields"] / len(rows))

    per_field = labels_per_field(table)
    expected = Counter(len(each) for each in sets)
    assert per_field["num_fields"].tolist() == [expected[number] for number in range(max(expected) + 1)]

    together = co_occurrence(table).to_numpy()
    for (first, second), number in np.ndenumerate(together):
        assert number == sum(first in each and second in each for each in sets)

    combinations = label_combinations(table)
    found = {
        frozenset(map(int, filter(None, text.split("|")))): number
        for text, number in zip(combinations["classes"], combinations["num_fields"], strict=True)
    }
    assert found == Counter(sets)
    assert combinations["num_fields"].is_monotonic_decreasing


def test_combinations_are_named_and_ties_are_in_the_order_of_the_classes() -> None:
    combinations = label_combinations(table_of([[18], [2, 0], [13], [2, 0]]))
    assert combinations["classes"].tolist() == ["0|2", "13", "18"]
    assert combinations["names"].tolist() == ["Nucleoplasm, Nucleoli", "Plasma membrane", "Negative"]


def test_a_table_without_fields_has_counts_of_zero() -> None:
    table = table_of([])
    assert label_counts(table)["share"].tolist() == [0.0] * 19
    assert labels_per_field(table)["num_fields"].tolist() == [0]
    assert co_occurrence(table).to_numpy().sum() == 0
    assert label_combinations(table).empty


def test_the_real_table_of_2021_is_as_published(real_data: Path) -> None:
    table = read_label_table(real_data / "hpa2021" / "train.csv")
    shares = labels_per_field(table)["share"].round(2).tolist()
    # One label 48 %, two 41 %, three 10 %.
    assert shares[:4] == [0, 0.48, 0.41, 0.1]
    assert co_occurrence(table).loc["mitotic_spindle", "mitotic_spindle"] == 78
