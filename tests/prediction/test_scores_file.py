import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpa_cells.classes import get_class_set
from hpa_cells.prediction import read_learned_fusion
from hpa_cells.prediction.calibration import fit_calibration
from hpa_cells.prediction.learned_fusion import CELL_ALONE, ClassRule, FusionRules, LearnedFusion
from hpa_cells.prediction.scores_file import SCORES_FILE, write_learned_fusion

HPA2021 = get_class_set("hpa2021")
PROVENANCE = {"table_weights_hash": "abc", "table_settings": {}, "num_fields": 3}


def learned(method: str = "isotonic") -> LearnedFusion:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 19), dtype=np.float32), rng.random((200, 19)) < 0.3
    labels[:, 4] = False
    rules = FusionRules(
        common=CELL_ALONE,
        of_classes=tuple(ClassRule(rule="geometric", cell_weight=(1 + index) / 20) for index in range(19)),
        negative="one_minus_max",
    )
    return LearnedFusion(
        class_set=HPA2021,
        rules=rules,
        cells=fit_calibration(scores, labels, method),
        fields=fit_calibration(scores, labels, "platt"),
        provenance_of_scores=PROVENANCE,
    )


@pytest.fixture
def damage(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """Write the file, change what is in it, and give its folder."""

    def change(how: Callable[[dict[str, Any]], object]) -> Path:
        write_learned_fusion(tmp_path, learned(), scores={})
        content = json.loads((tmp_path / SCORES_FILE).read_text())
        how(content)
        (tmp_path / SCORES_FILE).write_text(json.dumps(content))
        return tmp_path

    return change


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_what_was_written_comes_back(tmp_path: Path, method: str) -> None:
    written = learned(method)
    write_learned_fusion(tmp_path / "a" / "b", written, scores={"mean": None})
    found = read_learned_fusion(tmp_path / "a" / "b")
    assert (found.class_set, found.rules, found.cells, found.fields, found.provenance_of_scores) == (
        written.class_set,
        written.rules,
        written.cells,
        written.fields,
        written.provenance_of_scores,
    )
    assert len(found.sha256) == 64
    assert read_learned_fusion(tmp_path / "a" / "b" / SCORES_FILE) == found
    cells, fields = np.random.default_rng(1).random((2, 5, 19), dtype=np.float32)
    np.testing.assert_array_equal(
        found.combine(cells, fields[0], HPA2021), written.combine(cells, fields[0], HPA2021)
    )


def test_of_labelled_fields_only(tmp_path: Path) -> None:
    written = LearnedFusion(
        class_set=HPA2021, rules=None, cells=None, fields=learned().fields, provenance_of_scores=PROVENANCE
    )
    write_learned_fusion(tmp_path, written, scores={})
    found = read_learned_fusion(tmp_path)
    assert found.rules is found.cells is None
    assert found.fields == written.fields


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"scores.json does not exist: give the folder that `hpa-cells calib"
    ):
        read_learned_fusion(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        read_learned_fusion(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"runs": {}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """The last is what `evaluate` writes under the same name."""
    (tmp_path / SCORES_FILE).write_text(text)
    with pytest.raises(
        ValueError, match=r"scores.json (is not JSON|has no format_version: it was not written by)"
    ):
        read_learned_fusion(tmp_path)


def put(content: dict[str, Any], *path: str, value: Any) -> None:
    for name in path[:-1]:
        content = content[name]
    content[path[-1]] = value


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda each: each.update(format_version=2), "has format version 2, this hpa_cells reads 1"),
        (lambda each: each.pop("fields"), "lacks 'fields'"),
        (lambda each: each.pop("provenance"), "lacks 'provenance'"),
        (lambda each: each["provenance"].pop("table_settings"), "lacks 'table_settings'"),
        (lambda each: each["fusion"].pop("negative"), "lacks 'negative'"),
        (lambda each: put(each, "class_set", value="hpa1999"), "damaged .*'hpa1999' is unknown"),
        (
            lambda each: put(each, "class_set", value="hpa2018"),
            "damaged .it lists other classes than class set hpa2018",
        ),
        (lambda each: each["cells"]["classes"].pop("nucleoli"), "damaged .it lists other classes"),
        (lambda each: put(each, "fusion", "classes", "nucleoli", value=None), "damaged"),
        (
            lambda each: put(each, "fusion", "classes", "nucleoli", "cell_weight", value=7),
            "damaged .*cell weight",
        ),
        (lambda each: put(each, "fields", "classes", "nucleoli", "scale", value=-1), "damaged .*scale -1"),
        (lambda each: put(each, "fields", "classes", "nucleoli", "scale", value="x"), "damaged"),
        (lambda each: put(each, "fields", "classes", "nucleoli", "power", value=1), "damaged"),
        (
            lambda each: put(each, "cells", "classes", "nucleoli", "logits", value=[0, 1]),
            "damaged .*do not rise",
        ),
        (lambda each: put(each, "cells", "method", value="magic"), "damaged .*'magic'"),
        (lambda each: each.update(cells=None), "damaged .*learned together"),
        (lambda each: each.update(fields=[]), "damaged"),
    ],
)
def test_a_damaged_file_is_refused(damage: Any, how: Any, message: str) -> None:
    folder = damage(how)
    with pytest.raises(ValueError, match=message) as told:
        read_learned_fusion(folder)
    assert str(folder / SCORES_FILE) in str(told.value)


def test_the_hash_tells_two_files_apart(damage: Any) -> None:
    first = read_learned_fusion(damage(lambda each: None))
    second = read_learned_fusion(damage(lambda each: put(each, "fusion", "negative", value="own")))
    assert first.sha256 != second.sha256
