from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.fields import LabelTable
from hpa_cells.metrics import ScoreColumn
from hpa_cells.report.truth import compare_with_truth


def test_the_run_itself_as_truth_is_right_everywhere(make_table, label_images) -> None:
    truth = make_table(label_images, is_truth=True)
    known = compare_with_truth(truth, truth)
    assert known.scores[ScoreColumn.AP].dropna().eq(1).all()
    assert known.num_unpredicted == 0
    for row, classes in known.classes_of_row.items():
        assert classes == set(np.flatnonzero(truth.probabilities()[row]))
    assert len(known.classes_of_row) == 4
    assert known.classes_of_field["void"] == []


def test_a_cell_elsewhere_has_no_truth_and_ids_do_not_matter(make_table, label_images) -> None:
    truth = make_table(label_images, is_truth=True)
    moved = dict(label_images)
    moved["first"] = np.where(label_images["first"] == 3, 9, np.roll(label_images["first"], 40, axis=1))
    known = compare_with_truth(make_table(moved), truth)
    assert known.is_right(0, 0) is False
    assert known.words(0, truth.class_set) == "no such cell"
    ids = make_table(moved).cells["cell_id"].tolist()
    assert [ids[row] for row in sorted(known.classes_of_row)] == [9, 1]


def test_true_fields_that_were_not_predicted_are_counted(make_table, label_images) -> None:
    truth = make_table(label_images, is_truth=True)
    known = compare_with_truth(make_table({"plain": label_images["plain"]}), truth)
    assert known.num_unpredicted == 2
    with pytest.raises(ValueError, match="first"):
        compare_with_truth(truth, make_table({"plain": label_images["plain"]}, is_truth=True))


def test_labels_of_fields_tell_nothing_of_cells(make_table, label_images) -> None:
    table = make_table(label_images)
    labels = LabelTable(
        class_set=table.class_set, field_ids=("first", "other"), labels=np.eye(2, 19, 3, dtype=np.bool_)
    )
    known = compare_with_truth(table, labels)
    assert known.scores is None
    assert known.evidence.of == "fields"
    assert known.classes_of_field == {"first": [3], "other": [4]}
    assert known.is_right(0, 3) is None
    assert known.words(0, table.class_set) == ""
    other = LabelTable(class_set=get_class_set("hpa2018"), field_ids=(), labels=np.zeros((0, 28), np.bool_))
    with pytest.raises(ValueError, match="classes of hpa2021, the labels those of hpa2018"):
        compare_with_truth(table, other)
