"""Patterns of the cytoplasm. Each is light of about 1 where bright, times its cell's amplitude, (N,)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.blobs import Blobs, outline, rasterise
from hpa_cells.simulation.canvas import FloatImage
from hpa_cells.simulation.places import in_cytoplasm

__all__ = [
    "SMALLEST_DOT_UM2",
    "aggresome",
    "centrosome",
    "cytosol",
    "endoplasmic_reticulum",
    "grow_er",
    "plasma_membrane",
    "spots",
    "thickness",
    "vesicles",
]

# Variance of the point spread function in um2: a dot that small still has this width in the picture.
SMALLEST_DOT_UM2 = 0.012


def thickness(anatomy: Anatomy) -> FloatImage:
    """(H, W) from 0 to 1: how much of the focal plane a cell fills, less and less away from its nucleus."""
    fall = 0.45 + 0.55 * np.exp(-anatomy.to_nucleus_um / 9.0)
    thick: FloatImage = anatomy.slope * fall * (anatomy.cells > 0)
    return thick


def cytosol(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Everywhere but in the nucleus, where little is left, with dark holes of organelles."""
    canvas = anatomy.canvas
    grain = np.exp(0.28 * canvas.noise(rng, 0.35) + 0.16 * canvas.noise(rng, 1.6))
    holes = np.clip(1.2 - 0.35 * np.maximum(canvas.noise(rng, 0.9) - 1.0, 0), 0.3, 1)
    kept = 1 - np.float32(rng.uniform(0.55, 0.85)) * (anatomy.nuclei > 0)
    pattern: FloatImage = 0.75 * grain * holes * kept * thickness(anatomy) * anatomy.per_pixel(amplitudes)
    return pattern


def grow_er(anatomy: Anatomy, rng: np.random.Generator) -> FloatImage:
    """(H, W) density of the ER: a net of tubules and sheets, dense around the nucleus, thin towards the edge.

    The yellow channel and a protein of the ER show the same one.
    """
    canvas = anatomy.canvas
    # The lines where smooth noise changes its sign make a net.
    net = 0.2 + 0.8 * np.exp(-((canvas.noise(rng, 0.75) / 0.8) ** 2))
    patches = np.exp(0.4 * canvas.noise(rng, 0.28) + 0.35 * canvas.noise(rng, 3.0))
    fall = np.exp(-anatomy.to_nucleus_um / np.float32(rng.uniform(6.0, 12.0))) + np.float32(
        rng.uniform(0.1, 0.8)
    )
    kept = 1 - np.float32(rng.uniform(0.3, 0.8)) * (anatomy.nuclei > 0)
    density: FloatImage = net * patches * fall * kept * anatomy.slope
    return density


def endoplasmic_reticulum(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator, *, grown: FloatImage
) -> FloatImage:
    """What `grow_er` made, as a stain shows it: unevenly."""
    grain = np.exp(0.3 * anatomy.canvas.noise(rng, 0.28))
    pattern: FloatImage = grown * grain * anatomy.per_pixel(amplitudes)
    return pattern


def centrosome(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """One or two dots beside the nucleus, over a faint cytosol; in mitosis at both poles."""
    canvas, layout, mitotic = anatomy.canvas, anatomy.layout, anatomy.plan.mitotic
    along = np.stack([np.sin(layout.axes), np.cos(layout.axes)], axis=1)
    apart_um = np.where(mitotic, 5.0, rng.uniform(0.2, 0.6, anatomy.num_cells))[:, None]
    middle = np.where(mitotic[:, None], layout.centers_um, anatomy.centrosomes_um)
    places = np.concatenate([middle - apart_um * along, middle + apart_um * along]).astype(np.float32)
    light = (np.tile(amplitudes, 2) * rng.lognormal(-0.3, 0.3, len(places))).astype(np.float32)
    dots = canvas.points(places, light)
    pattern: FloatImage = (
        canvas.blur(dots, 0.24) + canvas.blur(dots, 0.8) + 0.1 * cytosol(anatomy, amplitudes, rng)
    )
    return pattern


def aggresome(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Beside the nucleus, at the centrosome, over a faint cytosol: one smooth body, or clumps of grains."""
    dense = _smooth_bodies if rng.random() < 0.6 else _clumps_of_grains
    pattern: FloatImage = dense(anatomy, amplitudes, rng) + 0.12 * cytosol(anatomy, amplitudes, rng)
    return pattern


def _smooth_bodies(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """A body of 1 to 3 um a cell, evenly bright, now and then in two or three pieces."""
    pieces = rng.choice([1, 2, 3], size=anatomy.num_cells, p=[0.75, 0.17, 0.08])
    typical_um = rng.uniform(0.5, 1.2)

    def bodies() -> Iterator[tuple[NDArray[np.floating], NDArray[np.float32], int]]:
        for cell in np.repeat(np.arange(anatomy.num_cells), pieces):
            radius_um = typical_um * rng.lognormal(0, 0.2) / np.sqrt(pieces[cell])
            apart_um = 0.2 if pieces[cell] == 1 else 0.8
            place = anatomy.centrosomes_um[cell] + apart_um * rng.standard_normal(2)
            shape = outline(
                rng, radius_um=radius_um, elongation=rng.uniform(1, 1.5), axis=rng.uniform(0, np.pi)
            )
            yield place, shape, int(cell) + 1

    owners, _ = rasterise(anatomy.canvas, Blobs.of(bodies()))
    own = np.where((owners == anatomy.cells) & (anatomy.nuclei == 0), owners, 0)
    light = np.concatenate([[0], amplitudes]).astype(np.float32)[own]
    bright: FloatImage = anatomy.canvas.blur(light, 0.12) * np.exp(0.12 * anatomy.canvas.noise(rng, 0.3))
    return bright


def _clumps_of_grains(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """One to three dense clumps a cell."""
    canvas = anatomy.canvas
    owners = np.repeat(np.arange(anatomy.num_cells), rng.integers(1, 4, anatomy.num_cells))
    clumps = anatomy.centrosomes_um[owners] + 0.8 * rng.standard_normal((len(owners), 2))
    grains = np.repeat(np.arange(len(owners)), rng.integers(8, 25, len(owners)))
    spread_um = rng.uniform(0.5, 1.3, len(owners))[grains, None]
    places = (clumps[grains] + spread_um * rng.standard_normal((len(grains), 2))).astype(np.float32)
    light = (0.45 * amplitudes[owners[grains]] * rng.lognormal(-0.2, 0.4, len(grains))).astype(np.float32)
    bright: FloatImage = np.tanh(canvas.blur(canvas.points(places, light), 0.28))
    return bright


def plasma_membrane(
    anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator
) -> FloatImage:
    """The cell's edge, and its surface seen from above; in some fields the edge is a fringe of protrusions."""
    canvas = anatomy.canvas
    edge = _fringe(anatomy, rng) if rng.random() < 0.35 else _ruffled_edge(anatomy, rng)
    surface = 0.16 * np.exp(0.5 * canvas.noise(rng, 0.5)) * (1 - np.float32(0.3) * (anatomy.nuclei > 0))
    pattern: FloatImage = (edge + surface) * anatomy.per_pixel(amplitudes)
    return pattern


def _ruffled_edge(anatomy: Anatomy, rng: np.random.Generator) -> FloatImage:
    """A rim, uneven by ruffles."""
    edge = np.exp(-anatomy.to_border_um / 0.45) + 0.3 * np.exp(-anatomy.to_border_um / 2.2)
    uneven = np.exp(0.45 * anatomy.canvas.noise(rng, 0.6) + 0.4 * anatomy.canvas.noise(rng, 5.0))
    rim: FloatImage = edge * uneven
    return rim


def _fringe(anatomy: Anatomy, rng: np.random.Generator) -> FloatImage:
    """Short bright filopodia and microvilli: dense along the edge of cells, few farther in."""
    canvas = anatomy.canvas
    number = rng.poisson(rng.uniform(1.5, 4.0) * np.prod(canvas.size_um))
    roots = (rng.random((number, 2)) * canvas.size_um).astype(np.float32)
    width_um = rng.uniform(1.0, 2.5)
    kept = rng.random(number) < np.exp(-((anatomy.to_border_um[canvas.pixels_at(roots)] / width_um) ** 2))
    roots, number = roots[kept], int(kept.sum())
    angles, length_um = rng.uniform(0, 2 * np.pi, number), rng.uniform(0.4, 1.6, number)
    along = np.stack([np.sin(angles), np.cos(angles)], axis=1) * length_um[:, None]
    steps = np.linspace(0, 1, 8)[:, None, None]
    places = (roots + steps * along).reshape(-1, 2).astype(np.float32)
    light = np.tile(rng.lognormal(-0.3, 0.6, number) * length_um / len(steps), len(steps))
    streaks = canvas.blur(canvas.points(places, (0.35 * light).astype(np.float32)), 0.09)
    # Outside of their cells nothing is known to be theirs.
    fringe: FloatImage = np.minimum(streaks, np.float32(1.6)) * (anatomy.cells > 0)
    return fringe


def vesicles(anatomy: Anatomy, amplitudes: NDArray[np.float32], rng: np.random.Generator) -> FloatImage:
    """Dots all over the cytoplasm: few and large or many and small, near the nucleus or spread."""
    drawn = spots(
        anatomy,
        amplitudes,
        rng,
        mean_count=float(rng.choice([25, 60, 150, 300])),
        sigma_um=rng.uniform(0.1, 0.3),
        middles_um=anatomy.layout.nucleus_middles_um,
        reach_um=float(rng.choice([5.0, 9.0, 14.0])),
    )
    pattern: FloatImage = drawn + 0.1 * cytosol(anatomy, amplitudes, rng)
    return pattern


def spots(
    anatomy: Anatomy,
    amplitudes: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    mean_count: float,
    sigma_um: float,
    middles_um: NDArray[np.float32],
    reach_um: float,
) -> FloatImage:
    """Dots in the cytoplasm around `middles_um` (N, 2); their number differs from cell to cell."""
    counts = rng.poisson(mean_count * rng.lognormal(0, 0.35, anatomy.num_cells)) * (amplitudes > 0)
    reach = np.full(anatomy.num_cells, reach_um)
    places, owners = in_cytoplasm(anatomy, counts, rng, middles_um=middles_um, reach_um=reach)
    peak = rng.lognormal(-0.2, 0.5, len(owners)) * amplitudes[owners - 1]
    light = 2 * np.pi * (sigma_um**2 + SMALLEST_DOT_UM2) * peak
    return anatomy.canvas.blur(anatomy.canvas.points(places, light.astype(np.float32)), sigma_um)
