import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hpa_cells.prediction.segmenting
import hpa_cells.prediction.stages
from hpa_cells.cells import CropSettings, cell_rows, crop_cells, field_row
from hpa_cells.classes import get_class_set
from hpa_cells.fields import FieldSource, find_fields, read_field
from hpa_cells.models import CellClassifier, Checkpoint, Ensemble, load_models
from hpa_cells.prediction import (
    AreaWeight,
    Failure,
    Finished,
    Fusion,
    LocalRunner,
    PredictionSettings,
    ScoringSettings,
    Symmetries,
    predict_fields,
    score_cells,
    score_crops,
)
from hpa_cells.segmentation import Precomputed, UNet
from hpa_cells.table import CellTable, Column, Provenance, TableWriter, read_table
from hpa_cells.types import Field, Segmentation

PROVENANCE = Provenance(version="1", class_set="hpa2021", source="model")


@pytest.fixture(scope="module")
def models(small_world: Any) -> Ensemble:
    return load_models(small_world.model)


@pytest.fixture(scope="module")
def sources(small_world: Any) -> list[FieldSource]:
    return find_fields(small_world.fields)


@pytest.fixture
def predict(small_world: Any, models: Ensemble, sources: list[FieldSource], tmp_path: Path) -> Any:
    """Predict the small world with changes; outcomes and, where fields were finished, the table."""

    def run(**changes: Any) -> tuple[list[Finished | Failure], CellTable]:
        shard_fields = changes.pop("shard_fields", 64)
        arguments = {
            "sources": sources,
            "segmenter": Precomputed(folder=small_world.masks),
            "models": models,
            "settings": PredictionSettings(),
            "runner": LocalRunner(),
        } | changes
        with TableWriter(tmp_path / "run", provenance=PROVENANCE, shard_fields=shard_fields) as writer:
            todo = writer.unfinished(arguments.pop("sources"))
            outcomes = list(predict_fields(todo, writer=writer, **arguments))
        return outcomes, read_table(tmp_path / "run")

    return run


def assert_same_table(a: CellTable, b: CellTable) -> None:
    """Equal to the last bit."""
    pd.testing.assert_frame_equal(
        a.cells.drop(columns=Column.EMBEDDING), b.cells.drop(columns=Column.EMBEDDING), check_exact=True
    )
    pd.testing.assert_frame_equal(a.fields, b.fields, check_exact=True)
    np.testing.assert_array_equal(*(np.stack(table.cells[Column.EMBEDDING].tolist()) for table in (a, b)))


def test_as_the_stages_one_after_the_other(
    predict: Any, small_world: Any, models: Ensemble, sources: list[FieldSource]
) -> None:
    _, table = predict()
    segmenter = Precomputed(folder=small_world.masks)
    for source in sources:
        field = read_field(source)
        [segmentation] = segmenter.segment([field])
        crops = crop_cells(field, segmentation, CropSettings(**models.crop_settings))
        [scores] = score_crops(models, [crops], ScoringSettings())
        expected = cell_rows(segmentation, scores).drop(columns=Column.EMBEDDING, errors="ignore")
        cells = table.cells[table.cells[Column.FIELD_ID] == source.field_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(cells[expected.columns], expected, check_dtype=False)
        row = table.fields[table.fields[Column.FIELD_ID] == source.field_id].reset_index(drop=True)
        expected = pd.DataFrame([field_row(segmentation, scores)])
        pd.testing.assert_frame_equal(row, expected, check_dtype=False)


def test_every_field_has_one_outcome(predict: Any, small_world: Any) -> None:
    outcomes, table = predict()
    assert {each.field_id: each.num_cells for each in outcomes} == small_world.num_cells
    num_cells = table.fields.set_index(Column.FIELD_ID)[Column.NUM_CELLS]
    assert num_cells.to_dict() == small_world.num_cells


def test_ids_are_those_of_the_masks(predict: Any, small_world: Any, sources: list[FieldSource]) -> None:
    _, table = predict()
    segmenter = Precomputed(folder=small_world.masks)
    for source in sources:
        [segmentation] = segmenter.segment([read_field(source)])
        own = table.cells[table.cells[Column.FIELD_ID] == source.field_id]
        np.testing.assert_array_equal(own[Column.CELL_ID], segmentation.cell_ids)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(("batch_cells", "segment_fields"), [(1, 1), (4, 10), (100, 2)])
def test_workers_batches_and_shards_change_nothing(
    predict: Any, tmp_path: Path, workers: int, batch_cells: int, segment_fields: int
) -> None:
    _, expected = predict(runner=LocalRunner(workers=1, fields_under_way=1))
    shutil.rmtree(tmp_path / "run")
    settings = PredictionSettings(
        scoring=ScoringSettings(batch_cells=batch_cells), segment_fields=segment_fields
    )
    _, table = predict(settings=settings, runner=LocalRunner(workers=workers), shard_fields=2)
    assert_same_table(table, expected)


def test_the_files_of_a_run_are_the_same_to_the_byte(predict: Any, tmp_path: Path) -> None:
    files = []
    for workers in (1, 4):
        predict(runner=LocalRunner(workers=workers), shard_fields=2, segmenter=UNet())
        files.append({path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()})
        shutil.rmtree(tmp_path / "run")
    assert len(files[0]) == 7
    assert files[0] == files[1]


def test_finished_fields_are_not_read_again(
    predict: Any, sources: list[FieldSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = predict(sources=sources[:3])
    read: list[str] = []

    def spy(source: FieldSource, **settings: Any) -> Field:
        read.append(source.field_id)
        return read_field(source, **settings)

    monkeypatch.setattr(hpa_cells.prediction.segmenting, "read_field", spy)
    outcomes, table = predict()
    assert sorted(read) == ["f3", "f4"]
    assert [each.field_id for each in outcomes] == ["f3", "f4"]
    assert len(first.fields) == 3
    assert len(table.fields) == 5


def test_a_stop_keeps_what_is_finished_and_the_rest_follows(
    small_world: Any, models: Ensemble, sources: list[FieldSource], predict: Any, tmp_path: Path
) -> None:
    _, expected = predict()
    shutil.rmtree(tmp_path / "run")

    def stop_after(num_fields: int) -> None:
        settings = PredictionSettings(scoring=ScoringSettings(batch_cells=1))
        with TableWriter(tmp_path / "run", provenance=PROVENANCE) as writer:
            for number, _ in enumerate(
                predict_fields(
                    sources,
                    segmenter=Precomputed(folder=small_world.masks),
                    models=models,
                    writer=writer,
                    settings=settings,
                    runner=LocalRunner(),
                ),
                start=1,
            ):
                if number == num_fields:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after(3)
    assert len(read_table(tmp_path / "run").fields) == 3
    _, table = predict()
    assert_same_table(table, expected)


def test_a_broken_file_costs_its_field_only(
    predict: Any, small_world: Any, sources: list[FieldSource], tmp_path: Path
) -> None:
    folder = shutil.copytree(small_world.fields, tmp_path / "fields")
    (folder / "f2_green.png").write_bytes((folder / "f2_green.png").read_bytes()[:100])
    for segment_fields in (1, 5):
        outcomes, table = predict(
            sources=find_fields(folder), settings=PredictionSettings(segment_fields=segment_fields)
        )
        [failure] = [each for each in outcomes if isinstance(each, Failure)]
        assert (failure.field_id, failure.stage) == ("f2", "read")
        assert "f2_green.png" in failure.error
        assert table.fields[Column.FIELD_ID].tolist() == ["f0", "f1", "f3", "f4"]
    outcomes, table = predict(sources=sources)
    assert outcomes == [Finished(field_id="f2", num_cells=7)]
    assert len(table.fields) == 5


class Stubborn(Precomputed):
    """Refuses a field."""

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        if any(field.field_id == "f3" for field in fields):
            raise ValueError("Field f3: cannot be segmented.")
        return super().segment(fields)


def test_a_field_that_cannot_be_segmented(predict: Any, small_world: Any) -> None:
    outcomes, table = predict(
        segmenter=Stubborn(folder=small_world.masks), settings=PredictionSettings(segment_fields=5)
    )
    failures = [each for each in outcomes if isinstance(each, Failure)]
    assert failures == [Failure(field_id="f3", stage="segment", error="Field f3: cannot be segmented.")]
    assert len(table.fields) == 4


class Unready(Precomputed):
    """Lacks its weights."""

    def prepare(self) -> None:
        raise FileNotFoundError("The weights are missing: put them there.")


def test_missing_weights_are_said_once_and_only_if_they_are_needed(
    predict: Any, small_world: Any, sources: list[FieldSource]
) -> None:
    predict(sources=sources[:2])
    unready = Unready(folder=small_world.masks)
    assert predict(sources=sources[:2], segmenter=unready)[0] == []
    with pytest.raises(FileNotFoundError, match="weights are missing"):
        predict(segmenter=unready)


def test_a_field_whose_score_is_no_number(predict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(models: Ensemble, pixels: Any, settings: Any, **others: Any) -> Any:
        if any(each.shown.field_id == "f0" for each in pixels):
            raise ValueError("Field f0: a cell probability is outside [0, 1] or not finite.")
        return score_cells(models, pixels, settings, **others)

    monkeypatch.setattr(hpa_cells.prediction.stages, "score_cells", refuse)
    outcomes, table = predict()
    assert [each.stage for each in outcomes if isinstance(each, Failure)] == ["score"]
    assert table.fields[Column.FIELD_ID].tolist() == ["f1", "f2", "f3", "f4"]


def test_a_fault_of_the_program_ends_the_run(predict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(hpa_cells.prediction.stages, "score_cells", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        predict()


def test_few_fields_are_in_memory(
    small_world: Any, models: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many fields there are, only those under way are read."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for copy in range(40):
        for path in small_world.fields.glob("f3_*"):
            shutil.copy(path, folder / path.name.replace("f3", f"g{copy:02d}"))
        for path in small_world.masks.glob("f3_*"):
            shutil.copy(path, folder / path.name.replace("f3", f"g{copy:02d}"))
    read: list[str] = []

    def spy(source: FieldSource, **settings: Any) -> Field:
        read.append(source.field_id)
        return read_field(source, **settings)

    monkeypatch.setattr(hpa_cells.prediction.segmenting, "read_field", spy)
    with TableWriter(tmp_path / "run", provenance=PROVENANCE) as writer:
        outcomes = predict_fields(
            find_fields(folder),
            segmenter=Precomputed(folder=folder),
            models=models,
            writer=writer,
            settings=PredictionSettings(),
            runner=LocalRunner(workers=2, fields_under_way=3),
        )
        for number, _ in enumerate(outcomes, start=1):
            assert len(read) <= number + 3
    assert len(read) == 40


@pytest.mark.parametrize(
    "fusion", [Fusion(rule="product"), Fusion(cell_weight=0.3, negative="one_minus_max")]
)
def test_fusion_and_views_reach_the_table(predict: Any, tmp_path: Path, fusion: Fusion) -> None:
    symmetries = Symmetries(num_turns=4, mirrored=True)
    settings = PredictionSettings(scoring=ScoringSettings(symmetries=symmetries))
    _, plain = predict(settings=settings)
    shutil.rmtree(tmp_path / "run")
    _, fused = predict(settings=replace(settings, fusion=fusion))
    pd.testing.assert_frame_equal(fused.fields, plain.fields)
    of_field = plain.fields.set_index(Column.FIELD_ID)[Column.probabilities(plain.class_set)]
    for row, field_id in enumerate(plain.cells[Column.FIELD_ID]):
        own = plain.probabilities()[row : row + 1]
        expected = fusion.combine(own, of_field.loc[field_id].to_numpy(dtype=np.float32), plain.class_set)
        np.testing.assert_allclose(fused.probabilities()[row : row + 1], expected, atol=1e-6)


def test_cells_of_which_little_is_in_view_lose_confidence(predict: Any, tmp_path: Path) -> None:
    _, plain = predict()
    shutil.rmtree(tmp_path / "run")
    weight = AreaWeight(border_um2=200, inner_um2=60)
    _, weighted = predict(settings=PredictionSettings(area_weight=weight))
    least = np.where(plain.cells[Column.TOUCHES_BORDER], 200, 60)
    factor = np.minimum(1, plain.cells[Column.AREA_UM2] / least).to_numpy()[:, None]
    assert 0 < factor.min() < factor.max() <= 1
    np.testing.assert_allclose(weighted.probabilities(), plain.probabilities() * factor, rtol=1e-5)


def test_a_table_without_embeddings(predict: Any) -> None:
    _, table = predict(settings=PredictionSettings(embeddings=False))
    assert Column.EMBEDDING not in table.cells


def test_a_fusion_that_does_not_suit_the_classes_is_refused_before_the_first_field(
    predict: Any, models: Ensemble
) -> None:
    settings = PredictionSettings(fusion=Fusion(negative="larger"))
    of_2018 = Checkpoint(
        model=CellClassifier(replace(models.members[0].model.settings, num_classes=28)),
        class_set=get_class_set("hpa2018"),
        crop_settings=models.crop_settings,
        thresholds=np.full(28, 0.5, dtype=np.float32),
    )
    with pytest.raises(ValueError, match="hpa2018 has no class Negative"):
        predict(models=Ensemble(members=(of_2018,)), settings=settings)
