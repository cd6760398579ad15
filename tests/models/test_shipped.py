"""The model in the package: what it is, and that it reads cells it has not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.metrics import average_precision_per_class
from hpa_cells.models import (
    SHIPPED_MODEL,
    CellClassifier,
    ClassifierSettings,
    PoolingSettings,
    load_models,
    model_input,
    save_checkpoint,
    take_over,
)
from hpa_cells.simulation import Recipe, simulate_field

OF_2021 = "hpa2021"


def test_it_is_small_and_says_what_it_has_seen() -> None:
    [shipped] = load_models("shipped").members
    assert (SHIPPED_MODEL / "model.safetensors").stat().st_size < 25e6
    assert "simulated cells only" in shipped.provenance["about"]
    assert "simulated cells only" in (SHIPPED_MODEL / "README.md").read_text()
    assert shipped.class_set.name == OF_2021


def test_it_reads_simulated_cells_it_has_not_seen() -> None:
    """Cells of lines that were kept out of its training, on 24 small fields."""
    recipe = Recipe(
        seed=7,
        height_px=384,
        width_px=384,
        pixel_size_um=0.24,
        cell_lines=["HEK 293", "PC-3"],
        class_floor=0.04,
    )
    models = load_models("shipped")
    crops, labels = [], []
    for index in range(24):
        simulated = simulate_field(recipe, index)
        cut = crop_cells(simulated.field, simulated.segmentation, CropSettings(**models.crop_settings))
        crops.append(cut.images)
        labels.append(simulated.cell_labels)
    images, truths = np.concatenate(crops), np.concatenate(labels)
    network = models.members[0].model
    scores, _ = network.probabilities(model_input(images), torch.zeros(len(images), dtype=torch.int64))
    precisions = average_precision_per_class(scores.numpy(), truths)
    enough = truths.sum(axis=0) >= 10
    assert enough.sum() >= 6
    chance = truths.mean(axis=0)[enough].mean()
    assert precisions[enough].mean() > max(0.6, 3 * chance)


def classifier(num_classes: int, **changes: object) -> CellClassifier:
    [shipped] = load_models("shipped").members
    settings = {
        "num_classes": num_classes,
        "encoder": shipped.model.settings.encoder,
        "encoder_options": shipped.model.settings.encoder_options,
    }
    return CellClassifier(ClassifierSettings(**(settings | changes)))  # type: ignore[arg-type]


def test_other_classes_take_over_the_encoder_alone() -> None:
    torch.manual_seed(0)
    mine = classifier(28)
    head = mine.cell_head.weight.detach().clone()
    shipped = take_over(mine, "shipped", class_set="hpa2018").model
    torch.testing.assert_close(mine.encoder.state_dict(), shipped.encoder.state_dict())
    assert torch.equal(mine.cell_head.weight, head)


@pytest.mark.parametrize("field_head", ["own", "shared"])
def test_the_same_classes_take_over_the_heads_too(field_head: str) -> None:
    mine = classifier(19, field_head=field_head)
    shipped = take_over(mine, "shipped", class_set=OF_2021).model
    torch.testing.assert_close(mine.cell_head.state_dict(), shipped.cell_head.state_dict())
    if mine.field_head is not None:
        torch.testing.assert_close(mine.field_head.state_dict(), shipped.cell_head.state_dict())


def test_heads_may_start_anew() -> None:
    mine = classifier(19)
    head = mine.cell_head.weight.detach().clone()
    shipped = take_over(mine, "shipped", class_set=OF_2021, heads=False).model
    torch.testing.assert_close(mine.encoder.state_dict(), shipped.encoder.state_dict())
    assert torch.equal(mine.cell_head.weight, head)


def test_what_pooling_has_learned_is_taken_over_where_it_is_of_one_kind(tmp_path: Path) -> None:
    [shipped] = load_models("shipped").members
    earlier = classifier(19, pooling=PoolingSettings(name="gated_attention"))
    save_checkpoint(tmp_path, replace(shipped, model=earlier))
    same, anew, other = (
        classifier(19, pooling=PoolingSettings(name=name))
        for name in ("gated_attention", "gated_attention", "mean")
    )
    before = [value.detach().clone() for value in anew.pooling.parameters()]
    take_over(same, tmp_path, class_set=OF_2021)
    take_over(anew, tmp_path, class_set=OF_2021, heads=False)
    take_over(other, tmp_path, class_set=OF_2021)
    assert len(before) > 0
    torch.testing.assert_close(same.pooling.state_dict(), earlier.pooling.state_dict())
    for mine, old in zip(anew.pooling.parameters(), before, strict=True):
        assert torch.equal(mine, old)


def test_another_encoder_is_refused() -> None:
    other = classifier(19, encoder_options={"channels": [8, 8, 8, 8], "stem_width": 8})
    with pytest.raises(ValueError, match=r"init=shipped has encoder resnet10t .* or init=none"):
        take_over(other, "shipped", class_set=OF_2021)
