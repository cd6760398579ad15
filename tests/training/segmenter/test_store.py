from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpa_cells.training.segmenter.store import read_training_field, write_training_field
from hpa_cells.training.segmenter.training_field import TrainingField


def test_what_is_written_is_read(fields: list[TrainingField], tmp_path: Path) -> None:
    for field in fields:
        path = tmp_path / f"{field.name}.npz"
        write_training_field(field, path)
        read = read_training_field(path)
        assert (read.name, read.source) == (field.name, field.source)
        for name in ("planes", "ends", "cells", "in_nucleus"):
            mine, other = getattr(field, name), getattr(read, name)
            assert mine.dtype == other.dtype, name
            np.testing.assert_array_equal(mine, other)


def test_a_damaged_file(fields: list[TrainingField], tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    write_training_field(fields[0], path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.npz is damaged .* delete it"):
        read_training_field(path)
