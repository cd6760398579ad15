from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.training.bags import BagSampler, BagSettings
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.field_weights import file_hash, leave_out, read_field_weights

IDS = ["f0", "f1", "f2", "f3"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.csv"


def test_fields_that_are_not_named_weigh_1(path: Path) -> None:
    path.write_text("field_id,weight,why\nf2,0.25,Cytosol\nf0,0,\n")
    weights = read_field_weights(path, IDS)
    assert weights.tolist() == [0, 1, 0.25, 1]
    assert weights.dtype == np.float64


def test_columns_may_come_in_any_order_and_the_file_may_name_no_field(path: Path) -> None:
    path.write_text("weight,field_id\n1,f3\n0.5,f1\n")
    assert read_field_weights(path, IDS).tolist() == [1, 0.5, 1, 1]
    path.write_text("field_id,weight\n")
    assert read_field_weights(path, IDS).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,weight\nf0,1\n", r"weights\.csv, line 1: columns are ID, weight, expected field_id and weight"),
        ("field_id\nf0\n", r"line 1: columns are field_id, expected field_id and weight"),
        ("", r"line 1: columns are none"),
        ("field_id,weight\nf0,half\n", r"line 2: weight is 'half', expected a number from 0 to 1"),
        ("field_id,weight\nf0,1\nf1,\n", r"line 3: weight is '', expected"),
        ("field_id,weight\nf0,1.5\n", r"line 2: weight is '1\.5', expected"),
        ("field_id,weight\nf0,-0.1\n", r"line 2: weight is '-0\.1', expected"),
        ("field_id,weight\nf0,nan\n", r"line 2: weight is 'nan', expected"),
        ("field_id,weight\nf0,1\nf0,0\n", r"line 3: field_id 'f0' is in line 2 too"),
        (
            "field_id,weight\nf9,1\nf0,1\nx,0\n",
            r"weighs 2 fields that are not among the 4 .* \(f9, x\): remove",
        ),
    ],
)
def test_a_table_that_cannot_be_used(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_field_weights(path, IDS)


def test_no_file(path: Path) -> None:
    for read in (file_hash, lambda each: read_field_weights(each, IDS)):
        with pytest.raises(FileNotFoundError, match=r"weights\.csv does not exist"):
            read(path)


def test_the_hash_is_that_of_the_content(path: Path) -> None:
    hashes = []
    for text in ("field_id,weight\nf0,0\n", "field_id,weight\nf0,1\n", "field_id,weight\nf0,0\n"):
        path.write_text(text)
        hashes.append(file_hash(path))
    assert hashes[0] == hashes[2] != hashes[1]


def test_fields_of_weight_0_are_left_out(cells: LabelledCells, caplog: pytest.LogCaptureFixture) -> None:
    weights = np.ones(12)
    weights[[2, 5]], weights[7] = 0, 0.5
    with caplog.at_level(logging.INFO):
        kept = leave_out(replace(cells, weights=weights))
    assert kept.field_ids == tuple(each for row, each in enumerate(cells.field_ids) if row not in (2, 5))
    assert kept.weights is not None
    assert kept.weights.tolist() == [1, 1, 1, 1, 1, 0.5, 1, 1, 1, 1]
    assert "Of 12 training fields 2 are left out and 1 are drawn less often" in caplog.text
    assert leave_out(cells) is cells


def test_nothing_left_is_an_error(cells: LabelledCells) -> None:
    with pytest.raises(ValueError, match="gives all 12 training fields the weight 0"):
        leave_out(replace(cells, weights=np.zeros(12)))


def plain_bags() -> BagSettings:
    usual = to_settings(BagSettings, compose("train", ["bags.seed=0"]).bags)
    return replace(usual, fields_per_batch=4, cells_per_field=3, balance=0.0)


def sampler_of(data: BagData) -> BagSampler:
    return data.train_dataloader()._sampler


def test_a_doubtful_field_is_drawn_so_much_less_often(cells: LabelledCells) -> None:
    settings = plain_bags()
    weights = np.ones(12)
    weights[3], weights[8] = 0.25, 0.5
    data = BagData(replace(cells, weights=weights), cells, settings)
    drawn = Counter(field for batch in range(900) for field in sampler_of(data).plan(batch).fields.tolist())
    usual = np.mean([drawn[field] for field in range(12) if field not in (3, 8)])
    assert drawn[3] / usual == pytest.approx(0.25, abs=0.03)
    assert drawn[8] / usual == pytest.approx(0.5, abs=0.03)
    alike = BagData(cells, cells, settings)
    ones = BagData(replace(cells, weights=np.ones(12)), cells, settings)
    for batch in range(20):
        np.testing.assert_array_equal(sampler_of(alike).plan(batch).rows, sampler_of(ones).plan(batch).rows)


def test_validation_keeps_all_fields(cells: LabelledCells) -> None:
    settings = plain_bags()
    data = BagData(cells, replace(cells, weights=np.zeros(12)), settings)
    assert sum(len(bags.field_labels) for bags in data.val_dataloader()) == 12
