from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.training.soft_labels import SoftLabelSettings
from hpa_cells.training.soft_labels import soft_labels as soft_labels_of_fields

CLASSES = get_class_set("hpa2021")
NEGATIVE, NUCLEOLI, CYTOSOL = (CLASSES.index(key) for key in ("negative", "nucleoli", "cytosol"))


def settings(**changes: object) -> SoftLabelSettings:
    return SoftLabelSettings(
        **({"rule": "probabilities", "levels": 0, "agreement": None, "shares": {}} | changes)
    )  # type: ignore[arg-type]


def one_cell(**probabilities: float) -> np.ndarray:
    row = np.full((1, len(CLASSES)), 0.3, dtype=np.float32)
    for key, value in probabilities.items():
        row[0, CLASSES.index(key)] = value
    return row


def labelled(*keys: str, cells: int = 1) -> np.ndarray:
    return np.tile(np.isin(CLASSES.keys, keys), (cells, 1))


def soft_labels(
    values: np.ndarray, fields: np.ndarray, class_set: ClassSet, how: SoftLabelSettings
) -> np.ndarray:
    """As if every cell were alone in its field."""
    return soft_labels_of_fields(values, fields, np.arange(len(values)), class_set, how)


def test_a_truth_is_taken_as_it_is() -> None:
    values = one_cell(nucleoli=1.0)
    made = soft_labels(values, labelled("cytosol"), CLASSES, settings(rule="as_they_are"))
    np.testing.assert_array_equal(made, values)


def test_what_the_field_lacks_is_absent_and_nothing_shown_is_negative() -> None:
    made = soft_labels(
        one_cell(nucleoli=0.5, cytosol=0.2, negative=0.9),
        labelled("nucleoli", "cytosol"),
        CLASSES,
        settings(),
    )
    assert made[0, NUCLEOLI] == pytest.approx(0.5)
    assert made[0, CYTOSOL] == pytest.approx(0.2)
    assert made[0, NEGATIVE] == pytest.approx(0.5 * 0.8)
    assert np.delete(made[0], [NUCLEOLI, CYTOSOL, NEGATIVE]).max() == 0


def test_a_field_labelled_negative_has_nothing_else() -> None:
    made = soft_labels(one_cell(negative=0.1), labelled("negative"), CLASSES, settings())
    assert made[0, NEGATIVE] == 1
    assert made.sum() == 1


def test_calibrated_labels_have_the_real_share_and_keep_the_order() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((500, len(CLASSES)), dtype=np.float32)
    values[:, NUCLEOLI] = rng.beta(5, 1, 500)
    fields = labelled("cytosol", cells=500)
    fields[:300, NUCLEOLI] = True
    made = soft_labels(values, fields, CLASSES, settings(rule="calibrated"))[:, NUCLEOLI]
    assert made[:300].mean() == pytest.approx(0.643, abs=1e-4)
    assert made[300:].max() == 0
    assert (np.argsort(made[:300]) == np.argsort(values[:300, NUCLEOLI])).all()
    own = soft_labels(values, fields, CLASSES, settings(rule="calibrated", shares={"nucleoli": 0.1}))
    assert own[:300, NUCLEOLI].mean() == pytest.approx(0.1, abs=1e-4)


def test_cells_of_one_field_support_each_other() -> None:
    """Two fields of forty cells: in one most look like nucleoli, in the other hardly any; one in doubt in each."""
    values = np.zeros((80, len(CLASSES)), dtype=np.float32)
    values[:40, NUCLEOLI], values[40:, NUCLEOLI] = 0.97, 0.03
    values[[0, 40], NUCLEOLI] = 0.5
    fields = labelled("nucleoli", cells=80)
    how = {"rule": "calibrated", "shares": {"nucleoli": 0.5}}
    field_of_cell = np.repeat([7, 3], 40)
    alone = soft_labels_of_fields(values, fields, field_of_cell, CLASSES, settings(**how))
    made = soft_labels_of_fields(values, fields, field_of_cell, CLASSES, settings(agreement=2.5, **how))
    assert alone[0, NUCLEOLI] == pytest.approx(alone[40, NUCLEOLI])
    assert made[0, NUCLEOLI] > 0.9
    assert made[40, NUCLEOLI] < 0.1
    # By hand, at the fixed point: the odds of a cell in doubt are those of its field's share.
    share = (made[:40, NUCLEOLI].astype(float).sum() + 0.5 * 2.5) / 42.5
    assert made[0, NUCLEOLI] == pytest.approx(share, abs=1e-3)


def test_fields_that_are_all_alike_change_nothing() -> None:
    rng = np.random.default_rng(1)
    values = np.zeros((60, len(CLASSES)), dtype=np.float32)
    values[:, NUCLEOLI] = rng.random(60)
    fields, field_of_cell = labelled("nucleoli", cells=60), np.repeat(np.arange(6), 10)
    alone, together = (
        soft_labels_of_fields(
            values, fields, field_of_cell, CLASSES, settings(rule="calibrated", agreement=agreement)
        )
        for agreement in (None, 1e6)
    )
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_certain_probabilities_stay_in_range() -> None:
    values = np.zeros((4, len(CLASSES)), dtype=np.float32)
    values[:2, NUCLEOLI] = 1
    made = soft_labels(values, labelled("nucleoli", cells=4), CLASSES, settings(rule="calibrated"))
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1


def test_five_levels() -> None:
    values = np.tile(one_cell(), (5, 1))
    values[:, NUCLEOLI] = [0.1, 0.2, 0.4, 0.7, 0.95]
    made = soft_labels(values, labelled("nucleoli", cells=5), CLASSES, settings(levels=5))
    assert made[:, NUCLEOLI].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert set(np.unique(made)) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_classes_without_negative() -> None:
    classes = get_class_set("hpa2018")
    values = np.full((2, len(classes)), 0.6, dtype=np.float32)
    made = soft_labels(values, np.eye(len(classes), dtype=bool)[:2], classes, settings())
    assert made.sum(axis=1).tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "hard"}, "rule is 'hard': use one of"),
        ({"levels": 1}, "levels is 1: give 2 or more"),
        ({"agreement": 0.0}, r"agreement is 0\.0"),
        ({"shares": {"nucleoli": 1.0}}, r"shares\.nucleoli is 1\.0"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_a_share_of_a_class_that_is_none() -> None:
    with pytest.raises(ValueError, match="names nucleolus: use keys of hpa2021"):
        soft_labels(one_cell(), labelled("nucleoli"), CLASSES, settings(shares={"nucleolus": 0.5}))


@pytest.mark.parametrize("name", ["as_they_are", "probabilities", "calibrated", "levels", "posterior"])
def test_every_rule_of_the_command_is_valid(name: str) -> None:
    to_settings(
        SoftLabelSettings, compose("train", ["out=x", "data.root=y", f"soft_labels={name}"]).soft_labels
    )
