import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa_cells.classes import get_class_set
from hpa_cells.prediction import AreaWeight, Fusion

HPA2021 = get_class_set("hpa2021")
NEGATIVE = HPA2021.index("negative")
NUM_CLASSES = len(HPA2021)

probability = st.floats(0, 1, width=32)
cell_scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(NUM_CLASSES)), elements=probability)
field_scores = hnp.arrays(np.float32, NUM_CLASSES, elements=probability)
fusions = st.builds(
    Fusion,
    rule=st.sampled_from(["weighted", "product"]),
    cell_weight=st.floats(0, 1),
    negative=st.sampled_from(["own", "larger", "one_minus_max", "product"]),
)


def slow_twin(fusion: Fusion, cells: np.ndarray, field: np.ndarray) -> np.ndarray:
    combined = np.empty(cells.shape)
    for n, k in np.ndindex(*cells.shape):
        if fusion.rule == "product":
            combined[n, k] = cells[n, k] * field[k]
        else:
            combined[n, k] = fusion.cell_weight * cells[n, k] + (1 - fusion.cell_weight) * field[k]
    for n in range(len(cells)):
        if fusion.negative == "larger":
            combined[n, NEGATIVE] = max(cells[n, NEGATIVE], field[NEGATIVE])
        if fusion.negative == "one_minus_max":
            combined[n, NEGATIVE] = 1 - max(combined[n, k] for k in range(NUM_CLASSES) if k != NEGATIVE)
        if fusion.negative == "product":
            combined[n, NEGATIVE] = math.prod(1 - combined[n, k] for k in range(NUM_CLASSES) if k != NEGATIVE)
    return combined


@given(fusion=fusions, cells=cell_scores, field=field_scores)
def test_as_the_slow_twin(fusion: Fusion, cells: np.ndarray, field: np.ndarray) -> None:
    combined = fusion.combine(cells, field, HPA2021)
    assert combined.dtype == np.float32
    np.testing.assert_allclose(combined, slow_twin(fusion, cells, field), atol=1e-6)


@given(fusion=fusions, cells=cell_scores, field=field_scores)
def test_the_result_is_a_probability(fusion: Fusion, cells: np.ndarray, field: np.ndarray) -> None:
    combined = fusion.combine(cells, field, HPA2021)
    assert combined.shape == cells.shape
    assert ((combined >= 0) & (combined <= 1)).all()


@given(fusion=fusions, cells=cell_scores, field=field_scores, more=st.floats(0, 1))
def test_more_evidence_never_lowers_a_location(
    fusion: Fusion, cells: np.ndarray, field: np.ndarray, more: float
) -> None:
    """Raising the score of the cell or of the field; Negative is 1 - max of the others where asked for."""
    locations = np.arange(NUM_CLASSES) != NEGATIVE
    before = fusion.combine(cells, field, HPA2021)[:, locations]
    raised = [
        fusion.combine(cells + (1 - cells) * np.float32(more), field, HPA2021),
        fusion.combine(cells, field + (1 - field) * np.float32(more), HPA2021),
    ]
    assert all((after[:, locations] >= before - 1e-6).all() for after in raised)


@given(cells=cell_scores)
def test_the_cell_alone_is_left_as_it_is(cells: np.ndarray) -> None:
    """Also where the field has no score."""
    unknown = np.full(NUM_CLASSES, np.nan, dtype=np.float32)
    np.testing.assert_array_equal(Fusion().combine(cells, unknown, HPA2021), cells)


@given(fusion=fusions, field=field_scores)
def test_cells_of_equal_scores_keep_equal_ones(fusion: Fusion, field: np.ndarray) -> None:
    cells = np.tile(np.linspace(0, 1, NUM_CLASSES, dtype=np.float32), (3, 1))
    combined = fusion.combine(cells, field, HPA2021)
    np.testing.assert_array_equal(combined[0], combined[1])


def test_a_field_without_cells() -> None:
    none = np.zeros((0, NUM_CLASSES), dtype=np.float32)
    unknown = np.full(NUM_CLASSES, np.nan, dtype=np.float32)
    for negative in ("own", "larger", "one_minus_max", "product"):
        assert Fusion(rule="product", negative=negative).combine(none, unknown, HPA2021).shape == none.shape


def test_the_scores_given_are_not_changed() -> None:
    cells = np.full((1, NUM_CLASSES), 0.25, dtype=np.float32)
    Fusion(negative="one_minus_max").combine(cells, cells[0], HPA2021)
    assert (cells == 0.25).all()


def test_negative_apart_needs_that_class() -> None:
    with pytest.raises(ValueError, match="class set hpa2018 has no class Negative: use own"):
        Fusion(negative="larger").check(get_class_set("hpa2018"))
    Fusion(negative="own").check(get_class_set("hpa2018"))
    Fusion(negative="larger").check(get_class_set("subcell"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "sum"}, "fusion.rule is 'sum': use one of weighted, product"),
        ({"cell_weight": 1.5}, "fusion.cell_weight is 1.5: give a number from 0 to 1"),
        ({"cell_weight": float("nan")}, "fusion.cell_weight is nan"),
        ({"negative": "min"}, "fusion.negative is 'min': use one of own, larger, one_minus_max, product"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fusion(**changes)


def test_area_weights_are_off_by_default() -> None:
    weights = AreaWeight().weights(np.array([0.1, 1e6]), np.array([True, False]))
    assert weights.tolist() == [1, 1]


def test_area_weights_of_the_seventh_place() -> None:
    """80,000 and 32,000 px of 0.08 um, for cells at the border and within."""
    weight = AreaWeight(border_um2=80_000 * 0.08**2, inner_um2=32_000 * 0.08**2)
    areas_um2 = np.array([40_000, 80_000, 90_000, 16_000, 32_000, 90_000]) * 0.08**2
    border = np.array([True, True, True, False, False, False])
    np.testing.assert_allclose(weight.weights(areas_um2, border), [0.5, 1, 1, 0.5, 1, 1], rtol=1e-6)


@given(area_um2=st.floats(0.01, 1e4), least=st.floats(0, 1e4), border=st.booleans())
def test_area_weights_lie_in_0_to_1_and_grow_with_the_area(
    area_um2: float, least: float, border: bool
) -> None:
    weight = AreaWeight(border_um2=least, inner_um2=least)
    small, large = weight.weights(np.array([area_um2, 2 * area_um2]), np.array([border, border]))
    assert 0 < small <= large <= 1


@pytest.mark.parametrize("least", [-1.0, float("nan"), float("inf")])
def test_area_weights_need_an_area(least: float) -> None:
    with pytest.raises(ValueError, match=r"area_weight.inner_um2 is .*: give an area in um2, or 0"):
        AreaWeight(inner_um2=least)
