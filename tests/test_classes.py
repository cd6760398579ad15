import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from hpa_cells.classes import CLASS_SETS, ClassSet, class_map, get_class_set

# Where each 2018 class goes in 2021, by number: the map on which the two published label tables agree.
FROM_2018_TO_2021 = {index: index for index in range(8)} | {
    11: 8, 12: 9, 13: 9, 14: 10, 17: 11, 18: 12, 19: 12, 21: 13, 22: 13, 23: 14, 24: 15, 25: 16,
    8: 17, 9: 17, 10: 17, 20: 17, 26: 17,
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), [("hpa2021", 19), ("hpa2018", 28), ("subcell", 31)])
def test_sizes(name: str, size: int) -> None:
    class_set = get_class_set(name)
    assert class_set.name == name
    assert len(class_set) == len(class_set.keys) == len(class_set.names) == len(class_set.colors) == size


@pytest.mark.parametrize("class_set", CLASS_SETS.values(), ids=CLASS_SETS.keys())
def test_keys_names_and_colors_are_distinct_and_well_formed(class_set: ClassSet) -> None:
    assert (
        len(set(class_set.keys)) == len(set(class_set.names)) == len(set(class_set.colors)) == len(class_set)
    )
    assert all(re.fullmatch(r"[a-z_]+", key) for key in class_set.keys)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in class_set.colors)


def test_a_location_has_one_color_everywhere() -> None:
    locations = [location for class_set in CLASS_SETS.values() for location in class_set.locations]
    assert len({(each.key, each.color) for each in locations}) == len({each.key for each in locations})


def test_published_numbers() -> None:
    hpa2021, hpa2018 = get_class_set("hpa2021"), get_class_set("hpa2018")
    assert [hpa2021.names[k] for k in (0, 6, 11, 16, 18)] == [
        "Nucleoplasm", "Endoplasmic reticulum", "Mitotic spindle", "Cytosol", "Negative",
    ]  # fmt: skip
    assert hpa2021.names[17] == "Vesicles and punctate cytosolic patterns"
    assert [hpa2018.names[k] for k in (8, 13, 20, 25, 27)] == [
        "Peroxisomes", "Focal adhesion sites", "Lipid droplets", "Cytosol", "Rods & rings",
    ]  # fmt: skip
    assert get_class_set("subcell").names[-2:] == ("Vesicles", "Negative")


def test_index_is_the_way_back_of_keys() -> None:
    class_set = get_class_set("hpa2021")
    assert [class_set.index(key) for key in class_set.keys] == list(range(19))
    with pytest.raises(
        ValueError, match=r"'golgi' is not in class set hpa2021: use one of .*golgi_apparatus"
    ):
        class_set.index("golgi")


def test_an_unknown_class_set_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'hpa2020' is unknown: use one of hpa2021, hpa2018, subcell"):
        get_class_set("hpa2020")


def test_map_of_2018_to_2021() -> None:
    mapped = class_map(get_class_set("hpa2018"), get_class_set("hpa2021"))
    assert mapped == tuple(FROM_2018_TO_2021.get(index) for index in range(28))


@pytest.mark.parametrize("name", CLASS_SETS)
def test_a_set_maps_to_itself(name: str) -> None:
    class_set = get_class_set(name)
    assert class_map(class_set, class_set) == tuple(range(len(class_set)))


def test_subcell_differs_from_2018_as_published() -> None:
    subcell, hpa2018 = set(get_class_set("subcell").keys), set(get_class_set("hpa2018").keys)
    assert hpa2018 - subcell == {"microtubule_ends", "microtubule_organizing_center", "rods_and_rings"}
    assert subcell - hpa2018 == {
        "centriolar_satellite", "midbody", "mitotic_chromosome", "nucleoli_rim", "vesicles", "negative",
    }  # fmt: skip


def test_real_tables_agree_under_the_map(real_data: Path) -> None:
    """Every 2021 field that also carries 2018 labels shows the mapped ones in at least 0.9 of the cases."""
    mapped = class_map(get_class_set("hpa2018"), get_class_set("hpa2021"))
    with (real_data / "hpa2018/train.csv").open() as lines:
        labels_2018 = {row["Id"]: set(map(int, row["Target"].split())) for row in csv.DictReader(lines)}
    agreed, total = Counter[int](), Counter[int]()
    with (real_data / "hpa2021/train.csv").open() as lines:
        for row in csv.DictReader(lines):
            labels_2021 = set(map(int, row["Label"].split("|")))
            for target in {mapped[label] for label in labels_2018.get(row["ID"], ())} - {None}:
                total[target] += 1
                agreed[target] += target in labels_2021
    assert len(total) >= 17
    shares = {target: agreed[target] / total[target] for target in total if total[target] >= 10}
    assert min(shares.values()) >= 0.9, shares
