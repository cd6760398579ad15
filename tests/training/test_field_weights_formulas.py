"""Weights of fields whose ids a spreadsheet would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpa_cells.commands.field_doubts import write_field_weights
from hpa_cells.explore import Doubt
from hpa_cells.training.field_weights import read_field_weights

IDS = ["=1+1", "+a", "'a", "'=a", "b"]


def test_a_review_is_read_back_with_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "field_weights.csv"
    doubts = [
        Doubt(field_id=field_id, weight=weight, column="pixels", told="=2+2")
        for field_id, weight in zip(IDS, [0.1, 0.2, 0.3, 0.4, 0.5], strict=True)
    ]
    write_field_weights(doubts, None, tmp_path)
    assert not [line for line in path.read_text().splitlines() if line.startswith(("=", "+"))]
    assert read_field_weights(path, IDS) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "weights.csv").write_text("field_id,weight\n=1+1,0.1\n'a,0.3\n")
    assert read_field_weights(tmp_path / "weights.csv", ["=1+1", "'a"]) == pytest.approx([0.1, 0.3])
