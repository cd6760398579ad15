"""What each field is labelled with and what its cells really show: weak labels, as in reality."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hpa_cells.presence import EXTRA_RATE, PRESENCE
from hpa_cells.simulation.cell_lines import CELL_LINES, CellLine
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE, label_sets, with_floor
from hpa_cells.simulation.recipe import Recipe
from hpa_cells.simulation.variation import line_of_field, recipe_of_field

__all__ = [
    "CellState",
    "FieldPlan",
    "SimulatedLabels",
    "draw_cell_labels",
    "draw_num_cells",
    "draw_plan",
    "field_streams",
    "simulate_labels",
]

_GOLDEN_RATIO = (np.sqrt(5) - 1) / 2
_SPINDLE = CLASS_SET.index("mitotic_spindle")
_PRESENCE = np.array([PRESENCE[key] for key in CLASS_SET.keys])
_EXTRA_RATE = np.array([EXTRA_RATE.get(key, 0.0) for key in CLASS_SET.keys])
# Odds that a cell shows a label of its field, where that is the field's only one and where there are others, relative
# to the odds over all fields; and the rate of other classes in cells that show none of the labels and in the rest,
# relative to the rate over all cells. From 2,274 cells of the same source as `hpa_cells.presence`.
_ODDS_ALONE, _ODDS_TOGETHER = 1.45, 0.85
_EXTRA_INSTEAD, _EXTRA_BESIDES = 3.0, 0.65
# However weak labels are made: no class is rarer in its fields than this share of what it really is.
_LEAST_OF_REAL = 0.25
# In mitosis the nucleus is dissolved: what is defined by it cannot be shown.
_NEEDS_A_NUCLEUS = np.array(["nucle" in key for key in CLASS_SET.keys])


class CellState(IntEnum):
    """Where a cell is in its life; from `PROMETAPHASE` on it is in mitosis."""

    INTERPHASE = 0
    BINUCLEATED = 1
    PROMETAPHASE = 2
    METAPHASE = 3
    ANAPHASE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPlan:
    """What is decided of a field before it is drawn. N cells, K classes; row `i` is the cell with id `i + 1`.

    Attributes
    ----------
    cell_line
        The line all its cells are of.
    field_labels
        (K,) bool, as an annotator of the field gives them.
    cell_labels
        (N, K) bool, what each cell shows; a cell that shows nothing is Negative.
    states
        (N,) int8, values of `CellState`.
    """

    cell_line: CellLine
    field_labels: NDArray[np.bool_]
    cell_labels: NDArray[np.bool_]
    states: NDArray[np.int8]

    @property
    def mitotic(self) -> NDArray[np.bool_]:
        """(N,) bool, the cells whose nucleus is dissolved and whose chromosomes are condensed."""
        mitotic: NDArray[np.bool_] = self.states >= CellState.PROMETAPHASE
        return mitotic


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedLabels:
    """The labels of many fields without their pixels.

    Attributes
    ----------
    field_labels
        (F, K) bool.
    cell_labels
        (N, K) bool, of the cells of all fields.
    field_index
        (N,) int64, the field of each cell: a row of `field_labels`.
    cell_lines
        F names.
    """

    field_labels: NDArray[np.bool_]
    cell_labels: NDArray[np.bool_]
    field_index: NDArray[np.int64]
    cell_lines: tuple[str, ...]


def field_streams(recipe: Recipe, index: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The two independent random streams of a field: one for its plan, one for its pixels."""
    plan, pixels = np.random.default_rng([recipe.seed, index]).spawn(2)
    return plan, pixels


def simulate_labels(recipe: Recipe, num_fields: int, *, first_index: int = 0) -> SimulatedLabels:
    """The labels of `num_fields` fields of a recipe, in less than a millisecond each.

    They are those of `simulate_field`, which leaves out the cells whose nucleus lies outside the field.
    """
    indices = range(first_index, first_index + num_fields)
    plans = [
        draw_plan(recipe_of_field(recipe, index), index, field_streams(recipe, index)[0]) for index in indices
    ]
    return SimulatedLabels(
        field_labels=np.stack([plan.field_labels for plan in plans]),
        cell_labels=np.concatenate([plan.cell_labels for plan in plans]),
        field_index=np.repeat(np.arange(num_fields), [len(plan.cell_labels) for plan in plans]),
        cell_lines=tuple(plan.cell_line.name for plan in plans),
    )


def draw_plan(recipe: Recipe, index: int, rng: np.random.Generator) -> FieldPlan:
    """Draw cell line, number of cells, labels and states of field `index`."""
    line = line_of_field(_draw_cell_line(recipe, rng), recipe.variation, rng)
    true_labels = _draw_label_set(recipe, index)
    num_cells = draw_num_cells(recipe, line, rng)
    cell_labels = draw_cell_labels(recipe, true_labels, num_cells, rng)
    states = rng.choice(
        np.array([CellState.INTERPHASE, CellState.BINUCLEATED, CellState.PROMETAPHASE], dtype=np.int8),
        size=num_cells,
        p=_state_shares(recipe),
    )
    states[cell_labels[:, _SPINDLE]] = CellState.PROMETAPHASE
    mitotic = states == CellState.PROMETAPHASE
    states[mitotic] = rng.integers(CellState.PROMETAPHASE, CellState.ANAPHASE + 1, size=int(mitotic.sum()))
    cell_labels[mitotic] &= ~_NEEDS_A_NUCLEUS
    cell_labels[:, NEGATIVE] = ~np.delete(cell_labels, NEGATIVE, axis=1).any(axis=1)
    return FieldPlan(
        cell_line=line,
        field_labels=_with_label_noise(recipe, true_labels, rng),
        cell_labels=cell_labels,
        states=states,
    )


def _draw_cell_line(recipe: Recipe, rng: np.random.Generator) -> CellLine:
    lines = [CELL_LINES[name] for name in recipe.cell_lines or CELL_LINES]
    shares = np.array([line.share for line in lines])
    return lines[rng.choice(len(lines), p=shares / shares.sum())]


def _draw_label_set(recipe: Recipe, index: int) -> NDArray[np.bool_]:
    """A label set, by a golden-ratio sequence: any run of fields has nearly the wanted frequencies."""
    sets, _ = label_sets()
    offset = np.random.default_rng(recipe.seed).random()
    position = (offset + index * _GOLDEN_RATIO) % 1.0
    row = np.searchsorted(_ends(recipe.class_floor), position, side="right")
    drawn: NDArray[np.bool_] = sets[min(int(row), len(sets) - 1)]
    return drawn


@cache
def _ends(class_floor: float) -> NDArray[np.float64]:
    """(S,) cumulative shares of the label sets."""
    return np.cumsum(with_floor(*label_sets(), class_floor))


def draw_num_cells(recipe: Recipe, line: CellLine, rng: np.random.Generator) -> int:
    """Number of cells with their centre in the field or its margin; fields differ in density."""
    height_um, width_um = recipe.height_px * recipe.pixel_size_um, recipe.width_px * recipe.pixel_size_um
    area_um2 = (height_um + 2 * line.margin_um) * (width_um + 2 * line.margin_um)
    density_per_um2 = recipe.crowding / line.spacing_um**2 * rng.lognormal(-0.4, 0.4)
    return 1 + int(rng.poisson(max(area_um2 * density_per_um2 - 1, 0.0)))


def draw_cell_labels(
    recipe: Recipe, true_labels: NDArray[np.bool_], num_cells: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(N, K) bool without Negative: labels (K,) of the field that a cell shows, and few others."""
    real = _presence(true_labels)
    presence = np.maximum(1 - recipe.weakness * (1 - real), _LEAST_OF_REAL * real)
    uncertain = np.clip(presence, 1e-9, 1 - 1e-9)
    in_this_field = rng.beta(uncertain * recipe.agreement, (1 - uncertain) * recipe.agreement)
    in_this_field[presence == 1] = 1.0
    drawn = rng.random((num_cells, len(CLASS_SET)))
    shown = drawn < np.where(true_labels, in_this_field, 0.0)
    shown[:, NEGATIVE] = False
    often = np.where(shown.any(axis=1), _EXTRA_BESIDES, 0.0 if true_labels[NEGATIVE] else _EXTRA_INSTEAD)
    extra = drawn < recipe.weakness * _EXTRA_RATE * often[:, None]
    labels: NDArray[np.bool_] = shown | (extra & ~true_labels)
    return labels


def _presence(true_labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(K,) P(a cell shows the class | its field carries it): likelier where the field shows nothing else."""
    ratio = _ODDS_ALONE if true_labels.sum() == 1 else _ODDS_TOGETHER
    return ratio * _PRESENCE / (1 - _PRESENCE + ratio * _PRESENCE)


def _state_shares(recipe: Recipe) -> NDArray[np.float64]:
    unusual = np.array([recipe.binucleated_share, recipe.mitotic_share])
    return np.concatenate([[1 - unusual.sum()], unusual])


def _with_label_noise(
    recipe: Recipe, true_labels: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """The labels as given: on a few fields one is added, swapped or, where others stay, left out."""
    given = true_labels.copy()
    if rng.random() >= recipe.label_noise:
        return given
    sets, shares = label_sets()
    frequencies = np.where(true_labels, 0.0, shares @ sets)
    frequencies[NEGATIVE] = 0.0
    wrong = rng.choice(len(frequencies), p=frequencies / frequencies.sum())
    mistake = rng.choice(["add", "swap", "leave out"])
    if mistake != "add" and (mistake == "swap" or true_labels.sum() > 1):
        given[rng.choice(np.flatnonzero(true_labels))] = False
    if mistake != "leave out":
        given[wrong] = True
        given[NEGATIVE] = False
    return given
