from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.metrics import average_precision_of_matches
from hpa_cells.presence import PRESENCE
from hpa_cells.simulation import CELL_LINES, Recipe, SimulatedLabels, simulate_field, simulate_labels
from hpa_cells.simulation.labels import CellState, draw_cell_labels, draw_plan, field_streams
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE, label_sets


@pytest.fixture(scope="module")
def many() -> SimulatedLabels:
    return simulate_labels(Recipe(), 5000)


def carried(labels: SimulatedLabels) -> np.ndarray:
    """(N, K): the label set of each cell's field."""
    return labels.field_labels[labels.field_index]


def precision_of_field_labels(labels: SimulatedLabels) -> np.ndarray:
    """(K,) AP where every cell gets its field's labels with equal confidence, on true masks."""
    given, shown = carried(labels), labels.cell_labels
    return np.array(
        [
            average_precision_of_matches(
                np.ones(given[:, index].sum()),
                shown[given[:, index], index],
                int(shown[:, index].sum()),
                ties="average",
            )
            for index in range(len(CLASS_SET))
        ]
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_field_labels_given_to_every_cell_score_as_in_reality(seed: int) -> None:
    # 0.575 on 5,090 real cells.
    labels = simulate_labels(Recipe(seed=seed), 1200)
    assert 0.54 <= precision_of_field_labels(labels).mean() <= 0.61


def test_cells_differ_from_their_field_as_often_as_in_reality(many: SimulatedLabels) -> None:
    # 0.52 of all 5,090 cells labelled by hand, 0.46 of the 2,274 of them whose labels are public.
    assert 0.44 < (carried(many) != many.cell_labels).any(axis=1).mean() < 0.54


def test_cells_show_each_label_as_often_as_in_reality(many: SimulatedLabels) -> None:
    given, shown = carried(many), many.cell_labels
    supported = np.flatnonzero(many.field_labels.sum(axis=0) >= 180)
    assert len(supported) >= 14
    for index in supported:
        real = PRESENCE[CLASS_SET.keys[index]]
        assert shown[given[:, index], index].mean() == pytest.approx(real, abs=0.05), CLASS_SET.names[index]


def test_cells_show_labels_together_as_often_as_real_cells_of_the_same_fields(real_data: Path) -> None:
    cells = pd.read_csv(real_data / "cell_labels" / "cell_labels.csv", dtype=str)
    given, real = (one_hot(cells[column]) for column in ("image_labels", "cell_labels"))
    rng = np.random.default_rng(0)
    drawn = np.zeros((20, *given.shape), dtype=bool)
    for rows in cells.groupby("field_id").indices.values():
        for repeat in drawn:
            repeat[rows] = draw_cell_labels(Recipe(), given[rows[0]], len(rows), rng)
    drawn[:, :, NEGATIVE] = ~drawn.any(axis=2)
    both_drawn = (drawn[..., None] & drawn[..., None, :]).mean(axis=(0, 1))
    both_real = (real[..., None] & real[..., None, :]).mean(axis=0)
    np.testing.assert_allclose(both_drawn, both_real, atol=0.05)


def one_hot(column: pd.Series) -> np.ndarray:
    """(N, K) bool of class numbers separated by semicolons."""
    return np.array([np.isin(np.arange(len(CLASS_SET)), list(map(int, each.split(";")))) for each in column])


def test_a_field_labelled_negative_has_negative_cells_only() -> None:
    negative = np.arange(len(CLASS_SET)) == NEGATIVE
    assert not draw_cell_labels(Recipe(), negative, 5000, np.random.default_rng(0)).any()


def test_a_cell_shows_an_only_label_more_often_and_another_class_rather_in_its_place() -> None:
    rng = np.random.default_rng(0)
    nucleoli, cytosol = CLASS_SET.index("nucleoli"), CLASS_SET.index("cytosol")

    def cells(*shown: int) -> np.ndarray:
        labels = np.isin(np.arange(len(CLASS_SET)), shown)
        return np.concatenate([draw_cell_labels(Recipe(), labels, 20, rng) for _ in range(2000)])

    alone, together = cells(nucleoli), cells(nucleoli, cytosol)
    assert alone[:, nucleoli].mean() > together[:, nucleoli].mean() + 0.08
    others = np.delete(alone, nucleoli, axis=1).any(axis=1)
    assert others[~alone[:, nucleoli]].mean() > 3 * others[alone[:, nucleoli]].mean() > 0


def test_frequencies_are_real_except_for_the_floor(many: SimulatedLabels) -> None:
    sets, shares = label_sets()
    frequencies = many.field_labels.mean(axis=0)
    real = shares @ sets
    np.testing.assert_allclose(frequencies[real > 0.02], real[real > 0.02], rtol=0.15, atol=0.004)
    assert frequencies.min() > 0.9 * Recipe().class_floor


@pytest.mark.parametrize("first_index", [0, 37, 500_000])
def test_rare_classes_are_in_every_small_data_set(first_index: int) -> None:
    labels = simulate_labels(Recipe(label_noise=0.0), 200, first_index=first_index)
    assert (labels.field_labels.sum(axis=0) >= 2).all()


def test_a_cell_is_negative_if_and_only_if_it_shows_nothing_else(many: SimulatedLabels) -> None:
    others = np.delete(many.cell_labels, NEGATIVE, axis=1).any(axis=1)
    np.testing.assert_array_equal(many.cell_labels[:, NEGATIVE], ~others)
    assert 0.05 < many.cell_labels[:, NEGATIVE].mean() < 0.3


def test_what_is_easy_has_no_weak_labels() -> None:
    labels = simulate_labels(Recipe(weakness=0.0, label_noise=0.0, mitotic_share=0.0), 300)
    same = (carried(labels) == labels.cell_labels).all(axis=1)
    spindle = carried(labels)[:, CLASS_SET.index("mitotic_spindle")]
    assert same[~spindle].all()


def test_label_noise_is_the_share_of_changed_fields() -> None:
    clean, noisy = (simulate_labels(Recipe(label_noise=share), 1500) for share in (0.0, 0.3))
    changed = (clean.field_labels != noisy.field_labels).any(axis=1).mean()
    assert changed == pytest.approx(0.3, abs=0.07)
    assert noisy.field_labels.any(axis=1).all()
    np.testing.assert_array_equal(clean.cell_labels, noisy.cell_labels)
    assert (noisy.field_labels[noisy.field_labels[:, NEGATIVE]].sum(axis=1) == 1).all()


def test_spindles_are_in_mitotic_cells_and_these_have_no_nuclear_pattern() -> None:
    recipe = Recipe(mitotic_share=0.3)
    spindle = CLASS_SET.index("mitotic_spindle")
    for index in range(60):
        plan = draw_plan(recipe, index, field_streams(recipe, index)[0])
        assert plan.mitotic[plan.cell_labels[:, spindle]].all()
        for key in ("nucleoplasm", "nucleoli", "nuclear_membrane", "nuclear_speckles"):
            assert not plan.cell_labels[plan.mitotic, CLASS_SET.index(key)].any()


def test_all_states_occur() -> None:
    recipe = Recipe(mitotic_share=0.4, binucleated_share=0.3)
    states = [draw_plan(recipe, index, field_streams(recipe, index)[0]).states for index in range(20)]
    assert set(np.concatenate(states)) == set(CellState)


def test_a_field_is_the_same_whichever_others_are_drawn(many: SimulatedLabels) -> None:
    late = simulate_labels(Recipe(), 5, first_index=1500)
    np.testing.assert_array_equal(late.field_labels, many.field_labels[1500:1505])
    start = np.searchsorted(many.field_index, 1500)
    np.testing.assert_array_equal(late.cell_labels, many.cell_labels[start : start + len(late.cell_labels)])
    assert late.cell_lines == many.cell_lines[1500:1505]


def test_seeds_give_other_data_sets() -> None:
    one, other = (simulate_labels(Recipe(seed=seed), 50) for seed in (0, 1))
    assert (one.field_labels != other.field_labels).any(axis=1).mean() > 0.5


def test_labels_without_pixels_are_those_with_pixels() -> None:
    recipe = Recipe(height_px=120, width_px=150, pixel_size_um=0.6, seed=3)
    labels = simulate_labels(recipe, 4)
    for index in range(4):
        simulated = simulate_field(recipe, index)
        of_field = labels.cell_labels[labels.field_index == index]
        np.testing.assert_array_equal(simulated.field_labels, labels.field_labels[index])
        np.testing.assert_array_equal(simulated.cell_labels, of_field[simulated.segmentation.cell_ids - 1])
        assert simulated.cell_line == labels.cell_lines[index]


def test_cell_lines_are_those_asked_for() -> None:
    assert set(simulate_labels(Recipe(), 300).cell_lines) == set(CELL_LINES)
    assert set(simulate_labels(Recipe(cell_lines=["BJ", "HaCaT"]), 60).cell_lines) == {"BJ", "HaCaT"}


def test_crowding_scales_the_number_of_cells() -> None:
    counts = [len(simulate_labels(Recipe(crowding=crowding), 200).cell_labels) for crowding in (0.5, 2.0)]
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.15)
