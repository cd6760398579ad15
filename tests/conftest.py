"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real HPA fields, masks and labels, where the environment variable names one."""
    folder = os.environ.get("HPA_CELLS_REAL_DATA")
    if not folder:
        pytest.skip("HPA_CELLS_REAL_DATA is unset: it names the folder of real HPA fields")
    return Path(folder).resolve()
