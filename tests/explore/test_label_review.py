from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import hpa_cells.explore.label_review as label_review
from hpa_cells.classes import get_class_set
from hpa_cells.explore import LabelReview, proposed_weights, review_labels

CLASS_SET = get_class_set("hpa2021")
NUM_FIELDS = 240
# Of the others no field is labelled.
JUDGED = [1, 4, 9, 16]
KINDS = ("given but not seen", "seen but not given")

pytest.importorskip("cleanlab", reason="the extra `review` brings cleanlab")


def scored_fields(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """True labels of four classes, the same with a tenth of the fields wrong, and scores that follow the true ones."""
    draw = np.random.default_rng(seed)
    true = np.zeros((NUM_FIELDS, len(CLASS_SET)), dtype=bool)
    true[:, JUDGED] = draw.random((NUM_FIELDS, 4)) < [0.5, 0.3, 0.2, 0.1]
    given = true.copy()
    wrong = draw.choice(NUM_FIELDS, NUM_FIELDS // 10, replace=False)
    given[wrong, draw.choice(JUDGED, len(wrong))] ^= True
    scores = np.where(true, draw.beta(5, 2, true.shape), draw.beta(1.5, 6, true.shape))
    return true, given, scores


def review_of(given: NDArray[np.bool_], scores: NDArray[np.float64]) -> LabelReview:
    ids = [f"f{row:03d}" for row in range(len(given))]
    return review_labels(given, scores, field_ids=ids, class_set=CLASS_SET)


def told(review: LabelReview, num_fields: int = NUM_FIELDS) -> NDArray[np.bool_]:
    mask = np.zeros((num_fields, len(CLASS_SET)), dtype=bool)
    mask[review.doubtful["field_id"].str[1:].astype(int), review.doubtful["class"]] = True
    return mask


def confident_learning(given: NDArray[np.bool_], score: NDArray[np.float64]) -> NDArray[np.bool_]:
    """One class by the definitions of the paper: which fields are pruned by noise rate."""
    of_label = [1 - score, score]
    usual = [of_label[label][given == bool(label)].mean() for label in (0, 1)]
    joint = np.zeros((2, 2))
    for field in range(len(given)):
        seen = [label for label in (0, 1) if of_label[label][field] >= usual[label]]
        if seen:
            joint[int(given[field]), max(seen, key=lambda label: of_label[label][field])] += 1
    pruned = np.zeros(len(given), dtype=bool)
    for label in (0, 1):
        labelled = np.flatnonzero(given == bool(label))
        number = round(joint[label, 1 - label] / joint[label].sum() * len(labelled))
        by_doubt = sorted(labelled, key=lambda field: of_label[label][field])
        pruned[[field for field in by_doubt[:number] if of_label[label][field] < 0.5]] = True
    return pruned


# Seeds for which no estimated number of wrong labels ends in a half, which may be rounded either way.
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_doubtful_labels_are_those_of_the_paper(seed: int) -> None:
    _, given, scores = scored_fields(seed)
    expected = np.stack([confident_learning(given[:, label], scores[:, label]) for label in JUDGED], axis=1)
    assert expected.sum() > 5
    found = told(review_of(given, scores))
    np.testing.assert_array_equal(found[:, JUDGED], expected)
    assert found.sum() == expected.sum()


def test_wrong_labels_are_found_and_told_by_kind() -> None:
    true, given, scores = scored_fields(3)
    review = review_of(given, scores)
    wrong, found = given != true, told(review)
    assert wrong[found].mean() > 0.4 > 10 * wrong.mean()
    assert found[wrong].mean() > 0.6
    doubtful = review.doubtful
    fields = doubtful["field_id"].str[1:].astype(int)
    np.testing.assert_array_equal(doubtful["is_given"], given[fields, doubtful["class"]])
    assert set(doubtful.loc[doubtful["is_given"], "kind"]) == {KINDS[0]}
    assert set(doubtful.loc[~doubtful["is_given"], "kind"]) == {KINDS[1]}
    np.testing.assert_allclose(doubtful["score"], scores[fields, doubtful["class"]])
    assert doubtful["name"].tolist() == [CLASS_SET.names[each] for each in doubtful["class"]]
    assert len(review.not_judged) == 15
    assert not {CLASS_SET.keys[label] for label in JUDGED} & set(review.not_judged)


def test_quality_is_the_score_in_relation_to_the_usual_one_of_the_class() -> None:
    _, given, scores = scored_fields(4)
    review = review_of(given, scores)
    for row in review.doubtful.itertuples():
        label, field = row[3], int(row.field_id[1:])
        with_it = given[:, label]
        usual = scores[with_it, label].mean(), 1 - scores[~with_it, label].mean()
        seen, unseen = (
            scores[field, label] - usual[0] + max(usual),
            1 - scores[field, label] - usual[1] + max(usual),
        )
        assert row.quality == pytest.approx((seen if row.is_given else unseen) / (seen + unseen))


def test_the_worst_field_comes_first_and_in_it_the_worst_label() -> None:
    review = review_of(*scored_fields(5)[1:])
    doubtful = review.doubtful
    assert doubtful["rank"].tolist() == list(range(1, len(doubtful) + 1))
    assert doubtful["field_quality"].is_monotonic_increasing
    for _, found in doubtful.groupby("field_id"):
        assert found["quality"].is_monotonic_increasing
        assert found["rank"].max() - found["rank"].min() == len(found) - 1


def test_the_order_of_fields_changes_nothing() -> None:
    _, given, scores = scored_fields(6)
    order = np.random.default_rng(0).permutation(NUM_FIELDS)
    ids = [f"f{row:03d}" for row in order]
    shuffled = review_labels(given[order], scores[order], field_ids=ids, class_set=CLASS_SET)
    columns = ["field_id", "class", "quality", "field_quality"]
    one, other = (each.doubtful[columns].round(9) for each in (shuffled, review_of(given, scores)))
    assert set(one.itertuples(index=False)) == set(other.itertuples(index=False))


def test_scores_that_agree_leave_nothing_to_doubt() -> None:
    true, _, _ = scored_fields(7)
    review = review_of(true, true.astype(float))
    assert review.doubtful.empty
    assert (review.field_quality == 1).all()
    assert proposed_weights(review).empty


def test_weights_fall_with_quality_and_name_the_labels() -> None:
    _, given, scores = scored_fields(8)
    review = review_of(given, scores)
    weights = proposed_weights(review)
    assert sorted(weights["field_id"]) == sorted(set(review.doubtful["field_id"]))
    assert weights["weight"].between(0, 1).all()
    assert weights["weight"].is_monotonic_increasing
    quality = review.field_quality[weights["field_id"].str[1:].astype(int)]
    expected = np.minimum(quality / np.median(review.field_quality), 1)
    np.testing.assert_allclose(weights["weight"], expected, atol=0.005)
    for row in weights.itertuples():
        own = review.doubtful[review.doubtful["field_id"] == row.field_id]
        told_labels = [each for each in (row.given_but_not_seen, row.seen_but_not_given) if each]
        assert (
            ", ".join(told_labels).split(", ")
            == own.sort_values("is_given", ascending=False, kind="stable")["name"].tolist()
        )


def test_weights_are_in_parts_of_the_median_and_never_more_than_usual() -> None:
    _, given, scores = scored_fields(8)
    doubtful = (
        review_of(given, scores)
        .doubtful.iloc[:2]
        .assign(field_id=["worse", "better"], field_quality=[0.2, 0.6])
    )
    review = LabelReview(doubtful=doubtful, field_quality=np.array([0.2, 0.4, 0.6]), not_judged=())
    assert proposed_weights(review)[["field_id", "weight"]].to_numpy().tolist() == [
        ["worse", 0.5],
        ["better", 1.0],
    ]


def test_contradicted_through_and_through_still_has_weights() -> None:
    true, _, _ = scored_fields(9)
    weights = proposed_weights(review_of(true, 1 - true.astype(float)))
    assert (weights["weight"] == 0).all()


def test_a_class_on_a_single_field_is_not_judged() -> None:
    _, given, scores = scored_fields(10)
    given[:, 5] = False
    given[3, 5] = True
    scores[3, 5] = 0
    review = review_of(given, scores)
    assert "nuclear_bodies" in review.not_judged
    assert not (review.doubtful["class"] == 5).any()
    given[4, 5] = True
    assert "nuclear_bodies" not in review_of(given, scores).not_judged


def test_one_class_alone_is_judged() -> None:
    _, given, scores = scored_fields(11)
    given[:, np.arange(len(CLASS_SET)) != 9] = False
    found = told(review_of(given, scores))
    np.testing.assert_array_equal(found[:, 9], confident_learning(given[:, 9], scores[:, 9]))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.zeros((5, 18), bool), np.zeros((5, 19)), r"labels are bool \(5, 18\), expected bool \(5, 19\)"),
        (np.zeros((5, 19), int), np.zeros((5, 19)), r"labels are int64"),
        (np.zeros((5, 19), bool), np.zeros((5, 18)), r"probabilities are \(5, 18\)"),
        (np.zeros((5, 19), bool), np.full((5, 19), np.nan), "leave out fields without cells"),
        (np.zeros((5, 19), bool), np.full((5, 19), 1.5), "not between 0 and 1"),
    ],
)
def test_what_cannot_be_reviewed(labels: NDArray, scores: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        review_labels(labels, scores, field_ids=list("abcde"), class_set=CLASS_SET)


def test_of_too_few_fields_no_label_is_doubtful() -> None:
    review = review_labels(
        np.eye(4, 19, dtype=bool), np.full((4, 19), 0.5), field_ids=list("abcd"), class_set=CLASS_SET
    )
    assert review.doubtful.empty
    assert "field_quality" in review.doubtful.columns
    assert review.field_quality.tolist() == [1.0] * 4
    assert review.not_judged == CLASS_SET.keys
    assert proposed_weights(review).empty


def test_without_cleanlab_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_review, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs cleanlab: install it with pip install 'hpa-cells\[review\]'"
    ):
        review_of(*scored_fields(0)[1:])
