from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.cytoplasmic_patterns import grow_er
from hpa_cells.simulation.fibre_patterns import Microtubules, grow_microtubules
from hpa_cells.simulation.labels import CellState
from hpa_cells.simulation.priors import CLASS_SET
from hpa_cells.simulation.protein import protein_patterns

KEYS = [key for key in CLASS_SET.keys if key != "negative"]
NUCLEAR = [key for key in KEYS if "nucle" in key]


@pytest.fixture(scope="module")
def grown(anatomy: Anatomy) -> Microtubules:
    return grow_microtubules(anatomy, np.random.default_rng(0))


def draw(anatomy: Anatomy, grown: Microtubules, key: str, amplitudes: np.ndarray) -> np.ndarray:
    er = grow_er(anatomy, np.random.default_rng(4))
    pattern = protein_patterns(grown, er)[key]
    return pattern(anatomy, amplitudes.astype(np.float32), np.random.default_rng(5))


def test_every_class_but_negative_has_a_pattern(anatomy: Anatomy, grown: Microtubules) -> None:
    er = np.zeros(anatomy.canvas.shape, dtype=np.float32)
    assert set(protein_patterns(grown, er)) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_light_is_in_the_cells_that_show_the_class(anatomy: Anatomy, grown: Microtubules, key: str) -> None:
    shown = np.arange(anatomy.num_cells) % 2 == 0
    light = draw(anatomy, grown, key, shown)
    assert light.dtype == np.float32
    assert np.isfinite(light).all()
    assert light.min() >= 0
    own = np.concatenate([[False], shown])[anatomy.cells]
    assert light[own].sum() > 0.9 * light.sum() > 0


@pytest.mark.parametrize("key", KEYS)
def test_no_cell_is_no_light(anatomy: Anatomy, grown: Microtubules, key: str) -> None:
    assert not draw(anatomy, grown, key, np.zeros(anatomy.num_cells)).any()


@pytest.mark.parametrize("key", KEYS)
def test_brightness_follows_the_amplitude(anatomy: Anatomy, grown: Microtubules, key: str) -> None:
    once, twice = (draw(anatomy, grown, key, np.full(anatomy.num_cells, level)) for level in (0.5, 1.0))
    assert twice.sum() > 1.5 * once.sum()
    assert 0.15 < np.quantile(twice, 0.9995) < 8


@pytest.mark.parametrize("key", NUCLEAR)
def test_nuclear_patterns_are_in_the_nucleus(anatomy: Anatomy, grown: Microtubules, key: str) -> None:
    light = draw(anatomy, grown, key, ~anatomy.plan.mitotic)
    assert light[anatomy.nuclei > 0].sum() > 0.9 * light.sum()


@pytest.mark.parametrize("key", [key for key in KEYS if key not in NUCLEAR and key != "plasma_membrane"])
def test_other_patterns_are_outside_it(anatomy: Anatomy, grown: Microtubules, key: str) -> None:
    light = draw(anatomy, grown, key, ~anatomy.plan.mitotic)
    cells = anatomy.per_pixel(~anatomy.plan.mitotic) > 0
    assert light[cells & (anatomy.nuclei > 0)].mean() < light[cells & (anatomy.nuclei == 0)].mean()


def test_nucleoli_are_where_dna_and_nucleoplasm_are_dark(anatomy: Anatomy, grown: Microtubules) -> None:
    everyone = ~anatomy.plan.mitotic
    inside, rest = anatomy.nucleoli > 0.9, (anatomy.nuclei > 0) & (anatomy.nucleoli == 0)
    nucleoli, plasm = (draw(anatomy, grown, key, everyone) for key in ("nucleoli", "nucleoplasm"))
    assert nucleoli[inside].mean() > 3 * nucleoli[rest].mean()
    assert plasm[inside].mean() < 0.6 * plasm[rest].mean()


def test_membranes_are_rims(anatomy: Anatomy, grown: Microtubules) -> None:
    everyone = np.ones(anatomy.num_cells)
    plasma = draw(anatomy, grown, "plasma_membrane", everyone)
    cells = anatomy.cells > 0
    rim = cells & (anatomy.to_border_um < 0.5)
    assert plasma[rim].mean() > 3 * plasma[cells & (anatomy.to_border_um > 3)].mean()
    nuclear = draw(anatomy, grown, "nuclear_membrane", ~anatomy.plan.mitotic)
    nuclei = anatomy.nuclei > 0
    rim = nuclei & (anatomy.nucleus_depth_um < 0.5)
    assert nuclear[rim].mean() > 2 * nuclear[nuclei & (anatomy.nucleus_depth_um > 2)].mean()


@pytest.mark.parametrize("key", ["microtubules", "endoplasmic_reticulum"])
def test_protein_and_reference_show_the_same_structure(
    anatomy: Anatomy, grown: Microtubules, key: str
) -> None:
    patterns = protein_patterns(grown, grow_er(anatomy, np.random.default_rng(4)))
    everyone = np.ones(anatomy.num_cells, dtype=np.float32)
    one, other, cytosol = (
        patterns[name](anatomy, everyone, np.random.default_rng(seed))
        for name, seed in ((key, 1), (key, 2), ("cytosol", 3))
    )
    cells = anatomy.cells > 0
    alike = np.corrcoef(one[cells], other[cells])[0, 1]
    assert alike > 0.65
    assert alike > np.corrcoef(one[cells], cytosol[cells])[0, 1] + 0.1


def test_spindles_are_only_in_dividing_cells(anatomy: Anatomy, grown: Microtubules) -> None:
    owners = np.unique(grown.spindles.owners)
    assert (anatomy.plan.states[owners - 1] >= CellState.PROMETAPHASE).all()
    np.testing.assert_array_equal(owners, np.flatnonzero(anatomy.plan.mitotic) + 1)


def test_aggresomes_are_dense_and_at_the_centrosome(anatomy: Anatomy, grown: Microtubules) -> None:
    pattern = protein_patterns(grown, grow_er(anatomy, np.random.default_rng(4)))["aggresome"]
    everyone = np.ones(anatomy.num_cells, dtype=np.float32)
    rows, columns = np.indices(anatomy.canvas.shape) * anatomy.canvas.pixel_size_um
    to_centrosome_um = np.min(
        [np.hypot(rows - row, columns - column) for row, column in anatomy.centrosomes_um], axis=0
    )
    for seed in range(6):
        light = pattern(anatomy, everyone, np.random.default_rng(seed))
        dense = light > 0.6
        assert dense.any()
        assert np.median(to_centrosome_um[dense]) < 2.5
        assert dense.sum() < 0.1 * (anatomy.cells > 0).sum()


def test_some_plasma_membranes_are_fringes_of_streaks(anatomy: Anatomy, grown: Microtubules) -> None:
    pattern = protein_patterns(grown, grow_er(anatomy, np.random.default_rng(4)))["plasma_membrane"]
    everyone = np.ones(anatomy.num_cells, dtype=np.float32)
    rim = (anatomy.cells > 0) & (anatomy.to_border_um < 0.5)
    # A ruffled edge is bright nearly everywhere, a fringe has gaps.
    gaps = [(pattern(anatomy, everyone, np.random.default_rng(seed))[rim] < 0.3).mean() for seed in range(12)]
    assert min(gaps) < 0.1
    assert max(gaps) > 0.3
