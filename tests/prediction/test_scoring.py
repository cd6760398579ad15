from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.models import CellClassifier, Ensemble, load_models, model_input
from hpa_cells.prediction import ScoringSettings, Symmetries, pick_device, score_crops
from hpa_cells.types import CellCrops, CellScores

D4 = Symmetries(num_turns=4, mirrored=True)


@pytest.fixture(scope="module")
def models(small_world: Any) -> Ensemble:
    return load_models(small_world.model)


def make_crops(sizes: Sequence[int], side: int = 32) -> list[CellCrops]:
    rng = np.random.default_rng(0)
    return [
        CellCrops(
            field_id=f"field{index}",
            cell_ids=np.arange(size, dtype=np.int32) * 3 + 1,
            images=rng.integers(0, 256, (size, 4, side, side), dtype=np.uint8),
            touches_border=np.zeros(size, dtype=np.bool_),
            areas_um2=np.ones(size),
        )
        for index, size in enumerate(sizes)
    ]


def slow_twin(models: Ensemble, crops: CellCrops, symmetries: Symmetries) -> dict[str, np.ndarray]:
    """One cell at a time, and all cells of the field at once for the field."""
    views = [
        np.stack([view[0].numpy() for view in symmetries.views(torch.from_numpy(image[None]))])
        for image in crops.images
    ]
    cells, fields, embeddings = [], [], []
    with torch.inference_mode():
        for images in views:
            outputs = [
                models.members[0].model(model_input(image[None]), torch.zeros(1, dtype=int))
                for image in images
            ]
            cells.append(torch.stack([each.cell_logits[0].sigmoid() for each in outputs]).mean(0))
            embeddings.append(torch.stack([each.embeddings[0] for each in outputs]).mean(0))
        for images in zip(*views, strict=True):
            bag = torch.zeros(len(images), dtype=int)
            fields.append(
                models.members[0].model(model_input(np.stack(images)), bag).field_logits[0].sigmoid()
            )
    return {
        "probabilities": torch.stack(cells).numpy(),
        "field_probabilities": torch.stack(fields).mean(0).numpy(),
        "embeddings": torch.stack(embeddings).numpy(),
    }


def assert_close(a: CellScores, b: CellScores) -> None:
    assert a.field_id == b.field_id
    np.testing.assert_array_equal(a.cell_ids, b.cell_ids)
    for name in ("probabilities", "field_probabilities", "embeddings"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-5)


@pytest.mark.parametrize("symmetries", [Symmetries(), Symmetries(num_turns=2, mirrored=True), D4])
def test_as_the_slow_twin(models: Ensemble, symmetries: Symmetries) -> None:
    crops = make_crops([2, 1, 3])
    scores = score_crops(models, crops, ScoringSettings(symmetries=symmetries, batch_cells=4))
    for each, of_field in zip(scores, crops, strict=True):
        for name, expected in slow_twin(models, of_field, symmetries).items():
            np.testing.assert_allclose(getattr(each, name), expected, atol=1e-5)


@pytest.mark.parametrize("batch_cells", [1, 3, 7, 1000])
def test_the_batch_size_changes_nothing(models: Ensemble, batch_cells: int) -> None:
    crops = make_crops([5, 0, 8, 1])
    expected = score_crops(models, crops, ScoringSettings(batch_cells=64))
    for a, b in zip(
        score_crops(models, crops, ScoringSettings(batch_cells=batch_cells)), expected, strict=True
    ):
        assert_close(a, b)


def test_the_company_of_other_fields_changes_nothing(models: Ensemble) -> None:
    crops = make_crops([5, 2, 4])
    together = score_crops(models, crops, ScoringSettings())
    for each, expected in zip(crops, together, strict=True):
        assert_close(score_crops(models, [each], ScoringSettings())[0], expected)


def test_more_cells_than_8_bit_and_than_a_batch(models: Ensemble) -> None:
    [scores] = score_crops(models, make_crops([300], side=8), ScoringSettings(batch_cells=32))
    assert scores.probabilities.shape == (300, 19)
    assert np.isfinite(scores.field_probabilities).all()


def test_turned_crops_score_the_same_with_all_symmetries(models: Ensemble) -> None:
    [crops] = make_crops([4])
    turned = replace(crops, images=np.ascontiguousarray(np.rot90(crops.images, axes=(2, 3))))
    settings = ScoringSettings(symmetries=D4)
    assert_close(score_crops(models, [turned], settings)[0], score_crops(models, [crops], settings)[0])
    alone, alone_turned = (score_crops(models, [each], ScoringSettings())[0] for each in (crops, turned))
    assert not np.allclose(alone.probabilities, alone_turned.probabilities, atol=1e-5)


@pytest.mark.parametrize("sizes", [[0], [0, 0], [0, 2, 0], []])
def test_fields_without_cells_have_no_score_of_their_own(models: Ensemble, sizes: list[int]) -> None:
    scores = score_crops(models, make_crops(sizes), ScoringSettings())
    assert [len(each.cell_ids) for each in scores] == sizes
    for each, size in zip(scores, sizes, strict=True):
        assert np.isnan(each.field_probabilities).all() == (size == 0)
        assert each.embeddings.shape == (size, models.members[0].model.embedding_size)


def test_several_models_are_averaged_and_the_first_gives_the_embedding(models: Ensemble) -> None:
    [first] = models.members
    torch.manual_seed(7)
    second = replace(first, model=CellClassifier(first.model.settings).eval())
    crops = make_crops([3, 2])
    apart = [score_crops(Ensemble(members=(each,)), crops, ScoringSettings()) for each in (first, second)]
    together = score_crops(Ensemble(members=(first, second)), crops, ScoringSettings())
    for one, other, both in zip(*apart, together, strict=True):
        assert not np.allclose(one.probabilities, other.probabilities, atol=1e-3)
        for name in ("probabilities", "field_probabilities"):
            mean = (getattr(one, name) + getattr(other, name)) / 2
            np.testing.assert_allclose(getattr(both, name), mean, atol=1e-6)
        np.testing.assert_array_equal(both.embeddings, one.embeddings)


def test_types_are_those_of_the_table(models: Ensemble) -> None:
    [scores] = score_crops(models, make_crops([2]), ScoringSettings())
    for values in (scores.probabilities, scores.field_probabilities, scores.embeddings):
        assert values.dtype == np.float32


def test_an_answer_that_is_no_probability_names_the_field(small_world: Any) -> None:
    broken = load_models(small_world.model)
    torch.nn.init.constant_(broken.members[0].model.cell_head.bias, torch.nan)
    with pytest.raises(ValueError, match="Field field0: a cell probability is outside"):
        score_crops(broken, make_crops([2]), ScoringSettings())


def test_a_batch_has_cells() -> None:
    with pytest.raises(ValueError, match="batch_cells is 0: give at least 1"):
        ScoringSettings(batch_cells=0)


def test_devices_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="Device 'gpu' is unknown to torch: use auto, cpu or cuda"):
        pick_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"Device 'cuda' is not there: .* Use device=cpu or auto"):
        pick_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("half_precision", [False, True])
def test_cuda_agrees_with_the_cpu(small_world: Any, half_precision: bool) -> None:
    crops = make_crops([5, 0, 3])
    expected = score_crops(load_models(small_world.model), crops, ScoringSettings(symmetries=D4))
    on_cuda = load_models(small_world.model)
    on_cuda.members[0].model.cuda()
    settings = ScoringSettings(symmetries=D4, half_precision=half_precision)
    for a, b in zip(score_crops(on_cuda, crops, settings), expected, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=0.05 if half_precision else 1e-3)
