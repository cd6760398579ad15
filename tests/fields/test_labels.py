from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.classes import CLASS_SETS, ClassSet
from hpa_cells.fields import LabelFile, LabelTable, as_label_file, read_label_table, write_label_table

HPA2021, HPA2018, SUBCELL = CLASS_SETS["hpa2021"], CLASS_SETS["hpa2018"], CLASS_SETS["subcell"]


def write(folder: Path, text: str, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_header_tells_the_year(tmp_path: Path) -> None:
    of_2021 = read_label_table(write(tmp_path, "ID,Label\na,8|5|0\nb,18\n"))
    assert of_2021.class_set == HPA2021
    assert of_2021.field_ids == ("a", "b")
    assert [np.flatnonzero(row).tolist() for row in of_2021.labels] == [[0, 5, 8], [18]]
    of_2018 = read_label_table(write(tmp_path, "Id,Target\na,16 0\nb,27\n"))
    assert of_2018.class_set == HPA2018
    assert [np.flatnonzero(row).tolist() for row in of_2018.labels] == [[0, 16], [27]]


def test_a_setting_tells_what_the_numbers_mean(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path, "ID,Label\na,30\n"), SUBCELL)
    assert table.class_set == SUBCELL
    assert table.labels[0, 30]


def test_a_label_is_a_number_a_key_or_a_name(tmp_path: Path) -> None:
    labels = "golgi_apparatus|Vesicles and punctate cytosolic patterns|0"
    table = read_label_table(write(tmp_path, f"ID,Label\na,{labels}\n"))
    assert np.flatnonzero(table.labels[0]).tolist() == [0, 7, 17]
    named = "image,loc\na,Rods & rings;GOLGI APPARATUS;3\n"
    told = LabelFile(
        path=str(write(tmp_path, named)),
        id_column="image",
        label_column="loc",
        separator=";",
        class_set="hpa2018",
    )
    table = read_label_table(told)
    assert (table.class_set, np.flatnonzero(table.labels[0]).tolist()) == (HPA2018, [3, 7, 27])
    assert table.groups == {}


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        ("image,Label\na,1|2\n", {"id_column": "image"}, (HPA2021, [1, 2])),
        ("Id,Label\na,1|2\n", {}, (HPA2021, [1, 2])),
        ("ID,Label\na,1 2\n", {"separator": " "}, (HPA2021, [1, 2])),
        ("ID,Label\na,27|2\n", {"class_set": "hpa2018"}, (HPA2018, [2, 27])),
        (
            "ID,where\na,27\n",
            {"label_column": "where", "separator": "|", "class_set": "hpa2018"},
            (HPA2018, [27]),
        ),
        # The challenge's own column is there too, but another one is asked for.
        ("ID,Label,Target\na,1,27 2\n", {"label_column": "Target"}, (HPA2018, [2, 27])),
    ],
)
def test_what_is_told_of_a_table_beats_its_header(
    tmp_path: Path, text: str, told: dict[str, str], expected: tuple[ClassSet, list[int]]
) -> None:
    table = read_label_table(as_label_file({"path": str(write(tmp_path, text)), **told}))
    assert table.field_ids == ("a",)
    assert (table.class_set, np.flatnonzero(table.labels[0]).tolist()) == expected


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"id_column": "image"}, r"line 1: columns are name, where, image is not among them"),
        ({"id_column": "name"}, r"expected ID,Label or Id,Target.*path: .*train\.csv, id_column"),
        ({"id_column": "name", "label_column": "where"}, "expected ID,Label"),
        ({"id_column": "name", "label_column": "where", "separator": "|"}, "expected ID,Label"),
        ({"separator": ""}, r"separator of .*train\.csv is empty"),
        ({"class_set": "hpa2019"}, "Class set 'hpa2019' is unknown"),
        ({"id_colum": "name"}, "A label table has no id_colum: give path, id_column, label_column"),
    ],
)
def test_a_table_that_is_not_described_well(tmp_path: Path, told: dict[str, str], reason: str) -> None:
    path = write(tmp_path, "name,where\na,1\n")
    with pytest.raises(ValueError, match=reason):
        read_label_table(as_label_file({"path": str(path), **told}))
    with pytest.raises(ValueError, match="A label table needs a path"):
        as_label_file({"id_column": "a"})


def test_a_class_of_another_class_set_is_hinted_at(tmp_path: Path) -> None:
    path = write(tmp_path, "ID,Label\na,27\n")
    with pytest.raises(
        ValueError, match=r"'27' is not a class.* one of hpa2018 and subcell.*class_set: hpa2018"
    ):
        read_label_table(path)
    with pytest.raises(ValueError, match=r"split by '\|'\.$"):
        read_label_table(write(tmp_path, "ID,Label\na,nowhere\n"))


def test_a_label_named_twice_counts_once(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path, "ID,Label\na,13|13\n"))
    assert table.labels.sum() == 1


def test_other_columns_are_groups(tmp_path: Path) -> None:
    path = write(tmp_path, "ID,antibody,Label,cell_line\na,HPA1,0,U-2 OS\nb,HPA2,1,A-431\n")
    more = write(tmp_path, "gene,Id\nG2,b\nG3,c\nG1,a\n", "genes.csv")
    table = read_label_table(path, groups_path=more)
    assert table.groups == {
        "antibody": ("HPA1", "HPA2"),
        "cell_line": ("U-2 OS", "A-431"),
        "gene": ("G1", "G2"),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "ID,Label\na,0\nb,19\n",
            r"line 3, b: '19' is not a class, expected numbers from 0 to 18 \(hpa2021\)",
        ),
        ("ID,Label\na,x\n", "line 2, a: 'x' is not a class"),
        ("ID,Label\na,-1\n", "'-1' is not a class"),
        ("ID,Label\na,1.0\n", "'1.0' is not a class"),
        ("ID,Label\na,²\n", "'²' is not a class"),
        ("ID,Label\na,1||2\n", "'' is not a class"),
        ("ID,Label\na,1 2\n", "'1 2' is not a class"),
        ("ID,Label\na,\n", "line 2, a: there is no label, expected numbers"),
        ("Id,Target\na, \n", "line 2, a: there is no label"),
        ("Id,Target\na,28\n", "line 2, a: '28' is not a class, expected numbers from 0 to 27"),
        ("ID,Label\na,1\nb,2\na,3\n", "line 4: ID 'a' is in line 2 too"),
        ("ID,Label\na\n", "line 2: found 1 columns, expected 2"),
        ("name,Label\na,1\n", "line 1: columns are name, Label, expected ID,Label or Id,Target"),
        ("", "line 1: columns are none"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_token(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_label_table(write(tmp_path, text))
    assert "train.csv" in str(caught.value)


def test_groups_must_know_every_field(tmp_path: Path) -> None:
    path = write(tmp_path, "ID,Label\na,0\nb,1\n")
    with pytest.raises(ValueError, match=r"genes\.csv lacks 1 of 2 labelled fields \(b\)"):
        read_label_table(path, groups_path=write(tmp_path, "ID,gene\na,G\n", "genes.csv"))
    with pytest.raises(ValueError, match="columns are gene, expected ID or Id"):
        read_label_table(path, groups_path=write(tmp_path, "gene\nG\n", "genes.csv"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_label_table(path, groups_path=tmp_path / "nowhere.csv")


@settings(max_examples=30, deadline=None)
@given(data=st.data(), classes=st.sampled_from(list(CLASS_SETS.values())))
def test_a_written_table_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, classes: ClassSet
) -> None:
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
    ids = data.draw(st.lists(text, min_size=1, max_size=6, unique=True))
    rows = st.lists(st.booleans(), min_size=len(classes), max_size=len(classes)).filter(any)
    labels = np.array(data.draw(st.lists(rows, min_size=len(ids), max_size=len(ids))))
    genes = tuple(data.draw(st.lists(text, min_size=len(ids), max_size=len(ids))))
    table = LabelTable(class_set=classes, field_ids=tuple(ids), labels=labels, groups={"gene": genes})
    path = tmp_path_factory.mktemp("labels") / "new" / "train.csv"
    write_label_table(table, path)
    back = read_label_table(path, classes)
    assert (back.field_ids, back.groups) == (table.field_ids, table.groups)
    np.testing.assert_array_equal(back.labels, labels)


def test_a_table_that_contradicts_itself_is_refused() -> None:
    labels = np.zeros((2, 19), bool)
    with pytest.raises(ValueError, match="labels are int64"):
        LabelTable(class_set=HPA2021, field_ids=("a", "b"), labels=labels.astype(np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected bool \(1, 19\)"):
        LabelTable(class_set=HPA2021, field_ids=("a",), labels=labels)
    with pytest.raises(ValueError, match="twice"):
        LabelTable(class_set=HPA2021, field_ids=("a", "a"), labels=labels)
    with pytest.raises(ValueError, match="Column gene has 1 values for 2 fields"):
        LabelTable(class_set=HPA2021, field_ids=("a", "b"), labels=labels, groups={"gene": ("G",)})


@pytest.mark.parametrize(
    ("folder", "column", "separator", "num_fields"),
    [("hpa2021", "Label", "|", 21_806), ("hpa2018", "Target", " ", 31_072)],
)
def test_the_real_tables_are_read_as_a_plain_loop_reads_them(
    real_data: Path, folder: str, column: str, separator: str, num_fields: int
) -> None:
    path = real_data / folder / "train.csv"
    table = read_label_table(path)
    assert len(table) == num_fields
    with path.open(newline="") as stream:
        for row, expected in enumerate(csv.DictReader(stream)):
            if row % 97 == 0:
                found = np.flatnonzero(table.labels[row])
                assert set(found) == {int(token) for token in expected[column].split(separator)}


def test_the_real_frequencies_of_2021_are_the_published_ones(real_data: Path) -> None:
    counts = read_label_table(real_data / "hpa2021" / "train.csv").labels.sum(axis=0)
    assert counts.tolist() == (
        [
            8797,
            1095,
            2451,
            1262,
            1425,
            1792,
            775,
            1846,
            964,
            998,
            818,
            78,
            1734,
            3111,
            2013,
            252,
            5685,
            593,
            34,
        ]
    )


def test_real_columns_beside_the_labels_are_groups(real_data: Path) -> None:
    table = read_label_table(real_data / "hpa_public" / "fields.csv")
    assert table.groups == {"cell_line": ("A-431",)}
