"""Models that see squares of fields, alone and beside models that see cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.cells import SquareSettings, cut_squares
from hpa_cells.fields import find_fields, read_field
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    Ensemble,
    PoolingSettings,
    load_checkpoint,
    model_input,
)
from hpa_cells.prediction import (
    Failure,
    Finished,
    LocalRunner,
    PredictionSettings,
    ScoringSettings,
    Symmetries,
    predict_fields,
)
from hpa_cells.segmentation import Precomputed
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.types import Channel, Field, Segmentation

SQUARES = SquareSettings(um_per_px=1.0, field_px=None, size_px=16, num_training=8, num_predicted=5, seed=0)
HOW = {name: getattr(SQUARES, name) for name in SQUARES.__slots__}


class Untouched:
    """A segmenter that must be left alone."""

    optional_channels: frozenset[Channel] = frozenset()

    def prepare(self) -> None:
        raise AssertionError("prepared")

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        raise AssertionError("asked")


def make(small_world: Any, pooling: str, seed: int = 1) -> Checkpoint:
    of_crops = load_checkpoint(small_world.model)
    settings = replace(
        of_crops.model.settings,
        view="squares",
        pooling=PoolingSettings(name=pooling),
        field_head="shared",
    )
    torch.manual_seed(seed)
    model = CellClassifier(settings).eval()
    torch.nn.init.normal_(model.cell_head.weight, std=3.0)
    return replace(of_crops, model=model, crop_settings={}, square_settings=HOW)


@pytest.fixture(scope="module")
def of_squares(small_world: Any) -> Checkpoint:
    return make(small_world, "max")


def predict(
    members: Sequence[Checkpoint], small_world: Any, out: Path, segmenter: Any, **more: Any
) -> CellTable:
    settings = PredictionSettings(scoring=ScoringSettings(**more), pixel_size_um=0.5)
    with TableWriter(out, provenance=Provenance(version="1", class_set="hpa2021", source="model")) as writer:
        outcomes = predict_fields(
            find_fields(small_world.fields),
            segmenter=segmenter,
            models=Ensemble(members=tuple(members)),
            writer=writer,
            settings=settings,
            runner=LocalRunner(workers=2),
        )
        for outcome in outcomes:
            assert isinstance(outcome, Finished), outcome
    return read_table(out)


def pooled(checkpoint: Checkpoint, field: Field, symmetries: Symmetries | None = None) -> np.ndarray:
    """(K,) what is said of a field, from each square and each symmetry by itself."""
    images = cut_squares(field, SQUARES, num=5).images
    how = max if checkpoint.model.settings.pooling.name == "max" else lambda each: sum(each) / len(each)
    said = []
    with torch.inference_mode():
        for turned in (symmetries or Symmetries()).views(model_input(images)):
            logits = [
                checkpoint.model.cell_head(checkpoint.model.embed(square[None]))[0].numpy()
                for square in turned
            ]
            columns = [how([float(each[index]) for each in logits]) for index in range(19)]
            said.append(1 / (1 + np.exp(-np.array(columns))))
    return np.mean(said, axis=0)


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("turns", [1, 4])
def test_fields_without_cells(small_world: Any, tmp_path: Path, pooling: str, turns: int) -> None:
    """As said a square at a time; no segmenter is asked, and small batches change nothing."""
    checkpoint = make(small_world, pooling)
    symmetries = Symmetries(num_turns=turns, mirrored=turns > 1)
    table = predict([checkpoint], small_world, tmp_path, Untouched(), symmetries=symmetries, batch_cells=3)
    assert len(table.cells) == 0
    assert (table.fields[Column.NUM_CELLS] == 0).all()
    assert (table.fields[Column.HEIGHT_PX] == 48).all()
    assert len(table.fields) == 5
    for source, said in zip(find_fields(small_world.fields), table.field_probabilities(), strict=True):
        expected = pooled(checkpoint, read_field(source, pixel_size_um=0.5), symmetries)
        np.testing.assert_allclose(said, expected, atol=1e-5)
    assert table.field_probabilities().std() > 0.1


def test_beside_models_of_crops_they_speak_of_fields_only(
    small_world: Any, of_squares: Checkpoint, tmp_path: Path
) -> None:
    of_crops = load_checkpoint(small_world.model)
    other = make(small_world, "mean", seed=2)
    segmenter = Precomputed(folder=small_world.masks)
    alone = predict([of_crops], small_world, tmp_path / "alone", segmenter)
    both = predict([of_squares, of_crops, other], small_world, tmp_path / "both", segmenter)
    assert len(both.cells) == sum(small_world.num_cells.values())
    np.testing.assert_allclose(both.probabilities(), alone.probabilities(), atol=1e-6)
    for table in (alone, both):
        assert len(table.cells[Column.EMBEDDING].iloc[0]) == of_crops.model.embedding_size
    fields = [read_field(source, pixel_size_um=0.5) for source in find_fields(small_world.fields)]
    of_two = np.array([[pooled(each, field) for field in fields] for each in (of_squares, other)])
    has_cells = np.array([small_world.num_cells[field.field_id] > 0 for field in fields])
    expected = np.where(
        has_cells[:, None], (of_two.sum(axis=0) + alone.field_probabilities()) / 3, of_two.mean(axis=0)
    )
    assert np.isnan(alone.field_probabilities()[~has_cells]).all()
    np.testing.assert_allclose(both.field_probabilities(), expected, atol=1e-5)


def test_what_members_are_shown(small_world: Any, of_squares: Checkpoint) -> None:
    of_crops = load_checkpoint(small_world.model)
    alone, both = Ensemble(members=(of_squares,)), Ensemble(members=(of_squares, of_crops))
    assert (alone.crop_settings, alone.field_settings, alone.sees_cells) == (None, None, False)
    assert (both.square_settings, both.crop_settings) == (HOW, of_crops.crop_settings)
    assert both.sees_cells
    assert Ensemble(members=(of_crops,)).square_settings is None
    larger = replace(of_squares, square_settings=HOW | {"size_px": 24})
    with pytest.raises(ValueError, match=r"squares cut by .*16.* and .*24.*one kind"):
        Ensemble(members=(of_squares, of_crops, larger))


def test_a_field_that_cannot_be_read(small_world: Any, of_squares: Checkpoint, tmp_path: Path) -> None:
    sources = find_fields(small_world.fields)
    broken = tmp_path / "fields"
    broken.mkdir()
    for source in sources[:2]:
        for channel, file in source.files.items():
            content = (
                b"no image" if source is sources[0] and channel == Channel.PROTEIN else file.path.read_bytes()
            )
            (broken / file.path.name).write_bytes(content)
    with TableWriter(
        tmp_path / "run", provenance=Provenance(version="1", class_set="hpa2021", source="model")
    ) as writer:
        outcomes = list(
            predict_fields(
                find_fields(broken),
                segmenter=Untouched(),
                models=Ensemble(members=(of_squares,)),
                writer=writer,
                settings=PredictionSettings(pixel_size_um=0.5),
                runner=LocalRunner(workers=1),
            )
        )
    assert {type(each) for each in outcomes} == {Failure, Finished}
    assert list(read_table(tmp_path / "run").fields[Column.FIELD_ID]) == [sources[1].field_id]
