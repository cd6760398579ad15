"""Crops that the segmenter is trained on: cut out turned and scaled, and seen through worse microscopes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.segmentation.network_input import to_range
from hpa_cells.training.segmenter.training_field import TrainingField

__all__ = ["CropAugmentation", "TrainingCrop", "draw_crop"]

# A cell with less of its nucleus in view is not one to be found, in a crop as in a field.
_LEAST_VISIBLE_NUCLEUS_UM2 = 10.0
_MICROTUBULES, _ER = 0, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CropAugmentation:
    """How crops differ from what they are cut from.

    Attributes
    ----------
    side_px
        Side of a crop at the network's scale.
    zoom
        Crops are scaled by up to this factor and its inverse.
    gain_share, most_gain
        How often a crop is over-exposed, and how much at most: what exceeds full scale is cut off.
    range_jitter
        How far the dark and the bright end are misjudged: standard deviation of the logarithm of the range.
    gamma
        The contrast's exponent runs from the inverse of this to this.
    blur_share, most_blur_px
        How often a crop is blurred, and the largest standard deviation.
    noise_share, most_noise
        How often noise is added, and its largest standard deviation; the bright end is 1.
    no_er_share, no_microtubules_share
        How often a channel is left out, where the other shows something.
    """

    side_px: int = 256
    zoom: float = 1.35
    gain_share: float = 0.25
    most_gain: float = 5.0
    range_jitter: float = 0.25
    gamma: float = 1.35
    blur_share: float = 0.3
    most_blur_px: float = 1.5
    noise_share: float = 0.4
    most_noise: float = 0.12
    no_er_share: float = 0.12
    no_microtubules_share: float = 0.06


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCrop:
    """One crop.

    Attributes
    ----------
    planes
        (3, S, S) float32, as `network_input` gives them.
    cells, nuclei
        (S, S) int32, ids in common.
    knows_cells
        Whether `cells` are more than nuclei, and microtubules or ER show them.
    """

    planes: NDArray[np.float32]
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    knows_cells: bool


def draw_crop(
    field: TrainingField, settings: CropAugmentation, rng: np.random.Generator, *, um_per_px: float
) -> TrainingCrop:
    """One random crop of a field; where the field is too small, its mirror image goes on."""
    to_field = _placement(field.cells.shape, settings, rng)
    window, to_window = _window(field.cells.shape, to_field, settings.side_px)
    planes = _warp(field.planes[window].astype(np.float32), to_window, settings.side_px, cv2.INTER_LINEAR)
    # Exact up to 2**24 ids; nearest neighbours invent none.
    signed = np.where(field.in_nucleus[window], -field.cells[window], field.cells[window]).astype(np.float32)
    labels = _warp(signed, to_window, settings.side_px, cv2.INTER_NEAREST).astype(np.int32)
    cells, in_nucleus = np.abs(labels), labels < 0
    cells = _with_visible_nucleus(cells, in_nucleus, _LEAST_VISIBLE_NUCLEUS_UM2 / um_per_px**2)
    exposed = _expose(planes.transpose(2, 0, 1), field.ends, settings, rng)
    # Before noise is added: under it a dead channel shows no more than before.
    is_alive = np.array([exposed[channel].any() for channel in (_MICROTUBULES, _ER)])
    return TrainingCrop(
        planes=_leave_out(_blur_and_add_noise(exposed, settings, rng), is_alive, settings, rng),
        cells=cells,
        nuclei=np.where(in_nucleus, cells, 0),
        knows_cells=field.knows_cells and bool(is_alive.any()),
    )


def _placement(
    shape: tuple[int, ...], settings: CropAugmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(2, 3), from places in the crop to places in the field."""
    angle = rng.uniform(0, 2 * np.pi)
    step = settings.zoom ** rng.uniform(-1, 1)
    flip = rng.choice([-1.0, 1.0])
    turn = step * np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])
    reach = np.abs(turn).sum(axis=1) * settings.side_px / 2
    height, width = shape
    middle = [
        rng.uniform(min(each, side / 2), max(side - each, side / 2))
        for each, side in zip(reach, (width, height), strict=True)
    ]
    shift = np.array(middle) - turn @ np.full(2, (settings.side_px - 1) / 2)
    return np.hstack([turn, shift[:, None]])


def _window(
    shape: tuple[int, ...], to_field: NDArray[np.float64], side_px: int
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """The part of a field that a crop shows, and the same placement in this part."""
    corners = to_field @ np.array([[0, side_px, 0, side_px], [0, 0, side_px, side_px], [1, 1, 1, 1]])
    first = np.maximum(np.floor(corners.min(axis=1)).astype(int) - 2, 0)
    last = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 3, shape[::-1])
    moved = to_field.copy()
    moved[:, 2] -= first
    return (slice(first[1], last[1]), slice(first[0], last[0])), moved


def _warp(
    image: NDArray[np.float32], placement: NDArray[np.float64], side_px: int, interpolation: int
) -> NDArray[np.float32]:
    """(S, S) or (S, S, C) float32; beyond the edge, the mirror image."""
    warped = cv2.warpAffine(
        image,
        placement,
        (side_px, side_px),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, dtype=np.float32)


def _with_visible_nucleus(
    cells: NDArray[np.int32], in_nucleus: NDArray[np.bool_], least_px: float
) -> NDArray[np.int32]:
    nucleus_px = np.bincount(cells[in_nucleus], minlength=int(cells.max(initial=0)) + 1)
    return np.where((nucleus_px >= least_px)[cells], cells, 0).astype(np.int32)


def _expose(
    planes: NDArray[np.float32],
    ends: NDArray[np.float32],
    settings: CropAugmentation,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(3, S, S) float32 as `to_range` gives them."""
    if rng.random() < settings.gain_share:
        gain = (settings.most_gain ** rng.uniform(0, 1, (3, 1))).astype(np.float32)
        planes = np.minimum(planes * gain[..., None], np.float32(255))
        ends = np.minimum(ends * gain, np.float32(255))
    span = ends[:, 1:] - ends[:, :1]
    dark = ends[:, :1] + span * rng.normal(0, 0.1 * settings.range_jitter, (3, 1))
    bright = dark + span * np.exp(rng.normal(0, settings.range_jitter, (3, 1)))
    seen = to_range(planes, np.hstack([dark, bright]).astype(np.float32))
    return np.asarray(cv2.pow(seen, settings.gamma ** rng.uniform(-1, 1)), dtype=np.float32)


def _blur_and_add_noise(
    seen: NDArray[np.float32], settings: CropAugmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    if rng.random() < settings.blur_share:
        blur_px = rng.uniform(0.3, settings.most_blur_px)
        seen = np.stack([cv2.GaussianBlur(plane, (0, 0), blur_px) for plane in seen])
    if rng.random() < settings.noise_share:
        deviation = rng.uniform(0, settings.most_noise, (3, 1, 1)).astype(np.float32)
        noisy = seen + deviation * rng.standard_normal(seen.shape, dtype=np.float32)
        seen = np.maximum(noisy, 0)
    return seen


def _leave_out(
    seen: NDArray[np.float32],
    is_alive: NDArray[np.bool_],
    settings: CropAugmentation,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """`seen`, now and then without ER or microtubules; `is_alive` is (2,), microtubules and ER."""
    draw = rng.random()
    # Never the last one that shows anything: where a cell ends could then not be seen.
    if draw < settings.no_er_share:
        if is_alive[_MICROTUBULES]:
            seen[_ER] = 0
    elif draw < settings.no_er_share + settings.no_microtubules_share and is_alive[_ER]:
        seen[_MICROTUBULES] = 0
    return seen
