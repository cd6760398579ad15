"""Models that see whole fields, alone and beside models of crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpa_cells.cells import FieldViewSettings, pad_fields, view_field
from hpa_cells.fields import find_fields, read_field
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    Ensemble,
    load_checkpoint,
    load_models,
    model_input,
    save_checkpoint,
)
from hpa_cells.prediction import (
    CellPixels,
    Finished,
    LocalRunner,
    PredictionSettings,
    ScoringSettings,
    Symmetries,
    predict_fields,
    score_cells,
)
from hpa_cells.segmentation import Precomputed
from hpa_cells.table import Column, Provenance, TableWriter, read_table
from hpa_cells.types import CellScores, FieldView

D4 = Symmetries(num_turns=4, mirrored=True)


@pytest.fixture(scope="module")
def of_fields(small_world: Any) -> Checkpoint:
    """The model of the small world, looking at whole fields."""
    of_crops = load_checkpoint(small_world.model)
    settings = replace(of_crops.model.settings, view="field")
    torch.manual_seed(1)
    model = CellClassifier(settings).eval()
    for head in (model.cell_head, model.field_head):
        assert head is not None
        torch.nn.init.normal_(head.weight, std=3.0)
    return replace(of_crops, model=model, crop_settings={}, field_settings={"um_per_px": 0.5, "masked": True})


@pytest.fixture(scope="module")
def models(of_fields: Checkpoint) -> Ensemble:
    return Ensemble(members=(of_fields,))


def make_view(index: int, num_cells: int, shape: tuple[int, int]) -> FieldView:
    rng = np.random.default_rng(index)
    labels = np.zeros(shape, dtype=np.int32)
    places = rng.permutation(labels.size)
    for cell in range(num_cells):
        labels.flat[places[5 * cell : 5 * cell + rng.integers(1, 5)]] = 3 * cell + 1
    return FieldView(
        field_id=f"field{index}",
        cell_ids=np.arange(num_cells, dtype=np.int32) * 3 + 1,
        image=rng.integers(0, 256, (4, *shape), dtype=np.uint8),
        labels=labels,
        touches_border=np.zeros(num_cells, dtype=np.bool_),
        areas_um2=np.ones(num_cells),
    )


VIEWS = [
    make_view(0, 3, (48, 72)),
    make_view(1, 0, (48, 72)),
    make_view(2, 300, (64, 64)),
    make_view(3, 1, (48, 72)),
    make_view(4, 5, (40, 33)),
]


def score(models: Ensemble, views: Sequence[FieldView], **settings: Any) -> list[CellScores]:
    return score_cells(models, [CellPixels(view=each) for each in views], ScoringSettings(**settings))


def slow_twin(model: CellClassifier, view: FieldView, symmetries: Symmetries) -> dict[str, np.ndarray]:
    """One field and one symmetry at a time."""
    images, masks = pad_fields([view.image], [view.labels // 3 + (view.labels > 0)])
    bag = torch.zeros(len(view.cell_ids), dtype=torch.int64)
    outputs = []
    with torch.inference_mode():
        for mirrored in (False, True) if symmetries.mirrored else (False,):
            for turns in range(0, 4, 4 // symmetries.num_turns):
                image, mask = (np.flip(each, -1) if mirrored else each for each in (images, masks))
                image, mask = (np.rot90(each, turns, axes=(-2, -1)).copy() for each in (image, mask))
                outputs.append(model(model_input(image), bag, torch.from_numpy(mask)))
    return {
        "probabilities": np.mean([each.cell_logits.sigmoid().numpy() for each in outputs], axis=0),
        "field_probabilities": np.mean([each.field_logits[0].sigmoid().numpy() for each in outputs], axis=0),
        "embeddings": np.mean([each.embeddings.numpy() for each in outputs], axis=0),
    }


def assert_close(a: CellScores, b: CellScores) -> None:
    assert a.field_id == b.field_id
    np.testing.assert_array_equal(a.cell_ids, b.cell_ids)
    for name in ("probabilities", "field_probabilities", "embeddings"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-5)


@pytest.mark.parametrize("symmetries", [Symmetries(), Symmetries(num_turns=2, mirrored=True), D4])
def test_as_the_slow_twin(models: Ensemble, symmetries: Symmetries) -> None:
    scores = score(models, VIEWS, symmetries=symmetries)
    for each, view in zip(scores, VIEWS, strict=True):
        assert each.field_id == view.field_id
        np.testing.assert_array_equal(each.cell_ids, view.cell_ids)
        if len(view.cell_ids):
            for name, expected in slow_twin(models.members[0].model, view, symmetries).items():
                np.testing.assert_allclose(getattr(each, name), expected, atol=1e-5)
        else:
            assert np.isnan(each.field_probabilities).all()


@pytest.mark.parametrize("batch_cells", [1, 1000])
def test_batches_and_the_company_of_other_fields_change_nothing(models: Ensemble, batch_cells: int) -> None:
    together = score(models, VIEWS, batch_cells=batch_cells)
    for view, expected in zip(VIEWS, together, strict=True):
        assert_close(score(models, [view])[0], expected)


def test_turned_fields_score_the_same_with_all_symmetries(models: Ensemble) -> None:
    view = make_view(7, 6, (64, 64))
    turned = replace(
        view,
        image=np.ascontiguousarray(np.rot90(view.image, axes=(1, 2))),
        labels=np.ascontiguousarray(np.rot90(view.labels)),
    )
    assert_close(score(models, [turned], symmetries=D4)[0], score(models, [view], symmetries=D4)[0])
    alone, alone_turned = (score(models, [each])[0] for each in (view, turned))
    assert not np.allclose(alone.probabilities, alone_turned.probabilities, atol=1e-4)


def predict(models: Ensemble, small_world: Any, out: Path) -> pd.DataFrame:
    with TableWriter(out, provenance=Provenance(version="1", class_set="hpa2021", source="model")) as writer:
        outcomes = predict_fields(
            find_fields(small_world.fields),
            segmenter=Precomputed(folder=small_world.masks),
            models=models,
            writer=writer,
            settings=PredictionSettings(),
            runner=LocalRunner(),
        )
        assert all(isinstance(each, Finished) for each in outcomes)
    return read_table(out).cells


def test_models_of_both_views_are_averaged(small_world: Any, of_fields: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "of_fields", of_fields)
    places = [small_world.model, tmp_path / "of_fields"]
    tables = [
        predict(load_models(each), small_world, tmp_path / f"run-{index}")
        for index, each in enumerate([*places, places, places[::-1]])
    ]
    columns = Column.probabilities(of_fields.class_set)
    of_crops, of_whole, both, turned_round = tables
    assert not np.allclose(of_crops[columns], of_whole[columns], atol=0.01)
    for table in (both, turned_round):
        np.testing.assert_allclose(table[columns], (of_crops[columns] + of_whole[columns]) / 2, atol=1e-5)
    embeddings = [np.stack(table[Column.EMBEDDING].tolist()) for table in tables]
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-5)
    np.testing.assert_allclose(embeddings[3], embeddings[1], atol=1e-5)


def test_the_whole_way_as_step_by_step(small_world: Any, models: Ensemble, tmp_path: Path) -> None:
    cells = predict(models, small_world, tmp_path / "run")
    segmenter = Precomputed(folder=small_world.masks)
    for source in find_fields(small_world.fields):
        field = read_field(source)
        view = view_field(
            field, *segmenter.segment([field]), FieldViewSettings(**models.field_settings or {})
        )
        [expected] = score(models, [view])
        own = cells[cells[Column.FIELD_ID] == source.field_id]
        np.testing.assert_array_equal(own[Column.CELL_ID], expected.cell_ids)
        np.testing.assert_allclose(
            own[Column.probabilities(models.class_set)], expected.probabilities, atol=1e-5
        )


def test_what_members_are_shown(small_world: Any, of_fields: Checkpoint) -> None:
    of_crops = load_checkpoint(small_world.model)
    assert Ensemble(members=(of_fields,)).crop_settings is None
    assert Ensemble(members=(of_crops,)).field_settings is None
    both = Ensemble(members=(of_fields, of_crops))
    assert both.crop_settings == of_crops.crop_settings
    assert both.field_settings == of_fields.field_settings
    finer = replace(of_fields, field_settings={"um_per_px": 0.25, "masked": True})
    with pytest.raises(ValueError, match=r"whole fields shown by .*0\.5.* and .*0\.25.*one kind"):
        Ensemble(members=(of_fields, of_crops, finer))
