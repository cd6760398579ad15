"""Fibres of a cell as persistent random walks that bend along its edge and around its nucleus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.simulation.anatomy import Anatomy
from hpa_cells.simulation.canvas import FloatImage

__all__ = ["Filaments", "draw_filaments", "grow_filaments"]

# Filaments steer where they come this close to an edge.
_WARNING_UM = 1.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Filaments:
    """F fibres of T nodes.

    Attributes
    ----------
    nodes_um
        (F, T, 2) float32.
    alive
        (F, T) bool, the nodes that exist: a fibre ends where it would leave its cell or run into the nucleus.
    owners
        (F,) int32, the cell of each.
    """

    nodes_um: NDArray[np.float32]
    alive: NDArray[np.bool_]
    owners: NDArray[np.int32]

    def of(self, cells: NDArray[np.bool_]) -> Filaments:
        """Those of the cells chosen by `cells`, (N,) bool."""
        chosen = cells[self.owners - 1]
        return Filaments(nodes_um=self.nodes_um[chosen], alive=self.alive[chosen], owners=self.owners[chosen])


def grow_filaments(
    anatomy: Anatomy,
    rng: np.random.Generator,
    *,
    starts_um: NDArray[np.float32],
    angles: NDArray[np.floating],
    owners: NDArray[np.int32],
    lengths_um: NDArray[np.floating],
    step_um: float,
    wander: float,
    enters_nucleus: bool = False,
) -> Filaments:
    """Grow all fibres of a field at once.

    Parameters
    ----------
    starts_um, angles, owners, lengths_um
        (F, 2), (F,), (F,) and (F,): first node, first direction in radians from the x axis, cell, and length.
    step_um
        Distance of two nodes.
    wander
        Deviation of the change of direction, in radians a square root of um.
    enters_nucleus
        Whether they pass over the nucleus instead of around it.
    """
    canvas, num_steps = anatomy.canvas, max(int(lengths_um.max(initial=0) / step_um), 1)
    freedom, down, across = _steering(anatomy, enters_nucleus)
    position, angle = starts_um, angles.astype(np.float32)
    nodes = np.empty((len(owners), num_steps, 2), dtype=np.float32)
    alive = np.zeros((len(owners), num_steps), dtype=bool)
    living = np.ones(len(owners), dtype=bool)
    kicks = np.float32(wander * np.sqrt(step_um)) * rng.standard_normal(
        (num_steps, len(owners)), dtype=np.float32
    )
    for step in range(num_steps):
        pixels = canvas.pixels_at(position)
        living = living & (anatomy.cells[pixels] == owners) & (step * step_um < lengths_um)
        if not enters_nucleus:
            living &= anatomy.nuclei[pixels] == 0
        nodes[:, step], alive[:, step] = position, living
        sine, cosine = np.sin(angle), np.cos(angle)
        inward = cosine * down[pixels] - sine * across[pixels]
        heading = sine * down[pixels] + cosine * across[pixels]
        danger = np.clip(1 - freedom[pixels] / _WARNING_UM, 0, 1) * (heading < 0.2)
        away = np.where(inward >= 0, danger, -danger)
        angle = angle + kicks[step] + np.float32(0.9 * step_um) * away
        position = np.stack(
            [position[:, 0] + step_um * np.sin(angle), position[:, 1] + step_um * np.cos(angle)], axis=1
        ).astype(np.float32)
    return Filaments(nodes_um=nodes, alive=alive, owners=owners)


def draw_filaments(
    anatomy: Anatomy,
    filaments: Filaments,
    brightness: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    beading: float = 0.5,
) -> FloatImage:
    """Light of fibres, per um2; one fibre of brightness 1 carries 1 a um.

    Parameters
    ----------
    brightness
        (F,) of each fibre.
    beading
        How unevenly the label sits on them: deviation of its logarithm.
    """
    canvas = anatomy.canvas
    step_um = float(
        np.linalg.norm(filaments.nodes_um[:, 1:2] - filaments.nodes_um[:, :1], axis=2).max(initial=0)
    )
    num_parts = max(int(np.ceil(step_um / (0.75 * canvas.pixel_size_um))), 1)
    joined = filaments.alive[:, :-1] & filaments.alive[:, 1:]
    begin, end = filaments.nodes_um[:, :-1][joined], filaments.nodes_um[:, 1:][joined]
    shares = (np.arange(num_parts, dtype=np.float32) / num_parts)[:, None, None]
    points = (begin[None] + shares * (end - begin)[None]).reshape(-1, 2)
    light = np.broadcast_to(brightness[:, None], joined.shape)[joined] * np.float32(step_um / num_parts)
    beads = np.exp(beading * rng.standard_normal(len(points), dtype=np.float32) - beading**2 / 2)
    return canvas.points(points, np.tile(light, num_parts) * beads)


def _steering(anatomy: Anatomy, enters_nucleus: bool) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Distance to the nearest edge to avoid, and the unit direction away from it (down, across)."""
    freedom = 1.8 * anatomy.to_border_um
    if not enters_nucleus:
        freedom = np.minimum(freedom, anatomy.to_nucleus_um)
    smooth = cv2.GaussianBlur(freedom, (0, 0), max(0.4 / anatomy.canvas.pixel_size_um, 0.3))
    down, across = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    length = cv2.magnitude(down, across) + np.float32(1e-6)
    return freedom, down / length, across / length
