from __future__ import annotations

import math

import numpy as np
import pytest

from hpa_cells.report.summary import summarise_classes, summarise_run
from hpa_cells.report.truth import compare_with_truth


def test_numbers_of_a_run(world) -> None:
    summary = summarise_run(world.table, None)
    assert (summary.num_fields, summary.num_cells, summary.median_cells) == (3, 4, 1.0)
    assert summary.border_share == 0.25
    assert math.isnan(summary.mean_ap)


def test_numbers_of_classes(world) -> None:
    classes = summarise_classes(world.table, None, threshold=0.4)
    assert [each.num_cells for each in classes] == (world.table.probabilities() >= 0.4).sum(axis=0).tolist()
    assert classes[17].name == "Vesicles"
    assert classes[0].num_truths is None
    assert math.isnan(classes[0].leaderboard)


def test_with_truth(world, make_table, label_images) -> None:
    truth = make_table(label_images, seed=5, is_truth=True)
    evidence = compare_with_truth(world.table, truth).evidence
    classes = summarise_classes(world.table, evidence, threshold=0.5)
    assert [each.num_truths for each in classes] == truth.probabilities().sum(axis=0).tolist()
    known = [each.ap for each in classes if not math.isnan(each.ap)]
    assert summarise_run(world.table, evidence).mean_ap == pytest.approx(np.mean(known))
    assert (classes[6].name, classes[6].leaderboard) == ("Endoplasmic reticulum", 0.319)


def test_a_run_without_cells(make_table, label_images) -> None:
    table = make_table({"void": label_images["void"]})
    summary = summarise_run(table, None)
    assert (summary.num_fields, summary.num_cells, summary.median_cells) == (1, 0, 0.0)
    assert math.isnan(summary.border_share)
    assert [each.num_cells for each in summarise_classes(table, None, threshold=0.5)] == [0] * 19
