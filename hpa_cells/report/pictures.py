"""Pixels as texts that a page carries: grey channels of fields, thumbnails and single cells."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from hpa_cells.report.composite import mix_channels

__all__ = ["channel_uris", "data_uri", "flat_outline", "shrunk", "thumbnail_uri"]

_QUALITY = 80
_THUMBNAIL_PX = 144
# Of the side at which a picture would just fit, so that a second try is seldom needed.
_HEADROOM = 0.96
_LEAST_SIDE_PX = 64


def data_uri(image: NDArray[np.uint8], *, quality: int = _QUALITY) -> str:
    """An (H, W, 3) or (H, W) uint8 picture as the text of a WebP image inside a page."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    _, encoded = cv2.imencode(".webp", np.ascontiguousarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def shrunk(channels: NDArray[np.uint8], side_px: int | None) -> NDArray[np.uint8]:
    """(C, H, W) uint8 whose longer side has `side_px`; what is not larger, or with None, stays as it is."""
    height, width = channels.shape[1:]
    if side_px is None or max(height, width) <= side_px:
        return channels
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Area averages keep small spots.
    return np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in channels])


def channel_uris(
    channels: NDArray[np.uint8], *, side_px: int | None, max_bytes: float = float("inf")
) -> tuple[list[str], tuple[int, int]]:
    """Each channel as a grey picture of its own, so that a page can mix them anew.

    Parameters
    ----------
    channels
        (4, H, W) uint8.
    side_px
        Longer side at most, in px; None: as it is.
    max_bytes
        What all texts together may take. Where that is too little, the pictures are shrunk, though not below 64 px.

    Returns
    -------
    Four texts, empty for a channel that is black all over; and height and width of the pictures.
    """
    side = max(channels.shape[1:]) if side_px is None else min(side_px, max(channels.shape[1:]))
    while True:
        small = shrunk(channels, side)
        with ThreadPoolExecutor(len(small)) as pool:
            texts = list(pool.map(_uri_unless_black, small))
        num_bytes = sum(map(len, texts))
        if num_bytes <= max_bytes or side <= _LEAST_SIDE_PX:
            return texts, (int(small.shape[1]), int(small.shape[2]))
        side = max(_LEAST_SIDE_PX, int(side * min(_HEADROOM, _HEADROOM * (max_bytes / num_bytes) ** 0.5)))


def _uri_unless_black(channel: NDArray[np.uint8]) -> str:
    return data_uri(channel) if channel.any() else ""


def thumbnail_uri(channels: NDArray[np.uint8]) -> str:
    """(4, H, W) uint8 as a small picture in colours."""
    return data_uri(mix_channels(shrunk(channels, _THUMBNAIL_PX)), quality=70)


def flat_outline(line: NDArray[np.float32], tolerance_px: float) -> list[int]:
    """A closed line as whole numbers, x and y in turn, in half pixels of the field: so they are exact.

    Parameters
    ----------
    line
        (P, 2) float32, x and y in px from the field's corner; multiples of a half.
    tolerance_px
        Points that lie so near to a straight line between others are left out.
    """
    points = cv2.approxPolyDP(line.reshape(-1, 1, 2), tolerance_px, True).reshape(-1, 2)
    return [int(value) for value in np.rint(points * 2).ravel()]
