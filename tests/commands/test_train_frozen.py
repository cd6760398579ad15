"""Heads that learn step by step on an encoder that stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf.errors import ValidationError

from hpa_cells.commands.predict import run as predict
from hpa_cells.commands.settings import compose
from hpa_cells.fields import assign_folds, merge_label_tables, read_label_table
from hpa_cells.metrics import average_precision_per_class
from hpa_cells.models import CellClassifier, load_checkpoint
from hpa_cells.table import read_table


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def start(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to start from."""
    out = tmp_path_factory.mktemp("start") / "model"
    drawn.train(out, "method=naive", "trainer.precision=32-true")
    return out


def frozen(drawn: Any, start: Path, out: Path, *more: str) -> CellClassifier:
    shared = (f"init={start}", "frozen_encoder=true", f"embedding_store={start / 'embeddings'}")
    drawn.train(out, *shared, "trainer.precision=32-true", *more)
    return load_checkpoint(out).model


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    "settings",
    [
        ("method=naive",),
        ("method=dual_head", "pooling=gated_attention"),
        ("method=oracle", "cell_labels={truth}"),
        ("method=naive", "bags.mosaic=0.5", "loss=focal"),
    ],
    ids=["naive", "attention", "oracle", "mosaics"],
)
def test_only_the_heads_learn(drawn: Any, start: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    settings = tuple(each.format(truth=drawn.root / "truth") for each in settings)
    before = load_checkpoint(start).model
    after = frozen(drawn, start, tmp_path / "model", *settings)
    assert state(after.encoder).keys() == state(before.encoder).keys()
    for name, value in state(before.encoder).items():
        torch.testing.assert_close(state(after.encoder)[name], value, rtol=0, atol=0)
    assert not torch.equal(after.cell_head.weight, before.cell_head.weight)


@pytest.mark.parametrize("kept", [True, False])
def test_heads_go_on_or_start_anew(drawn: Any, start: Path, tmp_path: Path, kept: bool) -> None:
    still = ("method=dual_head", "optimizer.lr=1.0e-9", "trainer.max_epochs=1")
    after = frozen(drawn, start, tmp_path / "model", *still, f"init_heads={kept}")
    theirs = load_checkpoint(start).model.cell_head.weight
    assert after.field_head is not None
    for head in (after.cell_head, after.field_head):
        assert torch.allclose(head.weight, theirs, atol=1e-5) == kept


def test_pixels_are_embedded_once(
    drawn: Any, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen(drawn, start, tmp_path / "one", "method=naive")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("The encoder was asked again.")

    monkeypatch.setattr(CellClassifier, "embed", refuse)
    frozen(drawn, start, tmp_path / "two", "method=naive", "loss=focal")


def test_the_model_says_of_pixels_what_it_was_validated_by(drawn: Any, start: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    frozen(drawn, start, model, "method=dual_head")
    masks = ["segmenter=cell_table", f"segmenter.folder={drawn.root / 'truth'}", "pixel_size_um=0.5"]
    predict(
        compose(
            "predict", [f"fields={drawn.root / 'train'}", f"model={model}", f"out={tmp_path / 'run'}", *masks]
        )
    )
    table = read_table(tmp_path / "run")
    checkpoint = load_checkpoint(model)
    embeddings = torch.from_numpy(np.stack(table.cells["embedding"].to_list()))
    said = checkpoint.model.eval().classify(embeddings, torch.zeros(len(embeddings), dtype=torch.int64))
    np.testing.assert_allclose(said.cell_logits.sigmoid().detach().numpy(), table.probabilities(), atol=1e-5)
    given = merge_label_tables([read_label_table(drawn.root / "train.csv")], table.class_set)
    assert list(given.field_ids) == list(table.fields["field_id"])
    own = assign_folds(given, num_folds=5, seed=0) == 0
    each = average_precision_per_class(table.field_probabilities()[own], given.labels[own])
    assert checkpoint.provenance["metrics"]["macro_average_precision"] == pytest.approx(np.nanmean(each))


def test_a_stop_and_going_on_end_the_same(
    drawn: Any, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpa_cells.training.module import TrainingModule

    whole = frozen(drawn, start, tmp_path / "whole", "method=naive")
    step = TrainingModule.training_step

    def stop(self: TrainingModule, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", stop)
    with pytest.raises(KeyboardInterrupt):
        frozen(drawn, start, tmp_path / "parts", "method=naive")
    monkeypatch.setattr(TrainingModule, "training_step", step)
    parts = frozen(drawn, start, tmp_path / "parts", "method=naive")
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("method=naive", "made_up.share=0.5"), "made_up.share is 0.5"),
        (("method=naive", "self_supervision=vicreg"), "self_supervision.weight is"),
        (("method=cell_cam",), "method.consistency is 0.25"),
        (("method=dual_head", "heads=one_vs_rest", "data.num_folds=3"), "choose one"),
    ],
)
def test_what_needs_pixels_is_refused(
    drawn: Any, start: Path, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        frozen(drawn, start, tmp_path / "model", *settings)


@pytest.mark.parametrize("name", ["frozen_encoder", "init_heads", "cross_fit", "resume", "compile"])
def test_a_word_is_no_switch(drawn: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="'yess' is not a valid bool"):
        drawn.train(tmp_path / "model", f"{name}=yess")
    assert not (tmp_path / "model").exists()


def test_no_is_false(drawn: Any, start: Path, tmp_path: Path) -> None:
    drawn.train(tmp_path / "model", f"init={start}", "method=naive", "frozen_encoder=no", "cross_fit=no")
    before, after = (load_checkpoint(each).model for each in (start, tmp_path / "model"))
    assert not torch.equal(before.encoder.conv1[0].weight, after.encoder.conv1[0].weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("method=naive", "pooling=gated_attention"), "method.field_weight is 0"),
        (("method=naive", "soft_labels=posterior"), "no cell has labels of its own"),
        (("method=second_round", "teacher=null"), "learns from labels of cells, and there are none"),
    ],
)
def test_labels_without_effect_are_refused(
    drawn: Any, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        drawn.train(tmp_path / "model", *settings)
