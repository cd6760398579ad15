from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.classes import CLASS_SETS
from hpa_cells.fields import LabelTable, assign_folds, read_label_table
from hpa_cells.fields.folds import _stratify_groups

HPA2021 = CLASS_SETS["hpa2021"]


def random_table(num_fields: int, seed: int = 0, num_genes: int = 12) -> LabelTable:
    rng = np.random.default_rng(seed)
    labels = rng.random((num_fields, len(HPA2021))) < np.linspace(0.02, 0.5, len(HPA2021))
    genes = tuple(f"G{number}" for number in rng.integers(0, num_genes, num_fields))
    ids = tuple(f"f{number:05d}" for number in rng.permutation(num_fields))
    return LabelTable(class_set=HPA2021, field_ids=ids, labels=labels, groups={"gene": genes})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_fields=st.integers(30, 80),
    num_folds=st.integers(2, 6),
    is_grouped=st.booleans(),
)
def test_the_order_of_rows_makes_no_difference(
    seed: int, num_fields: int, num_folds: int, is_grouped: bool
) -> None:
    groups = "gene" if is_grouped else None
    table = random_table(num_fields, seed)
    order = np.random.default_rng(seed).permutation(num_fields)
    folds = assign_folds(table, num_folds=num_folds, seed=seed, groups=groups)
    shuffled = assign_folds(table.take(order), num_folds=num_folds, seed=seed, groups=groups)
    np.testing.assert_array_equal(shuffled, folds[order])
    assert set(folds) == set(range(num_folds))


def test_another_seed_gives_other_folds() -> None:
    table = random_table(60)
    for groups in (None, "gene"):
        first, second = (assign_folds(table, num_folds=3, seed=seed, groups=groups) for seed in (1, 2))
        assert (first != second).any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), num_genes=st.integers(6, 40))
def test_a_group_stays_in_one_fold(seed: int, num_genes: int) -> None:
    table = random_table(80, seed, num_genes)
    folds = assign_folds(table, num_folds=3, seed=seed, groups="gene")
    genes = np.array(table.groups["gene"])
    assert all(len(set(folds[genes == gene])) == 1 for gene in genes)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_groups_are_dealt_out_as_the_obvious_loop_does(seed: int) -> None:
    table = random_table(60, seed)
    names = np.array(table.groups["gene"])
    expected = slow_folds(table.labels, names, 3, seed)
    np.testing.assert_array_equal(_stratify_groups(table.labels, names, 3, seed), expected)


def slow_folds(labels: np.ndarray, names: np.ndarray, num_folds: int, seed: int) -> list[int]:
    columns = np.column_stack([labels, np.ones(len(labels))])
    totals = np.maximum(columns.sum(axis=0), 1)
    groups = sorted(set(names.tolist()))
    share = {group: columns[names == group].sum(axis=0) / totals for group in groups}
    order = [groups[position] for position in np.random.default_rng(seed).permutation(len(groups))]
    order.sort(key=lambda group: -np.floor(np.log2(np.square(share[group]).sum())))
    held = np.zeros((num_folds, columns.shape[1]))
    fold_of_group = {}
    for group in order:
        growth = [np.square(fold + share[group]).sum() - np.square(fold).sum() for fold in held]
        fold = int(np.argmin(np.round(growth, 12)))
        fold_of_group[group] = fold
        held[fold] += share[group]
    return [fold_of_group[name] for name in names]


def test_settings_that_cannot_be_met_are_refused() -> None:
    table = random_table(20, num_genes=3)
    with pytest.raises(ValueError, match="num_folds is 1, expected 2 or more"):
        assign_folds(table, num_folds=1, seed=0)
    with pytest.raises(ValueError, match="20 fields cannot be split into 21 folds"):
        assign_folds(table, num_folds=21, seed=0)
    with pytest.raises(ValueError, match="3 groups cannot be split into 5 folds"):
        assign_folds(table, num_folds=5, seed=0, groups="gene")
    with pytest.raises(ValueError, match="no column 'antibody' to group by; its group columns: gene"):
        assign_folds(table, num_folds=2, seed=0, groups="antibody")


@pytest.mark.parametrize("folder", ["hpa2021", "hpa2018"])
def test_the_real_tables_are_shared_out_evenly(real_data: Path, folder: str) -> None:
    table = read_label_table(real_data / folder / "train.csv")
    folds = assign_folds(table, num_folds=5, seed=7)
    counts = np.array([table.labels[folds == fold].sum(axis=0) for fold in range(5)])
    assert np.ptp(np.bincount(folds)) <= 0.01 * len(folds)
    assert counts.min() >= 1
    # A label is never more than one field and one per cent away from its even share.
    even = table.labels.sum(axis=0) / 5
    assert (np.abs(counts - even) <= 1 + 0.01 * even).all()


@pytest.mark.parametrize(("folder", "num_fields"), [("hpa2021", 21_806), ("hpa2018", 31_072)])
def test_the_order_of_rows_of_the_real_tables_makes_no_difference(
    real_data: Path, folder: str, num_fields: int
) -> None:
    table = read_label_table(real_data / folder / "train.csv")
    assert len(table) == num_fields
    order = np.random.default_rng(3).permutation(num_fields)
    folds, shuffled = (assign_folds(each, num_folds=5, seed=7) for each in (table, table.take(order)))
    np.testing.assert_array_equal(shuffled, folds[order])


@pytest.mark.parametrize("folder", ["hpa2021", "hpa2018"])
def test_groups_of_the_real_tables_are_shared_out_evenly(real_data: Path, folder: str) -> None:
    table = read_label_table(real_data / folder / "train.csv")
    # Up to six fields of a sample carry the same labels: made-up antibodies of fields that do.
    order = np.lexsort(table.labels.T)
    antibodies = np.empty(len(table), dtype=int)
    antibodies[order] = np.arange(len(table)) // 5
    grouped = LabelTable(
        class_set=table.class_set,
        field_ids=table.field_ids,
        labels=table.labels,
        groups={"antibody": tuple(map(str, antibodies))},
    )
    folds = assign_folds(grouped, num_folds=5, seed=7, groups="antibody")
    fold_of_antibody = np.full(antibodies.max() + 1, -1)
    fold_of_antibody[antibodies] = folds
    np.testing.assert_array_equal(fold_of_antibody[antibodies], folds)
    even = table.labels.sum(axis=0) / 5
    counts = np.array([table.labels[folds == fold].sum(axis=0) for fold in range(5)])
    assert counts[:, even >= 5].min() >= 1
    assert (np.abs(counts - even) <= 5 + 0.02 * even).all()
    assert np.abs(np.bincount(folds) / len(folds) - 0.2).max() < 0.005
