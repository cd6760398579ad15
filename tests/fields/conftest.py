"""Fields made up for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.types import Channel, Field


@pytest.fixture
def made_up_field() -> Field:
    """(4, 20, 30) uint8, every channel different."""
    image = np.random.default_rng(0).integers(0, 256, (4, 20, 30), dtype=np.uint8)
    return Field(field_id="f1", image=image, pixel_size_um=0.125)


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """Make small valid images of these names in the temporary folder, which is returned."""

    def make(*names: str) -> Path:
        for name in names:
            encoded, data = cv2.imencode(Path(name).suffix, np.full((4, 5), 7, np.uint8))
            assert encoded
            (tmp_path / name).write_bytes(data.tobytes())
        return tmp_path

    return make


@pytest.fixture
def names_of() -> Callable[..., list[str]]:
    """The file names of a whole field."""

    def names(field_id: str, suffix: str = "png", without: tuple[Channel, ...] = ()) -> list[str]:
        return [f"{field_id}_{channel.color}.{suffix}" for channel in Channel if channel not in without]

    return names
