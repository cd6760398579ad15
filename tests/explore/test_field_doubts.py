from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.explore import (
    REASON_COLUMNS,
    Doubt,
    DoubtSettings,
    LabelReview,
    doubts_of_anomalies,
    doubts_of_embeddings,
    doubts_of_labels,
    proposed_weights,
    weights_of_fields,
)
from hpa_cells.explore.anomalies import ANOMALY_COLUMNS
from hpa_cells.fields import LabelTable

CLASS_SET = get_class_set("hpa2021")
SETTINGS = DoubtSettings(
    copy=0.0,
    near_copy=0.1,
    empty=0.2,
    saturated=0.3,
    outlier=0.4,
    histogram=0.5,
    odd_embedding=0.6,
    near_copy_embedding=0.7,
)


def labelled(**keys_of_field: str) -> LabelTable:
    labels = np.zeros((len(keys_of_field), len(CLASS_SET)), dtype=bool)
    for row, keys in enumerate(keys_of_field.values()):
        labels[row, [CLASS_SET.index(key) for key in keys.split()]] = True
    return LabelTable(class_set=CLASS_SET, field_ids=tuple(keys_of_field), labels=labels)


def anomaly(field_id: str, kind: str, channel: str = "all", other: str = "") -> pd.DataFrame:
    row = (field_id, channel, kind, 1.0, "told", other)
    return pd.DataFrame([row], columns=list(ANOMALY_COLUMNS))


def weights(found: pd.DataFrame, labels: LabelTable | None) -> dict[str, float]:
    return {doubt.field_id: doubt.weight for doubt in doubts_of_anomalies(found, labels, SETTINGS)}


@pytest.mark.parametrize(
    ("kind", "channel", "expected"),
    [
        ("saturated", "green", 0.3),
        ("saturated", "red", 0.3),
        ("outlier", "red", 0.4),
        ("outlier", "green", None),
        ("histogram", "all", 0.5),
        ("empty", "blue", 0.2),
        ("missing", "yellow", None),
    ],
)
def test_each_kind_of_anomaly_proposes_its_weight(kind: str, channel: str, expected: float | None) -> None:
    found = weights(anomaly("a", kind, channel), labelled(a="cytosol"))
    assert found == ({} if expected is None else {"a": expected})


@pytest.mark.parametrize("labels", [labelled(b="cytosol", c="cytosol"), labelled(b="cytosol", c="negative")])
def test_copies_of_a_field_without_labels_are_copies_of_each_other(labels: LabelTable) -> None:
    found = pd.concat([anomaly("b", "copy", other="a"), anomaly("c", "copy", other="a")])
    differ = not (labels.labels[0] == labels.labels[1]).all()
    assert weights(found, labels) == ({"b": 0.0, "c": 0.0} if differ else {"c": 0.0})
    (told, *_) = doubts_of_anomalies(found, labels, SETTINGS)
    assert (told.field_id, told.told) == ("c", "b, labelled otherwise" if differ else "b")


def test_copies_are_followed_through_fields_without_labels() -> None:
    chain = [anomaly("b", "near_copy", other="a"), anomaly("c", "near_copy", other="b")]
    assert weights(pd.concat(chain), labelled(a="cytosol", c="cytosol"))["c"] == 0.1
    fork = pd.concat([*chain, anomaly("d", "near_copy", other="a")])
    assert weights(fork, labelled(c="cytosol", d="cytosol")) == {"d": 0.1}
    assert weights(fork, labelled(d="cytosol")) == {}


def test_an_empty_protein_is_in_doubt_only_where_it_is_labelled_with_a_place() -> None:
    empty = anomaly("a", "empty", "green")
    assert weights(empty, labelled(a="negative")) == {}
    assert weights(empty, labelled(b="cytosol")) == {}
    assert weights(empty, None) == {}
    assert weights(empty, labelled(a="cytosol")) == {"a": 0.2}
    assert weights(empty, labelled(a="cytosol negative")) == {"a": 0.2}
    [doubt] = doubts_of_anomalies(empty, labelled(a="golgi_apparatus cytosol"), SETTINGS)
    assert doubt.told == "green empty, labelled cytosol, golgi_apparatus: told"


def test_of_copies_the_later_is_left_out_and_both_where_their_labels_differ() -> None:
    copy = anomaly("b", "copy", other="a")
    assert weights(copy, labelled(a="cytosol", b="cytosol")) == {"b": 0.0}
    assert weights(copy, labelled(a="cytosol", b="nucleoli")) == {"b": 0.0, "a": 0.0}
    assert weights(copy, None) == {"b": 0.0}
    # Of the earlier one nothing is learned, so the later one repeats nothing.
    assert weights(copy, labelled(b="cytosol")) == {}
    near = list(
        doubts_of_anomalies(
            anomaly("b", "near_copy", other="a"), labelled(a="cytosol", b="nucleoli"), SETTINGS
        )
    )
    assert [(each.field_id, each.weight, each.told) for each in near] == [
        ("b", 0.1, "a (nearly), labelled otherwise"),
        ("a", 0.1, "b (nearly), labelled otherwise"),
    ]


def placed(*rows: tuple[str, float, bool, str, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["field_id", "deviation", "is_odd", "nearest_field", "is_near_copy"])


def test_odd_embeddings_and_the_later_of_two_that_are_alike_are_in_doubt() -> None:
    table = placed(("a", 0.0, False, "b", True), ("b", 5.0, True, "c", True), ("c", 0.0, False, "b", True))
    found = [
        (each.field_id, each.weight, each.column) for each in doubts_of_embeddings(table, None, SETTINGS)
    ]
    assert found == [("b", 0.6, "embedding"), ("b", 0.7, "copy_of"), ("c", 0.7, "copy_of")]
    of_labelled = doubts_of_embeddings(table, labelled(a="cytosol", b="cytosol"), SETTINGS)
    assert [(each.field_id, each.told) for each in of_labelled if each.column == "copy_of"] == [
        ("b", "a (by embedding)")
    ]


def test_doubtful_labels_have_the_weights_of_the_review() -> None:
    doubtful = pd.DataFrame(
        {
            "field_id": ["a", "a", "b"],
            "name": ["Cytosol", "Nucleoli", "Negative"],
            "kind": ["given but not seen", "seen but not given", "seen but not given"],
            "field_quality": [0.1, 0.1, 0.2],
        }
    )
    review = LabelReview(doubtful=doubtful, field_quality=np.array([0.1, 0.2, 0.4]), not_judged=())
    rows = weights_of_fields(doubts_of_labels(review))
    expected = proposed_weights(review)
    pd.testing.assert_frame_equal(rows[list(expected.columns)], expected)
    assert (rows[["pixels", "copy_of", "embedding"]] == "").all(axis=None)


def test_a_field_has_one_row_with_its_lowest_weight_and_all_its_reasons() -> None:
    doubts = [
        Doubt(field_id="b", weight=0.5, column="pixels", told="red outlier"),
        Doubt(field_id="a", weight=0.456, column="embedding", told="unlike"),
        Doubt(field_id="b", weight=0.25, column="pixels", told="saturated"),
        Doubt(field_id="b", weight=1.0, column="copy_of", told="a"),
        Doubt(field_id="b", weight=1.0, column="copy_of", told="a"),
        Doubt(field_id="unlabelled", weight=0.0, column="pixels", told="empty"),
    ]
    rows = weights_of_fields(doubts, ["a", "b", "c"])
    assert rows.columns.tolist() == ["field_id", "weight", *REASON_COLUMNS]
    assert rows[["field_id", "weight", "pixels", "copy_of", "embedding"]].to_numpy().tolist() == [
        ["b", 0.25, "red outlier; saturated", "a", ""],
        ["a", 0.46, "", "", "unlike"],
    ]
    # Slow and obvious.
    for field_id in ("a", "b"):
        lowest = min(doubt.weight for doubt in doubts if doubt.field_id == field_id)
        assert rows.set_index("field_id").loc[field_id, "weight"] == round(lowest, 2)
    assert weights_of_fields(doubts)["field_id"].tolist() == ["unlabelled", "b", "a"]


def test_without_doubts_there_is_a_header() -> None:
    assert weights_of_fields([]).columns.tolist() == ["field_id", "weight", *REASON_COLUMNS]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_weight_is_from_0_to_1(value: float) -> None:
    with pytest.raises(ValueError, match=r"weights\.saturated is .*: give a number from 0 to 1"):
        replace(SETTINGS, saturated=value)
