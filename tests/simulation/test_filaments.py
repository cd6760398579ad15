from __future__ import annotations

import numpy as np
import pytest

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.fibre_patterns import grow_microtubules
from hpa_cells.simulation.filaments import Filaments, draw_filaments, grow_filaments
from hpa_cells.simulation.places import in_cytoplasm, in_nuclei, scattered_in_cytoplasm


@pytest.fixture(scope="module")
def grown(anatomy: Anatomy) -> Filaments:
    return grow_microtubules(anatomy, np.random.default_rng(0)).network


def test_filaments_stay_in_their_cell_and_out_of_its_nucleus(anatomy: Anatomy) -> None:
    rng = np.random.default_rng(1)
    everyone = np.ones(anatomy.num_cells, dtype=bool)
    starts_um, owners = scattered_in_cytoplasm(anatomy, rng, per_um2=0.2, cells=everyone)
    grown = grow_filaments(
        anatomy,
        rng,
        starts_um=starts_um,
        angles=rng.uniform(0, 6, len(owners)),
        owners=owners,
        lengths_um=rng.uniform(5, 20, len(owners)),
        step_um=0.5,
        wander=0.2,
    )
    pixels = anatomy.canvas.pixels_at(grown.nodes_um[grown.alive])
    np.testing.assert_array_equal(
        anatomy.cells[pixels], np.broadcast_to(owners[:, None], grown.alive.shape)[grown.alive]
    )
    assert (anatomy.nuclei[pixels] == 0).all()
    steps_um = np.linalg.norm(np.diff(grown.nodes_um, axis=1), axis=2)
    np.testing.assert_allclose(steps_um, 0.5, rtol=1e-3)
    # Once ended, a fibre does not come back.
    assert (np.diff(grown.alive.astype(int), axis=1) <= 0).all()


def test_microtubules_are_in_every_cell_that_does_not_divide(anatomy: Anatomy, grown: Filaments) -> None:
    visible = np.unique(anatomy.cells)
    visible = visible[visible > 0]
    living = visible[~anatomy.plan.mitotic[visible - 1]]
    drawn = np.unique(grown.owners[grown.alive.any(axis=1)])
    assert set(drawn) == set(living)


def test_drawing_keeps_the_light_of_every_fibre(anatomy: Anatomy) -> None:
    middle = np.array(anatomy.canvas.size_um) / 2
    nodes = middle + np.stack([np.zeros(21), np.linspace(-5, 5, 21)], axis=1)
    straight = Filaments(
        nodes_um=nodes[None].astype(np.float32),
        alive=np.ones((1, 21), dtype=bool),
        owners=np.array([1], dtype=np.int32),
    )
    light = draw_filaments(
        anatomy, straight, np.array([3.0], dtype=np.float32), np.random.default_rng(0), beading=0.0
    )
    assert light.sum() * anatomy.canvas.pixel_size_um**2 == pytest.approx(30, rel=1e-3)


def test_no_filaments_are_no_light(anatomy: Anatomy) -> None:
    nothing = np.zeros(0)
    grown = grow_filaments(
        anatomy,
        np.random.default_rng(0),
        starts_um=np.zeros((0, 2), dtype=np.float32),
        angles=nothing,
        owners=nothing.astype(np.int32),
        lengths_um=nothing,
        step_um=0.5,
        wander=0.1,
    )
    light = draw_filaments(anatomy, grown, nothing.astype(np.float32), np.random.default_rng(0))
    assert light.shape == anatomy.canvas.shape
    assert not light.any()


def test_places_are_in_their_compartment(anatomy: Anatomy) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 40, anatomy.num_cells)
    places, owners = in_nuclei(anatomy, counts, rng)
    pixels = anatomy.canvas.pixels_at(places)
    np.testing.assert_array_equal(anatomy.nuclei[pixels], owners)
    assert (np.bincount(owners, minlength=anatomy.num_cells + 1)[1:] <= counts).all()
    places, owners = in_cytoplasm(
        anatomy,
        counts,
        rng,
        middles_um=anatomy.layout.centers_um,
        reach_um=np.full(anatomy.num_cells, 8.0),
    )
    pixels = anatomy.canvas.pixels_at(places)
    np.testing.assert_array_equal(anatomy.cells[pixels], owners)
    assert (anatomy.nuclei[pixels] == 0).all()
    assert len(owners) > 0.3 * counts.sum()
