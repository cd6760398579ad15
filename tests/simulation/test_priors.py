from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.presence import EXTRA_RATE, PRESENCE
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE, label_sets, with_floor


def test_label_sets_are_distinct_and_negative_is_alone() -> None:
    sets, shares = label_sets()
    assert len(np.unique(sets, axis=0)) == len(sets) == len(shares)
    assert shares.sum() == pytest.approx(1)
    assert sets.any(axis=1).all()
    assert sets[sets[:, NEGATIVE]].sum() == 1


def test_every_class_has_its_rates() -> None:
    assert tuple(PRESENCE) == CLASS_SET.keys
    assert EXTRA_RATE.keys() <= PRESENCE.keys()
    assert "negative" not in EXTRA_RATE


def test_label_sets_are_those_of_the_real_table(real_data: Path) -> None:
    table = pd.read_csv(real_data / "hpa2021" / "train.csv")
    real = Counter(frozenset(map(int, labels.split("|"))) for labels in table["Label"])
    frequent = {labels: count for labels, count in real.items() if count >= 5}
    sets, shares = label_sets()
    found = {frozenset(np.flatnonzero(row).tolist()): share for row, share in zip(sets, shares, strict=True)}
    assert found.keys() == frequent.keys()
    total = sum(frequent.values())
    assert found == pytest.approx({labels: count / total for labels, count in frequent.items()})


def test_rates_are_those_of_the_real_cells(real_data: Path) -> None:
    real = pd.read_csv(real_data / "cell_labels" / "cell_given_image.csv")
    carried, shown, both = (real[name] for name in ("cells_in_images_with_label", "cells_with_label", "both"))
    drawn = real["class"] != NEGATIVE
    presence = np.array(list(PRESENCE.values()))
    np.testing.assert_allclose(presence[drawn], (both / carried)[drawn], atol=0.001)
    extra = [EXTRA_RATE.get(key, 0.0) for key in CLASS_SET.keys]
    np.testing.assert_allclose(np.array(extra)[drawn], ((shown - both) / (5090 - carried))[drawn], atol=1e-4)


@given(floor=st.floats(0, 0.04))
def test_floor_is_reached_and_the_shares_stay_a_distribution(floor: float) -> None:
    sets, shares = label_sets()
    raised = with_floor(sets, shares, floor)
    assert raised.sum() == pytest.approx(1)
    assert ((raised @ sets) >= floor * (1 - 1e-5)).all()
    assert ((raised > 0) == (shares > 0)).all()


def test_floor_leaves_the_proportions_of_frequent_sets() -> None:
    sets, shares = label_sets()
    frequent = ~sets[:, (shares @ sets) < 0.02].any(axis=1)
    ratios = with_floor(sets, shares, 0.02)[frequent] / shares[frequent]
    np.testing.assert_allclose(ratios, ratios[0])
    np.testing.assert_array_equal(with_floor(sets, shares, 0.0), shares)
