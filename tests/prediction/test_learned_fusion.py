import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa_cells.classes import get_class_set
from hpa_cells.prediction.calibration import Calibration, ScaleMap
from hpa_cells.prediction.learned_fusion import CELL_ALONE, ClassRule, FusionRules, LearnedFusion, fuse

HPA2021 = get_class_set("hpa2021")
NEGATIVE = HPA2021.index("negative")
KEEP = Calibration(method="none", maps=(None,) * 19)
STEEPER = Calibration(method="platt", maps=(ScaleMap(scale=2.0, bias=-1.0),) * 19)

rules = st.builds(
    ClassRule, rule=st.sampled_from(["weighted", "geometric"]), cell_weight=st.sampled_from([0.1, 0.5, 1])
)
scores = hnp.arrays(np.float32, (3, 19), elements=st.floats(0, 1, width=32))


def fusion_rules(**changes: Any) -> FusionRules:
    of_classes = tuple(
        ClassRule(rule="geometric" if index % 2 else "weighted", cell_weight=(1 + index % 10) / 10)
        for index in range(19)
    )
    return replace(FusionRules(common=CELL_ALONE, of_classes=of_classes, negative="own"), **changes)


@given(of_classes=st.lists(rules, min_size=19, max_size=19), cells=scores, fields=scores)
def test_as_the_slow_twin(of_classes: list[ClassRule], cells: np.ndarray, fields: np.ndarray) -> None:
    expected = np.empty((3, 19))
    for n, k in np.ndindex(3, 19):
        w, cell, of_field = of_classes[k].cell_weight, float(cells[n, k]), float(fields[n, k])
        is_mean = of_classes[k].rule == "weighted"
        expected[n, k] = w * cell + (1 - w) * of_field if is_mean else cell**w * of_field ** (1 - w)
    found = fuse(cells, fields, of_classes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    one_field = fuse(cells, fields[0], of_classes)
    np.testing.assert_array_equal(one_field, fuse(cells, np.tile(fields[0], (3, 1)), of_classes))


def test_the_geometric_mean_of_equal_weights_ranks_as_the_product() -> None:
    cells, fields = np.random.default_rng(0).random((2, 50, 1), dtype=np.float32)
    half = fuse(cells, fields, [ClassRule(rule="geometric", cell_weight=0.5)])
    np.testing.assert_array_equal(np.argsort(half, axis=0), np.argsort(cells * fields, axis=0))


def test_a_class_whose_cells_stand_alone_reads_no_field() -> None:
    cells = np.random.default_rng(0).random((4, 19), dtype=np.float32)
    np.testing.assert_array_equal(fuse(cells, np.full(19, np.nan, np.float32), [CELL_ALONE] * 19), cells)


@pytest.mark.parametrize("negative", ["larger", "one_minus_max", "product"])
def test_negative_goes_its_own_way(negative: str) -> None:
    cells, fields = np.random.default_rng(0).random((2, 6, 19), dtype=np.float32)
    own, apart = (fusion_rules(negative=each).combine(cells, fields, HPA2021) for each in ("own", negative))
    others = np.arange(19) != NEGATIVE
    np.testing.assert_array_equal(apart[:, others], own[:, others])
    expected = {
        "larger": np.maximum(cells[:, NEGATIVE], fields[:, NEGATIVE]),
        "one_minus_max": 1 - own[:, others].max(axis=1),
        "product": np.prod(1 - own[:, others], axis=1),
    }[negative]
    np.testing.assert_allclose(apart[:, NEGATIVE], expected, rtol=1e-6)
    assert fusion_rules(negative=negative).words(HPA2021)[NEGATIVE] == negative


def test_fusion_comes_first_and_calibration_last() -> None:
    cells, fields = np.random.default_rng(0).random((2, 6, 19), dtype=np.float32)
    learned = LearnedFusion(class_set=HPA2021, rules=fusion_rules(), cells=STEEPER, fields=KEEP)
    combined = learned.combine(cells, fields[0], HPA2021)
    np.testing.assert_array_equal(combined, STEEPER.apply(fusion_rules().combine(cells, fields[0], HPA2021)))
    assert combined.dtype == np.float32
    assert (combined != fusion_rules().combine(STEEPER.apply(cells), STEEPER.apply(fields[0]), HPA2021)).any()
    np.testing.assert_array_equal(learned.of_field(fields[0]), fields[0])


def test_of_labelled_fields_only_the_fields_are_calibrated() -> None:
    cells, fields = np.random.default_rng(0).random((2, 6, 19), dtype=np.float32)
    learned = LearnedFusion(class_set=HPA2021, rules=None, cells=None, fields=STEEPER)
    np.testing.assert_array_equal(learned.combine(cells, fields[0], HPA2021), cells)
    np.testing.assert_array_equal(learned.of_field(fields[0]), STEEPER.apply(fields[0]))
    unknown = np.full(19, np.nan, np.float32)
    np.testing.assert_array_equal(learned.of_field(unknown), unknown)
    assert learned.provenance["rules"] is None


def test_a_field_without_cells() -> None:
    none = np.zeros((0, 19), dtype=np.float32)
    learned = LearnedFusion(
        class_set=HPA2021, rules=fusion_rules(negative="one_minus_max"), cells=STEEPER, fields=KEEP
    )
    assert learned.combine(none, np.full(19, np.nan, np.float32), HPA2021).shape == (0, 19)


def test_the_provenance_names_rules_and_file() -> None:
    learned = LearnedFusion(
        class_set=HPA2021,
        rules=fusion_rules(negative="product"),
        cells=STEEPER,
        fields=KEEP,
        provenance_of_scores={"table_weights_hash": "abc"},
        sha256="def",
    )
    told = json.loads(json.dumps(learned.provenance))
    assert told["rule"] == "learned"
    assert (told["calibration_of_cells"], told["calibration_of_fields"]) == ("platt", "none")
    assert (told["learned_with_weights"], told["sha256"]) == ("abc", "def")
    assert told["rules"]["common"] == "cell"
    of_classes = told["rules"]["of_classes"]
    assert (of_classes["nucleoplasm"], of_classes["nuclear_membrane"]) == ("weighted 0.1", "geometric 0.2")
    assert of_classes["negative"] == "product"


def test_another_class_set_is_refused() -> None:
    learned = LearnedFusion(class_set=HPA2021, rules=None, cells=None, fields=KEEP)
    learned.check(HPA2021)
    with pytest.raises(
        ValueError, match="learned for the classes of hpa2021, the model has those of hpa2018"
    ):
        learned.check(get_class_set("hpa2018"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": None}, "learned together"),
        ({"cells": None}, "learned together"),
        ({"fields": Calibration(method="none", maps=(None,) * 5)}, "5 field maps for the 19 classes"),
        ({"cells": Calibration(method="none", maps=(None,) * 5)}, "5 cell maps for the 19 classes"),
        ({"rules": fusion_rules(of_classes=(CELL_ALONE,) * 5)}, "5 rules for the 19 classes"),
        (
            {
                "class_set": get_class_set("hpa2018"),
                "rules": fusion_rules(of_classes=(CELL_ALONE,) * 28, negative="larger"),
                "cells": Calibration(method="none", maps=(None,) * 28),
            },
            "class set hpa2018 has none",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    parts = {"class_set": HPA2021, "rules": fusion_rules(), "cells": KEEP, "fields": KEEP} | changes
    with pytest.raises(ValueError, match=message):
        LearnedFusion(**parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "sum"}, "rule of a class is 'sum': use one of weighted, geometric"),
        ({"cell_weight": 0.0}, "cell weight of a class is 0.0"),
        ({"cell_weight": 1.5}, "cell weight of a class is 1.5"),
    ],
)
def test_other_rules_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassRule(**({"rule": "weighted", "cell_weight": 0.5} | changes))
    with pytest.raises(ValueError, match="rule of Negative is 'min'"):
        fusion_rules(negative="min")
