from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.metrics import average_precision_of_matches
from hpa_cells.prediction.fusion_choice import ChoiceSettings, ValidationCells, choose_rules

HPA2021 = get_class_set("hpa2021")
HPA2018 = get_class_set("hpa2018")
NEGATIVE = HPA2021.index("negative")
NUM_FIELDS, NUM_CELLS = 100, 6
SETTINGS = ChoiceSettings(
    rules=["weighted", "geometric"],
    cell_weights=[0.2, 0.5],
    negative=["larger", "one_minus_max", "product"],
    standard_errors=1.0,
    num_resamples=30,
    min_fields=5,
    seed=0,
)
ALL = np.ones(NUM_FIELDS, dtype=bool)

Make = Callable[..., ValidationCells]


def noisy_logits(shown: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return 3 * (2 * shown - 1) + noise * np.random.default_rng(seed).normal(size=shown.shape)


def field_and_cell(num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which fields (F, K) have a class, and which cells (F, N, K) of any field would show it."""
    rng = np.random.default_rng(seed)
    return rng.random((NUM_FIELDS, num_classes)) < 0.3, rng.random((NUM_FIELDS, NUM_CELLS, num_classes)) < 0.5


def choose(cells: ValidationCells, class_set: ClassSet = HPA2018, **changes: Any) -> Any:
    return choose_rules(cells, class_set, use=ALL, settings=replace(SETTINGS, **changes))


def test_the_product_is_found_where_the_truth_is_one(validation_cells: Make) -> None:
    """A cell shows a class where its field has it and the cell would show it: each alone says half of that."""
    fields, cells = field_and_cell(28)
    truth = fields[:, None] & cells
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), truth)
    rules = choose(made)
    assert rules.common.rule == "geometric"
    assert sum(rule.rule == "geometric" for rule in rules.of_classes) >= 25


def test_the_cell_alone_is_kept_where_fields_say_nothing(validation_cells: Make) -> None:
    fields, cells = field_and_cell(28)
    made = validation_cells(noisy_logits(cells, 4, 1), noisy_logits(~fields, 1, 2), cells)
    rules = choose(made)
    assert str(rules.common) == "cell"
    assert set(map(str, rules.of_classes)) == {"cell"}


def test_a_class_of_its_own_leaves_the_common_rule(validation_cells: Make) -> None:
    """Class 3 alone is a matter of the cell; in all others the field helps."""
    fields, cells = field_and_cell(28)
    truth = fields[:, None] & cells
    truth[..., 3] = cells[..., 3]
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), truth)
    rules = choose(made, standard_errors=2.0)
    words = rules.words(HPA2018)
    assert words[3] == "cell"
    assert str(rules.common) != "cell"


def test_on_noise_the_common_rule_stays(validation_cells: Make) -> None:
    """Nothing tells of the truth: the best of each class is best by chance, as those who believe it see."""
    rng = np.random.default_rng(3)
    made = validation_cells(
        rng.normal(size=(NUM_FIELDS, NUM_CELLS, 28)),
        rng.normal(size=(NUM_FIELDS, 28)),
        rng.random((NUM_FIELDS, NUM_CELLS, 28)) < 0.2,
    )
    believing, careful = (choose(made, standard_errors=errors) for errors in (0.0, 3.0))
    assert sum(rule != believing.common for rule in believing.of_classes) > 10
    assert str(careful.common) == "cell"
    assert set(careful.of_classes) == {careful.common}


def test_a_class_seen_in_few_fields_keeps_the_common_rule(validation_cells: Make) -> None:
    fields, cells = field_and_cell(28)
    truth = fields[:, None] & cells
    truth[..., 3] = cells[..., 3]
    truth[4:, :, 3] = False
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), truth)
    trusting, careful = (choose(made, min_fields=least, standard_errors=0.0) for least in (4, 5))
    assert trusting.of_classes[3] != trusting.common
    assert careful.of_classes[3] == careful.common


@pytest.mark.parametrize("tried", [["larger", "one_minus_max", "product"], []])
def test_negative_is_what_no_other_class_explains(validation_cells: Make, tried: list[str]) -> None:
    fields, cells = field_and_cell(19)
    fields, cells = fields & (np.arange(19) % 4 == 0), cells.copy()
    truth = fields[:, None] & cells
    truth[..., NEGATIVE] = ~np.delete(truth, NEGATIVE, axis=2).any(axis=2)
    own = noisy_logits(cells, 2, 1)
    own[..., NEGATIVE] = np.random.default_rng(4).normal(size=own.shape[:2])
    of_fields = noisy_logits(fields, 1, 2)
    of_fields[:, NEGATIVE] = np.random.default_rng(5).normal(size=NUM_FIELDS)
    rules = choose(validation_cells(own, of_fields, truth), HPA2021, negative=tried)
    assert rules.negative in ("one_minus_max", "product") if tried else rules.negative == "own"


def test_only_the_fields_in_use_are_looked_at(validation_cells: Make) -> None:
    fields, cells = field_and_cell(28)
    truth = fields[:, None] & cells
    half = np.arange(NUM_FIELDS) % 2 == 0
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), truth)
    other = truth.copy()
    other[~half] = np.random.default_rng(0).random(other[~half].shape) < 0.3
    changed = replace(made, is_truth=other.reshape(-1, 28))
    expected, found = (choose_rules(each, HPA2018, use=half, settings=SETTINGS) for each in (made, changed))
    assert found == expected
    assert choose(changed) != choose(made)


def test_the_area_is_that_of_the_metric(validation_cells: Make) -> None:
    fields, cells = field_and_cell(28)
    truth = fields[:, None] & cells
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), truth)
    [areas] = made.average_precisions(made.scores, np.ones((1, NUM_FIELDS)))
    expected = [
        average_precision_of_matches(
            made.scores[:, index], made.is_truth[:, index], int(made.is_truth[:, index].sum())
        )
        for index in range(28)
    ]
    np.testing.assert_allclose(areas, expected)


def test_without_any_true_cell_all_stay_alone(validation_cells: Make) -> None:
    fields, cells = field_and_cell(28)
    made = validation_cells(noisy_logits(cells, 2, 1), noisy_logits(fields, 1, 2), np.zeros_like(cells))
    assert set(map(str, choose(made).of_classes)) == {"cell"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": ["sum"]}, "fusion.rules holds 'sum': use some of weighted, geometric"),
        ({"negative": ["own"]}, "fusion.negative holds 'own': use some of larger, one_minus_max, product"),
        ({"cell_weights": [0.5, 1.0]}, "fusion.cell_weights holds 1.0: give numbers between 0 and 1"),
        ({"standard_errors": -1.0}, "fusion.standard_errors is -1.0"),
        ({"standard_errors": float("nan")}, "fusion.standard_errors is nan"),
        ({"num_resamples": 1}, "fusion.num_resamples is 1: give at least 2"),
        ({"min_fields": 0}, "fusion.min_fields is 0: give at least 1"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)
