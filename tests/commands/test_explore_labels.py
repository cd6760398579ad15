"""Doubtful labels, from a table that is out of fold to a training that takes them less seriously."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

import hpa_cells.explore.label_review as label_review
from hpa_cells.classes import get_class_set
from hpa_cells.commands.explore import run
from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.commands.train import run as train
from hpa_cells.models import load_checkpoint
from hpa_cells.table import FIELD_COLUMNS, Column, Provenance, TableWriter
from hpa_cells.training.labelled import DataSettings, find_labelled_fields

CLASS_SET = get_class_set("hpa2021")
NUM_FIELDS = 60
OUT_OF_FOLD = {"weights_of_folds": ["a", "b"]}

pytest.importorskip("cleanlab", reason="the extra `review` brings cleanlab")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Fields of cytosol or nucleoli; a model sees which; f07 is labelled with the wrong one, f59 has no cell."""
    draw = np.random.default_rng(0)
    rows, lines = [], ["ID,Label"]
    for field in range(NUM_FIELDS):
        true = "cytosol" if field % 2 else "nucleoli"
        scores = draw.uniform(0.0, 0.2, len(CLASS_SET))
        scores[CLASS_SET.index(true)] = draw.uniform(0.7, 1.0)
        if field == 7:
            scores[[CLASS_SET.index("nucleoli"), CLASS_SET.index("cytosol")]] = 0.01, 0.99
        rows.append(scores if field < NUM_FIELDS - 1 else np.full(len(CLASS_SET), np.nan))
        given = "nucleoli" if field == 7 else true
        lines.append(f"f{field:02d},{CLASS_SET.index(given)}")
    lines.append("unseen,3")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    write_scores(tmp_path / "table", np.array(rows))
    return tmp_path


def write_scores(
    folder: Path, scores: np.ndarray, source: str = "model", settings: dict[str, Any] | None = None
) -> None:
    provenance = Provenance(
        version="1",
        class_set="hpa2021",
        source=source,
        settings=OUT_OF_FOLD if settings is None else settings,
    )
    with TableWriter(folder, provenance=provenance) as writer:
        for field, of_field in enumerate(scores):
            row = dict.fromkeys(FIELD_COLUMNS, 1) | {Column.FIELD_ID: f"f{field:02d}", Column.NUM_CELLS: 0}
            row |= dict(zip(Column.probabilities(CLASS_SET), of_field, strict=True))
            writer.add(cells=pd.DataFrame(), field_row=row)


def explore(world: Path, *overrides: str) -> Path:
    out = world / "out"
    run(compose("explore", [f"labels={world / 'train.csv'}", f"out={out}", *overrides]))
    return out


def test_the_wrong_label_is_told_with_what_is_seen_instead(
    world: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        out = explore(world, f"table={world / 'table'}")
    review = pd.read_csv(out / "label_review.csv")
    first = review[review["field_id"] == "f07"].set_index("key")
    assert first.loc["nucleoli", "kind"] == "given but not seen"
    assert first.loc["cytosol", "kind"] == "seen but not given"
    assert sorted(first["rank"]) == [1, 2]
    assert first.loc["nucleoli", "score"] < 0.2 < 0.7 < first.loc["cytosol", "score"]
    weights = pd.read_csv(out / "field_weights.csv", keep_default_na=False)
    assert weights.iloc[0][["field_id", "given_but_not_seen", "seen_but_not_given"]].tolist() == [
        "f07",
        "Nucleoli",
        "Cytosol",
    ]
    assert weights.iloc[0]["weight"] < 0.5
    assert "among 59 fields" in capsys.readouterr().out
    assert "2 of 61 labelled fields have no score" in caplog.text
    assert "On too few fields to be judged, or on too many: nucleoplasm" in caplog.text
    assert "is not out of fold" not in caplog.text


def test_labels_of_2018_are_compared_in_the_classes_of_the_table(world: Path) -> None:
    lines = [f"f{field:02d},{25 if field % 2 and field != 7 else 2}" for field in range(NUM_FIELDS)]
    (world / "train.csv").write_text("\n".join(["Id,Target", *lines]) + "\n")
    review = pd.read_csv(explore(world, f"table={world / 'table'}") / "label_review.csv")
    assert set(review.loc[review["field_id"] == "f07", "key"]) == {"nucleoli", "cytosol"}


def test_a_table_that_may_know_the_labels_is_taken_with_a_warning(
    world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scores(
        world / "seen", np.eye(len(CLASS_SET))[[2, 16] * (NUM_FIELDS // 2)], settings={"tta": "none"}
    )
    out = explore(world, f"table={world / 'seen'}")
    assert (
        "seen is not out of fold. A model that was trained on these fields repeats their labels"
        in caplog.text
    )
    assert "train cross_fit=true" in caplog.text
    assert (out / "label_review.csv").exists()


def test_labels_are_not_compared_with_a_truth(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_scores(world / "truth", np.zeros((4, len(CLASS_SET))), source="simulation truth")
    out = explore(world, f"table={world / 'truth'}")
    assert "truth comes from 'simulation truth': labels are compared with what models say" in caplog.text
    assert not (out / "label_review.csv").exists()
    assert not (out / "field_weights.csv").exists()
    assert (out / "cells_per_field.csv").exists()


def test_too_few_fields_for_a_review_end_nothing_else(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    (world / "train.csv").write_text("ID,Label\nf00,2\nf01,16\nf02,3\n")
    out = explore(world, f"table={world / 'table'}")
    assert "No class is on two or more of the 3 fields and absent from as many" in caplog.text
    assert pd.read_csv(out / "label_review.csv").empty
    assert pd.read_csv(out / "field_weights.csv").empty


def test_without_cleanlab_nothing_is_begun(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_review, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs cleanlab"):
        explore(world, f"table={world / 'table'}")
    assert not (world / "out").exists()


def test_a_table_of_other_fields_is_refused(world: Path) -> None:
    (world / "train.csv").write_text("ID,Label\nother,3\n")
    with pytest.raises(
        ValueError, match=r"None of the 1 labelled fields has a score in .*table, which holds 60"
    ):
        explore(world, f"table={world / 'table'}")


def test_edited_weights_are_never_lost(world: Path) -> None:
    out = explore(world, f"table={world / 'table'}")
    proposed = (out / "field_weights.csv").read_text()
    explore(world, f"table={world / 'table'}")
    assert (out / "field_weights.csv").read_text() == proposed
    edited = proposed.replace("f07,", "f08,")
    (out / "field_weights.csv").write_text(edited)
    with pytest.raises(FileExistsError, match=r"field_weights\.csv holds other weights .* they are kept"):
        explore(world, f"table={world / 'table'}")
    assert (out / "field_weights.csv").read_text() == edited
    assert (out / "field_weights.proposed.csv").read_text() == proposed


def test_a_table_alone_tells_the_cells_of_fields(world: Path) -> None:
    run(compose("explore", [f"table={world / 'table'}", f"out={world / 'out'}"]))
    names = sorted(path.name for path in (world / "out").iterdir())
    assert names == ["cells_per_field.csv", "cells_per_field.png", "cells_per_field_summary.csv"]


def settings_of_training(small_world: Any, root: Path, *overrides: str) -> DictConfig:
    (root / "train.csv").write_text("ID,Label\nf0,0\nf1,0\nf2,0\nf3,16\nf4,16\n")
    settings = (
        f"out={root / 'model'}",
        f"data.fields=[{small_world.fields}]",
        f"data.labels=[{root / 'train.csv'}]",
        f"data.root={root}",
        "data.num_folds=2",
        "segmenter=precomputed",
        f"segmenter.folder={small_world.masks}",
        f"crop_store={root / 'crops'}",
        "encoder.options={channels:[4,4,8,8],stem_width:4}",
        "crops.size_px=64",
        "bags.fields_per_batch=2",
        "method=naive",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "logger=csv",
        "workers=1",
        "threads=1",
    )
    return compose("train", [*settings, *overrides])


def test_a_training_leaves_out_what_the_review_says(small_world: Any, tmp_path: Path) -> None:
    data = to_settings(DataSettings, settings_of_training(small_world, tmp_path).data)
    fields = find_labelled_fields(data, optional=frozenset())
    fold = 1 - int(fields.folds[fields.table.field_ids.index("f2")])
    train(settings_of_training(small_world, tmp_path, f"data.fold={fold}"))
    whole = load_checkpoint(tmp_path / "model").provenance
    assert whole["settings"]["data"]["review"] is None
    assert "data.review" not in whole["settings"]["sha256_of"]

    weights = tmp_path / "weights.csv"
    weights.write_text("field_id,weight\nf2,0\n")
    review = (f"data.fold={fold}", f"data.review={weights}", f"out={tmp_path / 'second'}")
    train(settings_of_training(small_world, tmp_path, *review))
    second = load_checkpoint(tmp_path / "second").provenance
    assert second["data"]["training_fields"] == whole["data"]["training_fields"] - 1
    assert second["data"]["training_cells"] == whole["data"]["training_cells"] - small_world.num_cells["f2"]
    assert second["metrics"]["validation_fields"] == whole["metrics"]["validation_fields"]

    # The same file is the same training, and is finished; an edited one is another.
    train(settings_of_training(small_world, tmp_path, *review))
    weights.write_text("field_id,weight\nf2,0.5\n")
    with pytest.raises(ValueError, match=r"holds a training with other settings \(sha256_of\.data\.review: "):
        train(settings_of_training(small_world, tmp_path, *review))


def test_weights_of_unknown_fields_are_refused_before_cells_are_cut(small_world: Any, tmp_path: Path) -> None:
    (tmp_path / "weights.csv").write_text("field_id,weight\nf9,0\n")
    with pytest.raises(
        ValueError, match=r"weights\.csv weighs 1 fields that are not among the 5 labelled ones"
    ):
        train(settings_of_training(small_world, tmp_path, f"data.review={tmp_path / 'weights.csv'}"))
    assert not (tmp_path / "crops").exists()


def test_the_whole_way(small_world: Any, tmp_path: Path, hpa_cells: Callable[..., Any]) -> None:
    """Cross-fitting, its review on the command line, and a training with what it proposes."""
    train(settings_of_training(small_world, tmp_path, "cross_fit=true"))
    table = tmp_path / "model" / "out_of_fold"
    ended = hpa_cells(
        "explore", f"labels={tmp_path / 'train.csv'}", f"table={table}", f"out={tmp_path / 'review'}"
    )
    assert ended.status == 0
    assert "among 4 fields" in ended.stdout
    assert "out of fold" not in ended.stderr
    weights = tmp_path / "review" / "field_weights.csv"
    train(settings_of_training(small_world, tmp_path, f"data.review={weights}", f"out={tmp_path / 'second'}"))
    settings = json.loads((tmp_path / "second" / "training" / "settings.json").read_text())
    assert [len(each) for each in settings["sha256_of"]["data.review"]] == [64]
