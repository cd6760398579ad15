"""Evidence, curves and matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.classes import get_class_set
from hpa_cells.fields import LabelTable
from hpa_cells.metrics import ScoreColumn, average_precision_of_matches
from hpa_cells.report.curves import class_curves, precision_steps
from hpa_cells.report.leaderboard import LEADERBOARD_2021
from hpa_cells.report.matrices import co_occurrence, confusion
from hpa_cells.report.truth import compare_with_truth


def area(steps: list[tuple[float, float]]) -> float:
    total, before = 0.0, 0.0
    for recall, precision in steps:
        total, before = total + (recall - before) * precision, recall
    return total


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 5), st.randoms())
def test_the_area_under_the_steps_is_the_average_precision(matches, num_missed: int, random) -> None:
    confidences = np.linspace(0.1, 0.9, len(matches))
    random.shuffle(confidences)
    is_match = np.array(matches)
    num_truths = max(1, int(is_match.sum()) + num_missed)
    steps = precision_steps(confidences, is_match, num_truths)
    assert area(steps) == pytest.approx(average_precision_of_matches(confidences, is_match, num_truths))
    assert steps == sorted(steps, key=lambda step: (step[0], -step[1]))


def test_equal_confidences_are_one_step_and_unknown_ones_none() -> None:
    steps = precision_steps(np.array([0.5, 0.5, np.nan]), np.array([True, False, True]), 2)
    assert steps == [(0.5, 0.5)]
    assert precision_steps(np.array([np.nan]), np.array([False]), 1) == []


def test_evidence_of_cells_is_that_of_the_challenge(world, make_table, label_images) -> None:
    truth = make_table(label_images, seed=5, is_truth=True)
    known = compare_with_truth(world.table, truth)
    evidence = known.evidence
    assert np.array_equal(evidence.labels, truth.probabilities() >= 0.5)  # the same masks in the same order
    assert np.array_equal(evidence.is_match, evidence.labels)
    assert evidence.is_known.all()
    assert np.array_equal(evidence.ap, known.scores[ScoreColumn.AP], equal_nan=True)
    for curves in class_curves(evidence):
        assert area(curves.steps) == pytest.approx(curves.ap)
        assert sum(point.num_rows for point in curves.reliability) == 4


def test_a_cell_that_is_not_there_is_no_match(world, make_table, label_images) -> None:
    moved = dict(label_images) | {"plain": np.roll(label_images["plain"], 60, axis=1)}
    evidence = compare_with_truth(world.table, make_table(moved, seed=5, is_truth=True)).evidence
    row = world.table.cells["field_id"].tolist().index("plain")
    assert not evidence.is_known[row]
    assert not evidence.is_match[row].any()
    assert not evidence.labels[row].any()


def test_evidence_of_fields_leaves_out_what_has_no_label(world) -> None:
    is_true = np.zeros((2, 19), np.bool_)
    is_true[0, 4] = is_true[1, 7] = True
    labels = LabelTable(class_set=world.table.class_set, field_ids=("plain", "elsewhere"), labels=is_true)
    evidence = compare_with_truth(world.table, labels).evidence
    assert evidence.probabilities.shape == (1, 19)
    assert evidence.num_truths.tolist() == np.eye(1, 19, 4, dtype=int)[0].tolist()
    assert evidence.ap[4] == 1
    assert [each.class_index for each in class_curves(evidence)] == [4]


def test_matrices_are_those_of_plain_loops(world, make_table, label_images) -> None:
    evidence = compare_with_truth(world.table, make_table(label_images, seed=5, is_truth=True)).evidence
    matrix = confusion(evidence, threshold=0.5)
    called = evidence.probabilities >= 0.5
    for at, row in enumerate(matrix.rows):
        cells = [cell for cell in range(len(called)) if evidence.labels[cell, row]]
        assert matrix.totals[at] == len(cells) > 0
        for to, column in enumerate(matrix.columns):
            hits = [called[cell, column] if column is not None else not called[cell].any() for cell in cells]
            assert matrix.counts[at, to] == sum(hits)
    together = co_occurrence(called, of="cells", title="t")
    for at, row in enumerate(together.rows):
        for to, column in enumerate(together.columns):
            assert together.counts[at, to] == sum(cell[row] and cell[column] for cell in called)
    assert np.array_equal(together.totals, together.counts.diagonal())


def test_nothing_known_is_no_matrix(world, make_table, label_images) -> None:
    assert co_occurrence(np.zeros((3, 19), np.bool_), of="cells", title="t") is None
    truth = make_table({"void": label_images["void"]}, is_truth=True)
    table = make_table({"void": label_images["void"]})
    evidence = compare_with_truth(table, truth).evidence
    assert confusion(evidence, threshold=0.5) is None
    assert class_curves(evidence) == []


def test_the_leaderboard_has_every_class_of_the_challenge() -> None:
    assert tuple(LEADERBOARD_2021) == get_class_set("hpa2021").keys
    assert np.mean(list(LEADERBOARD_2021.values())) == pytest.approx(0.544, abs=5e-4)
