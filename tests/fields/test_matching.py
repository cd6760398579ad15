from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.classes import CLASS_SETS, ClassSet
from hpa_cells.fields import (
    FieldSource,
    ImageFile,
    LabelTable,
    find_fields,
    match_labels,
    merge_label_tables,
    read_label_table,
)
from hpa_cells.types import Channel

HPA2021, HPA2018 = CLASS_SETS["hpa2021"], CLASS_SETS["hpa2018"]


def table(
    classes_of_id: dict[str, list[int]], class_set: ClassSet = HPA2021, **groups: list[str]
) -> LabelTable:
    labels = np.zeros((len(classes_of_id), len(class_set)), dtype=bool)
    for row, classes in enumerate(classes_of_id.values()):
        labels[row, classes] = True
    columns = {name: tuple(values) for name, values in groups.items()}
    return LabelTable(class_set=class_set, field_ids=tuple(classes_of_id), labels=labels, groups=columns)


def source(field_id: str) -> FieldSource:
    return FieldSource(
        field_id=field_id, files={Channel.PROTEIN: ImageFile.at(Path(f"{field_id}_green.png"))}
    )


def classes_of_id(merged: LabelTable) -> dict[str, list[int]]:
    return {
        field_id: np.flatnonzero(row).tolist()
        for field_id, row in zip(merged.field_ids, merged.labels, strict=True)
    }


class TestMerge:
    def test_classes_are_mapped_and_fields_are_kept_once(self) -> None:
        merged = merge_label_tables(
            [table({"a": [13, 17], "b": [18]}), table({"a": [8, 9, 21], "c": [12, 13, 25]}, HPA2018)], HPA2021
        )
        assert merged.class_set == HPA2021
        assert classes_of_id(merged) == {"a": [13, 17], "b": [18], "c": [9, 16]}

    def test_a_field_that_keeps_no_label_is_left_out_and_told(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            merged = merge_label_tables([table({"rods": [27], "both": [27, 0]}, HPA2018)], HPA2021)
        assert classes_of_id(merged) == {"both": [0]}
        assert "Left out 1 fields without a label in hpa2021 (rods)" in caplog.text

    def test_classes_without_a_counterpart_are_told(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            merge_label_tables([table({"a": [17, 0], "b": [18], "c": [0]})], HPA2018)
        assert (
            "Vesicles and punctate cytosolic patterns, Negative of hpa2021 has no counterpart in hpa2018: "
            "2 of 3 fields lose a label."
        ) in caplog.text
        caplog.clear()
        with caplog.at_level(logging.INFO):
            merge_label_tables([table({"a": [0]}, HPA2018)], HPA2021)
        assert "counterpart" not in caplog.text

    def test_tables_that_disagree_are_refused_unless_the_first_may_win(self) -> None:
        tables = [table({"a": [0], "b": [1]}), table({"a": [0], "b": [2]})]
        with pytest.raises(
            ValueError, match=r"disagree about 1 fields \(b\): .*\(data\.conflicts=keep_first; in Python"
        ):
            merge_label_tables(tables, HPA2021)
        merged = merge_label_tables(tables, HPA2021, conflicts="keep_first")
        assert classes_of_id(merged) == {"a": [0], "b": [1]}

    def test_groups_that_every_table_has_are_kept(self) -> None:
        first = table({"a": [0]}, gene=["G1"], antibody=["HPA1"])
        second = table({"b": [0], "a": [0]}, gene=["G2", "G1"])
        assert merge_label_tables([first, second], HPA2021).groups == {"gene": ("G1", "G2")}

    def test_nothing_cannot_be_merged(self) -> None:
        with pytest.raises(ValueError, match="give at least one"):
            merge_label_tables([], HPA2021)

    def test_the_real_tables(self, real_data: Path) -> None:
        tables = [read_label_table(real_data / name / "train.csv") for name in ("hpa2021", "hpa2018")]
        with pytest.raises(ValueError, match="disagree about 572 fields"):
            merge_label_tables(tables, HPA2021)
        merged = merge_label_tables(tables, HPA2021, conflicts="keep_first")
        assert len(merged) == 31_045
        np.testing.assert_array_equal(merged.labels[:21_806], tables[0].labels)


class TestMatch:
    def test_fields_and_labels_come_in_the_same_order(self) -> None:
        sources, matched = match_labels(table({"b": [1], "a": [0]}), [source("b"), source("a")])
        assert [each.field_id for each in sources] == ["a", "b"]
        assert classes_of_id(matched) == {"a": [0], "b": [1]}

    def test_what_has_no_counterpart_is_refused_or_dropped(self, caplog: pytest.LogCaptureFixture) -> None:
        labels, sources = table({"a": [0], "b": [1], "c": [2]}), [source("b"), source("x")]
        with pytest.raises(
            ValueError,
            match=r"2 of 3 labels have no field \(a, c\), 1 of 2 fields have no label \(x\): .*data\.unmatched=drop",
        ):
            match_labels(labels, sources)
        with caplog.at_level(logging.INFO):
            kept, matched = match_labels(labels, sources, unmatched="drop")
        assert [each.field_id for each in kept] == ["b"]
        assert classes_of_id(matched) == {"b": [1]}
        assert "Left out: 2 of 3 labels" in caplog.text

    @pytest.mark.parametrize("ids", [["x"], []])
    def test_no_match_at_all_is_always_refused(self, ids: list[str]) -> None:
        for unmatched in ("drop", "refuse"):
            # Leaving out what does not match would leave nothing.
            with pytest.raises(ValueError, match=r"check that both are of one data set\.$"):
                match_labels(table({"a": [0]}), [source(each) for each in ids], unmatched=unmatched)

    def test_the_real_fields(self, real_data: Path) -> None:
        sources = find_fields(real_data / "hpa2021" / "fields")
        kept, matched = match_labels(read_label_table(real_data / "hpa2021" / "fields.csv"), sources)
        assert [each.field_id for each in kept] == list(matched.field_ids)
        assert len(kept) == 4
