"""Trainings in which two views of a cell are compared, beside labels and without any."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from hpa_cells.models import CellClassifier, ClassifierSettings, model_input
from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.bags import Bags, BagSettings
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.field_augmentation import FieldAugmentation
from hpa_cells.training.interruption import SaveOnInterrupt, TrainingInterruptedError
from hpa_cells.training.module import TrainingModule
from hpa_cells.training.outcome import load_best_weights, neighbour_precision
from hpa_cells.training.self_supervision import SelfSupervision, SelfSupervisionSettings

VIEWS = SelfSupervisionSettings(
    weight=0.1, invariance=25.0, variance=25.0, covariance=1.0, projection_size=16
)
BAGS = BagSettings(
    fields_per_batch=4,
    cells_per_field=3,
    balance=0.0,
    repeats={},
    mosaic=0.0,
    mosaic_fields=4,
    cutmix=0.0,
    cutmix_alpha=1.0,
    validation_cells_per_field=8,
    workers=0,
    seed=0,
)
MakeModule = Callable[..., TrainingModule]


@pytest.fixture(autouse=True)
def lightning_may_advise() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield


def with_views(module: TrainingModule, *, labels: bool = True) -> TrainingModule:
    torch.manual_seed(1)
    module.self_supervision = SelfSupervision(VIEWS, module.classifier.embedding_size)
    if not labels:
        module.loss.field_weight = module.loss.cell_weight = 0.0
    return module


def batch_of(cells: LabelledCells) -> Bags:
    return next(iter(BagData(cells, cells, BAGS).train_dataloader()))


def step(module: TrainingModule, batch: Bags) -> tuple[float, dict[str, Any], torch.Tensor]:
    """Its loss, what it logs, and where it leaves the random numbers."""
    logged: dict[str, Any] = {}
    module.log = lambda name, value, **_: logged.update({name: value.detach().item()})  # type: ignore[method-assign]
    torch.manual_seed(3)
    loss = module.training_step(batch, 0)
    loss.backward()
    return loss.item(), logged, torch.get_rng_state()


def test_without_views_a_step_is_what_it_always_was(cells: LabelledCells, make_module: MakeModule) -> None:
    batch, module, twin = batch_of(cells), make_module(), make_module()
    torch.manual_seed(3)
    crops = twin.augmentation(model_input(batch.images, torch.device("cpu")), batch.bag_index)
    expected = twin.loss(twin.classifier(crops, batch.bag_index), batch).total
    expected.backward()
    numbers = torch.get_rng_state()

    loss, logged, left = step(module, batch)
    assert loss == expected.item()
    assert torch.equal(left, numbers)
    assert "train/loss_views" not in logged
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_views_are_two_augmentations_of_the_same_cells(cells: LabelledCells, make_module: MakeModule) -> None:
    batch, module, twin = batch_of(cells), with_views(make_module()), with_views(make_module())
    torch.manual_seed(3)
    one, other = (
        twin.augmentation(model_input(batch.images, torch.device("cpu")), batch.bag_index) for _ in range(2)
    )
    embeddings = twin.classifier.embed(one)
    of_labels = twin.loss(twin.classifier.classify(embeddings, batch.bag_index), batch).total
    of_views = twin.self_supervision(embeddings, twin.classifier.embed(other))
    (of_labels + of_views).backward()

    loss, logged, _ = step(module, batch)
    assert loss == (of_labels + of_views).item()
    assert logged["train/loss_views"] == of_views.item() > 0
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def field_module(make_module: MakeModule) -> TrainingModule:
    """Of the view of whole fields."""
    module = make_module()
    torch.manual_seed(0)
    options = {"channels": [8, 8, 8, 16], "stem_width": 8}
    module.classifier = CellClassifier(
        ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=options, view="field")
    )
    return module


def test_views_of_whole_fields(make_module: MakeModule) -> None:
    masks = torch.zeros(2, 64, 96, dtype=torch.int32)
    for cell, (field, row, column) in enumerate(((0, 0, 0), (0, 32, 32), (1, 32, 64), (1, 0, 32))):
        masks[field, row : row + 32, column : column + 32] = cell + 1
    torch.manual_seed(0)
    batch = Bags(
        images=torch.randint(0, 255, (2, 4, 64, 96), dtype=torch.uint8),
        masks=masks,
        bag_index=torch.tensor([0, 0, 1, 1]),
        field_labels=torch.eye(2, 19),
        cell_targets=torch.eye(2, 19)[[0, 0, 1, 1]],
    )
    bare, module = field_module(make_module), with_views(field_module(make_module))
    without, _, _ = step(bare, batch)
    loss, logged, _ = step(module, batch)
    assert loss == pytest.approx(without + logged["train/loss_views"])
    assert logged["train/loss_views"] > 0
    assert module.classifier.encoder.conv1[0].weight.grad.abs().sum() > 0
    # The rows of two views are of the same cells: without any change the views are equal.
    module.eval()
    nothing: dict[str, Any] = {"symmetries": False} | dict.fromkeys(
        ("zoom", "protein_gain", "other_gain", "noise", "er_dropout", "microtubules_dropout"), 0.0
    )
    module.field_augmentation = FieldAugmentation(AugmentationSettings(**nothing))
    torch.testing.assert_close(module._embed_view(batch), module._embed_view(batch))


class PressCtrlC(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            signal.raise_signal(signal.SIGINT)


def make_trainer(folder: Path, *extra: Callback, epochs: int = 4) -> Trainer:
    best = ModelCheckpoint(
        folder, filename="best", monitor="val/ap", mode="max", save_last=True, enable_version_counter=False
    )
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[*extra, EMAWeightAveraging(decay=0.9), best, SaveOnInterrupt(folder / "last.ckpt")],
    )


def test_cells_of_one_kind_come_together_without_any_label(
    tmp_path: Path, cells: LabelledCells, make_module: MakeModule
) -> None:
    data = BagData(cells, cells, BAGS)
    module = with_views(make_module(), labels=False)
    heads = module.classifier.cell_head.weight.detach().clone()
    # Twelve fields vote with twenty neighbours: all others do, and only their distances tell.
    start = neighbour_precision(module.classifier, data.val_dataloader(), torch.device("cpu"))
    trainer = make_trainer(tmp_path, epochs=10)
    trainer.fit(module, data)
    best = trainer.checkpoint_callback.best_model_score
    assert float(best) > max(0.9, start)
    load_best_weights(module.classifier, tmp_path / "best.ckpt")
    found = neighbour_precision(module.classifier, data.val_dataloader(), torch.device("cpu"))
    assert found == pytest.approx(float(best))
    # Heads learn nothing; what is left of them has only decayed.
    ratio = module.classifier.cell_head.weight.detach() / heads
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))


# An epoch has 3 steps.
@pytest.mark.parametrize("stop", [2, 6])
def test_a_stop_changes_nothing_and_the_projection_is_no_part_of_the_model(
    tmp_path: Path, cells: LabelledCells, make_module: MakeModule, stop: int
) -> None:
    data = partial(BagData, cells, cells, BAGS)
    whole = with_views(make_module())
    make_trainer(tmp_path / "whole").fit(whole, data())
    with pytest.raises(TrainingInterruptedError):
        make_trainer(tmp_path / "parts", PressCtrlC(stop)).fit(with_views(make_module()), data())
    resumed = with_views(make_module())
    make_trainer(tmp_path / "parts").fit(resumed, data(), ckpt_path=tmp_path / "parts" / "last.ckpt")
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    kept = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("self_supervision.projector") for name in kept)
    bare = make_module()
    load_best_weights(bare.classifier, tmp_path / "parts" / "best.ckpt")
    assert not any("projector" in name for name in bare.classifier.state_dict())
    assert all("projector" not in name for name in resumed.classifier.state_dict())


def test_the_projection_is_trained(cells: LabelledCells, make_module: MakeModule, tmp_path: Path) -> None:
    module = with_views(make_module())
    before = [parameter.detach().clone() for parameter in module.self_supervision.parameters()]
    make_trainer(tmp_path, epochs=1).fit(module, BagData(cells, cells, BAGS))
    for old, new in zip(before, module.self_supervision.parameters(), strict=True):
        assert not torch.equal(old, new)
