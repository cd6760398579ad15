from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa_cells.cells import cell_rows, field_row
from hpa_cells.fields import write_field
from hpa_cells.table import Column, Provenance, TableWriter
from hpa_cells.training.crop_store import CropStore
from hpa_cells.training.labelled import (
    CellLabels,
    DataSettings,
    find_labelled_fields,
    label_cells,
    split_folds,
)
from hpa_cells.training.soft_labels import SoftLabelSettings
from hpa_cells.types import CellScores, Field, Segmentation

NUM_FIELDS = 10


@pytest.fixture
def settings(tmp_path: Path) -> DataSettings:
    lines = ["ID,Label,antibody"]
    for index in range(NUM_FIELDS):
        image = np.full((4, 8, 8), index, dtype=np.uint8)
        write_field(Field(field_id=f"f{index}", image=image, pixel_size_um=1.0), tmp_path / "train")
        lines.append(f"f{index},{index % 2}|16,ab{index // 2}")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    return DataSettings(
        root=str(tmp_path),
        fields=[str(tmp_path / "train")],
        labels=[str(tmp_path / "train.csv")],
        class_set="hpa2021",
        groups=None,
        groups_file=None,
        num_folds=5,
        fold=0,
        fold_seed=0,
        unmatched="refuse",
        conflicts="refuse",
        broken="refuse",
        pixel_size_um=None,
        review=None,
    )


def store_of(*field_ids: str) -> CropStore:
    cells = pd.DataFrame(
        {
            Column.FIELD_ID: np.repeat(field_ids, 2),
            Column.CELL_ID: np.tile([4, 9], len(field_ids)),
            Column.TOUCHES_BORDER: False,
        }
    )
    images = np.zeros((len(cells), 4, 8, 8), dtype=np.uint8)
    return CropStore(cells=cells, shards=(images,), starts=np.array([0]))


def test_fields_and_labels_in_one_order(settings: DataSettings) -> None:
    found = find_labelled_fields(settings, optional=frozenset())
    assert [source.field_id for source in found.sources] == list(found.table.field_ids)
    assert found.table.labels[:, 16].all()
    assert np.bincount(found.folds).tolist() == [2] * 5


def test_groups_stay_together(settings: DataSettings) -> None:
    found = find_labelled_fields(replace(settings, groups="antibody"), optional=frozenset())
    folds = dict(zip(found.table.field_ids, found.folds, strict=True))
    assert all(folds[f"f{index}"] == folds[f"f{index + 1}"] for index in range(0, NUM_FIELDS, 2))


def test_tables_of_both_years_are_merged(settings: DataSettings, tmp_path: Path) -> None:
    image = np.zeros((4, 8, 8), dtype=np.uint8)
    write_field(Field(field_id="extra", image=image, pixel_size_um=1.0), tmp_path / "more")
    (tmp_path / "more.csv").write_text("Id,Target\nextra,23 25\n")
    both = replace(
        settings,
        fields=[*settings.fields, str(tmp_path / "more")],
        labels=[*settings.labels, str(tmp_path / "more.csv")],
    )
    table = find_labelled_fields(both, optional=frozenset()).table
    labels = table.labels[table.field_ids.index("extra")]
    assert [table.class_set.keys[each] for each in np.flatnonzero(labels)] == ["mitochondria", "cytosol"]


def test_one_field_in_two_folders(settings: DataSettings, tmp_path: Path) -> None:
    image = np.zeros((4, 8, 8), dtype=np.uint8)
    write_field(Field(field_id="f3", image=image, pixel_size_um=1.0), tmp_path / "more")
    twice = replace(settings, fields=[*settings.fields, str(tmp_path / "more")])
    with pytest.raises(ValueError, match=r"Field f3 is in several of"):
        find_labelled_fields(twice, optional=frozenset())


def test_split_by_fold_without_fields_that_lack_cells(
    settings: DataSettings, caplog: pytest.LogCaptureFixture
) -> None:
    fields = find_labelled_fields(settings, optional=frozenset())
    cells = label_cells(fields, store_of("f0", "f1", "f2", "f5", "f7", "f8"), cell_labels=None)
    assert cells.field_ids == ("f0", "f1", "f2", "f5", "f7", "f8")
    with_cells = int(fields.folds[fields.table.field_ids.index("f0")])
    with caplog.at_level(logging.INFO):
        training, validation = split_folds(cells, fields, with_cells)
    assert sorted(training.field_ids + validation.field_ids) == list(cells.field_ids)
    assert "No validation field shows" in caplog.text
    for part in (training, validation):
        for field_id, labels in zip(part.field_ids, part.labels, strict=True):
            assert labels[int(field_id[1:]) % 2]


def test_cells_take_their_labels_from_a_table_within_those_of_their_field(
    settings: DataSettings, tmp_path: Path
) -> None:
    fields = find_labelled_fields(settings, optional=frozenset())
    class_set = fields.table.class_set
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(tmp_path / "earlier", provenance=provenance) as writer:
        for field_id in ("f0", "f1"):
            cells = np.repeat(np.repeat([[0, 4, 9]], 2, axis=0), 4, axis=1).astype(np.int32)
            segmentation = Segmentation(field_id=field_id, cells=cells, nuclei=cells, pixel_size_um=1.0)
            scores = CellScores(
                field_id=field_id,
                class_set=class_set,
                cell_ids=segmentation.cell_ids,
                probabilities=np.array([[0.25] * 19, [0.75] * 19], dtype=np.float32),
                field_probabilities=np.zeros(19, dtype=np.float32),
                embeddings=np.zeros((2, 0), dtype=np.float32),
            )
            writer.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    rule = SoftLabelSettings(rule="probabilities", levels=0, agreement=None, shares={})
    earlier = CellLabels(table=tmp_path / "earlier", settings=rule)
    # The crops are stored in another order than the fields of the label table.
    targets = label_cells(fields, store_of("f1", "f0"), cell_labels=earlier).cell_targets
    assert targets is not None
    # f0 is labelled 0 and 16, f1 is labelled 1 and 16; class 18 is Negative.
    expected = np.zeros((4, 19), dtype=np.float32)
    expected[[0, 2], 16] = 0.25
    expected[[1, 3], 16] = 0.75
    expected[[0, 1], 1] = expected[[2, 3], 0] = [0.25, 0.75]
    expected[:, 18] = [0.75**2, 0.25**2] * 2
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_a_fold_without_cells_is_refused(settings: DataSettings) -> None:
    fields = find_labelled_fields(settings, optional=frozenset())
    cells = label_cells(fields, store_of("f0"), cell_labels=None)
    of_f0 = int(fields.folds[fields.table.field_ids.index("f0")])
    with pytest.raises(ValueError, match=r"leaves no training field with a cell, of 1 fields"):
        split_folds(cells, fields, of_f0)
    with pytest.raises(ValueError, match=r"leaves no validation field with a cell, of 1 fields"):
        split_folds(cells, fields, (of_f0 + 1) % 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 5}, r"data\.fold is 5: give a number from 0 to 4"),
        ({"unmatched": "keep"}, r"data\.unmatched is 'keep': use refuse or drop"),
        ({"broken": "skip"}, r"data\.broken is 'skip'"),
        ({"conflicts": "both"}, r"data\.conflicts is 'both'"),
    ],
)
def test_settings_out_of_range(settings: DataSettings, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(settings, **changes)
