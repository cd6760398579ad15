"""Files of ONNX as other programs read them: by onnxruntime and their own metadata alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

Answers = dict[str, NDArray[Any]]


class Reader:
    """A session of onnxruntime."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.outputs = [each.name for each in self.session.get_outputs()]
        self.metadata = json.loads(self.session.get_modelmeta().custom_metadata_map["hpa_cells"])

    def __call__(self, **inputs: NDArray[Any]) -> Answers:
        return dict(zip(self.outputs, self.session.run(None, inputs), strict=True))


@pytest.fixture
def read_onnx() -> Callable[[Path], Reader]:
    return Reader


@pytest.fixture
def largest_difference() -> Callable[[Answers, Answers], float]:
    def compare(mine: Answers, theirs: Answers) -> float:
        assert mine.keys() == theirs.keys()
        assert all(mine[name].shape == theirs[name].shape for name in mine)
        assert all(np.isfinite(each).all() for each in (*mine.values(), *theirs.values()))
        return max(float(np.abs(mine[name] - theirs[name]).max(initial=0)) for name in mine)

    return compare
