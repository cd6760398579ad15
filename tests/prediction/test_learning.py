from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.metrics import Overlaps, calibration_scores, macro_mean
from hpa_cells.prediction.fusion_choice import ChoiceSettings
from hpa_cells.prediction.learning import LearningSettings, Validation, learn, matched_cells, score_held_out

HPA2018 = get_class_set("hpa2018")
NUM_FIELDS, NUM_CELLS = 90, 5
FOLDS = np.arange(NUM_FIELDS) % 3
SETTINGS = LearningSettings(
    calibration="platt",
    choice=ChoiceSettings(
        rules=["weighted", "geometric"],
        cell_weights=[0.5],
        negative=[],
        standard_errors=1.0,
        num_resamples=10,
        min_fields=5,
        seed=0,
    ),
)


@pytest.fixture
def validation(validation_cells: Callable[..., object]) -> Validation:
    """Fields and cells whose scores are too sure of themselves; class 5 is nowhere."""
    rng = np.random.default_rng(0)
    fields = rng.random((NUM_FIELDS, 28)) < 0.3
    fields[:, 5] = False
    cells = fields[:, None] & (rng.random((NUM_FIELDS, NUM_CELLS, 28)) < 0.7)
    of_fields = 4 * fields + 4 * rng.normal(size=fields.shape)
    of_cells = 3 * cells + 3 * rng.normal(size=cells.shape)
    made = validation_cells(of_cells, of_fields, cells)
    return Validation(
        class_set=HPA2018,
        field_scores=made.field_scores[::NUM_CELLS],
        field_labels=fields,
        field_known=np.ones(NUM_FIELDS, dtype=bool),
        cells=made,
    )


def test_both_are_calibrated_on_what_they_were_not_learned_from(validation: Validation) -> None:
    held_out = score_held_out(validation, FOLDS, SETTINGS)
    rows, labels = matched_cells(validation.cells)
    for before, after, truth in (
        (validation.cells.scores[rows], held_out.cells[rows], labels),
        (validation.field_scores, held_out.fields, validation.field_labels),
    ):
        errors = [
            macro_mean(calibration_scores(each, truth, HPA2018, num_bins=10), "calibration_error")
            for each in (before, after)
        ]
        assert errors[1] < 0.5 * errors[0]
    means = {name: np.nanmean(each) for name, each in held_out.average_precision.items()}
    assert means["learned"] > means["own"] + 0.02
    assert np.isnan(held_out.average_precision["own"]).nonzero()[0].tolist() == [5]


def test_what_is_said_of_a_fold_does_not_look_at_its_truth(validation: Validation) -> None:
    expected = score_held_out(validation, FOLDS, SETTINGS)
    mine = FOLDS == 1
    of_cells = mine[validation.cells.field_of_truth]
    changed = replace(
        validation,
        field_labels=np.where(mine[:, None], ~validation.field_labels, validation.field_labels),
        cells=replace(
            validation.cells,
            is_truth=np.where(of_cells[:, None], ~validation.cells.is_truth, validation.cells.is_truth),
        ),
    )
    found = score_held_out(changed, FOLDS, SETTINGS)
    np.testing.assert_array_equal(found.fields[mine], expected.fields[mine])
    np.testing.assert_array_equal(found.cells[of_cells], expected.cells[of_cells])
    assert (found.fields[~mine] != expected.fields[~mine]).any()
    assert (found.cells[~of_cells] != expected.cells[~of_cells]).any()


def test_average_precision_is_the_mean_over_folds_weighted_with_true_cells(validation: Validation) -> None:
    cells = validation.cells
    areas, truths = [], []
    for fold in range(3):
        weights = (fold == FOLDS)[None].astype(float)
        areas.append(cells.average_precision(cells.scores[:, 0], 0, weights)[0])
        truths.append(cells.is_truth[FOLDS[cells.field_of_truth] == fold, 0].sum())
    held_out = score_held_out(validation, FOLDS, SETTINGS)
    assert held_out.average_precision["own"][0] == pytest.approx(np.average(areas, weights=truths))


def test_a_class_that_is_nowhere_keeps_its_scores(validation: Validation) -> None:
    learned = learn(validation, use=np.ones(NUM_FIELDS, dtype=bool), settings=SETTINGS)
    assert [index for index, each in enumerate(learned.cells.maps) if each is None] == [5]
    assert [index for index, each in enumerate(learned.fields.maps) if each is None] == [5]


def test_cells_on_no_true_one_and_fields_without_scores_are_left_out(validation: Validation) -> None:
    """Calibration does not see them; the average precision counts such cells as wrong."""
    cells = validation.cells
    kept = np.arange(0, len(cells.scores), 2)
    overlaps = Overlaps(predicted_rows=kept, truth_rows=kept, iou=np.ones(len(kept)))
    known = FOLDS != 2
    scores = np.where(known[:, None], validation.field_scores, np.float32(np.nan))
    some = replace(
        validation, field_scores=scores, field_known=known, cells=replace(cells, overlaps=overlaps)
    )
    use = np.ones(NUM_FIELDS, dtype=bool)
    alone = replace(SETTINGS, choice=replace(SETTINGS.choice, rules=[]))
    found = learn(some, use=use, settings=alone)
    is_odd = np.arange(len(cells.scores))[:, None] % 2 == 1
    other_cells = replace(cells, overlaps=overlaps, scores=np.where(is_odd, np.float32(0.9), cells.scores))
    other_scores = np.where(known[:, None], scores, np.float32(0.5))
    others = replace(some, field_scores=other_scores, cells=other_cells)
    only = learn(others, use=use, settings=alone)
    assert found.cells == only.cells
    assert found.fields == only.fields
    assert found.fields != learn(validation, use=use, settings=alone).fields
    held_out = score_held_out(some, FOLDS, alone)
    assert np.isnan(held_out.fields[~known]).all()


def test_labelled_fields_alone(validation: Validation) -> None:
    learned = learn(replace(validation, cells=None), use=np.ones(NUM_FIELDS, dtype=bool), settings=SETTINGS)
    assert learned.rules is learned.cells is None
    held_out = score_held_out(replace(validation, cells=None), FOLDS, SETTINGS)
    assert held_out.cells is None
    assert not held_out.average_precision
    np.testing.assert_array_equal(held_out.fields, score_held_out(validation, FOLDS, SETTINGS).fields)


def test_an_unknown_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="calibration is 'plat': use one of"):
        replace(SETTINGS, calibration="plat")
