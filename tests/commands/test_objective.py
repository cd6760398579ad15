"""Mixed bags, repeats, weights of cells and learning without labels, from the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from hpa_cells.commands import simulate, train
from hpa_cells.commands.objective import cell_weights, check_objective
from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.models import load_checkpoint
from hpa_cells.prediction import AreaWeight
from hpa_cells.table import Column, read_table
from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.data import BagData
from hpa_cells.training.losses import BagLoss

Program = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated fields of a few cells, with their true masks."""
    root = tmp_path_factory.mktemp("fields")
    small = ["recipe.height_px=96", "recipe.width_px=120", "recipe.pixel_size_um=0.6", "recipe.crowding=2"]
    simulate.run(compose("simulate", [f"out={root}", *small, "fields=16", "test_fields=0", "workers=1"]))
    return root


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    return [
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'crops'}",
        "segmenter=cell_table",
        f"segmenter.folder={root / 'truth'}",
        "data.num_folds=4",
        "encoder=tiny",
        "encoder.options={channels:[8,8,8,8],stem_width:8}",
        "crops.size_px=32",
        "bags.fields_per_batch=4",
        "bags.cells_per_field=4",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more,
    ]


def run(root: Path, out: Path, *more: str) -> None:
    train.run(compose("train", overrides(root, out, *more)))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every batch that a training compared with its labels."""
    batches: list[Any] = []
    forward = BagLoss.forward

    def spy(self: BagLoss, outputs: Any, bags: Any) -> Any:
        batches.append(bags)
        return forward(self, outputs, bags)

    monkeypatch.setattr(BagLoss, "forward", spy)
    return batches


def test_weights_of_cells_are_those_of_predict(root: Path, tmp_path: Path, seen: list[Any]) -> None:
    run(root, tmp_path / "model", "area_weight.border_um2=512", "area_weight.inner_um2=204.8")
    assert seen
    table = read_table(root / "truth").cells
    expected = AreaWeight(border_um2=512, inner_um2=204.8).weights(
        table[Column.AREA_UM2].to_numpy(), table[Column.TOUCHES_BORDER].to_numpy()
    )
    assert 0 < (expected < 1).sum() < len(expected)
    known = set(expected.round(5).tolist())
    found = {weight for bags in seen for weight in bags.cell_weights.numpy().round(5).tolist()}
    assert found <= known
    assert len(found) > 10


def test_without_area_weight_all_cells_count_the_same(root: Path, tmp_path: Path, seen: list[Any]) -> None:
    run(root, tmp_path / "model")
    assert all(bags.cell_weights is None for bags in seen)


def test_cells_that_were_cut_before_areas_were_noted() -> None:
    cfg = compose("train", ["out=x", "data.root=y", "area_weight.inner_um2=200"])
    cells = pd.DataFrame({Column.FIELD_ID: ["a", "b"], Column.TOUCHES_BORDER: [True, False]})
    areas = pd.Series([100.0, np.nan])
    for each in (cells, cells.assign(**{Column.AREA_UM2: areas})):
        with pytest.raises(ValueError, match=r"x/training/crops does not have.*Choose another crop_store"):
            cell_weights(cfg, each)
    whole = cells.assign(**{Column.AREA_UM2: [100.0, 50.0]})
    weights = cell_weights(cfg, whole)
    assert weights is not None
    assert weights.tolist() == [1, 0.25]


def test_mixed_bags_and_repeats(
    root: Path, tmp_path: Path, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[BagData] = []
    start = BagData.__init__

    def spy(self: BagData, *arguments: Any) -> None:
        start(self, *arguments)
        loaded.append(self)

    monkeypatch.setattr(BagData, "__init__", spy)
    mixing = ["method=dual_head", "bags.mosaic=0.5", "bags.mosaic_fields=2", "bags.cutmix=0.5"]
    run(root, tmp_path / "model", *mixing, "+bags.repeats.nucleoplasm=5", "loss=focal")
    soft = torch.cat([bags.field_labels.unique() for bags in seen])
    assert ((soft > 0) & (soft < 1)).any()
    [data] = loaded
    nucleoplasm = data.training.labels[:, data.training.class_set.index("nucleoplasm")].sum()
    assert nucleoplasm > 0
    steps = load_checkpoint(tmp_path / "model").provenance["training"]["steps"]
    assert steps == (len(data.training.field_ids) + 4 * nucleoplasm) // 4


def test_first_weights_without_any_label(
    root: Path, tmp_path: Path, seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(root, tmp_path / "first", "method=self_supervised", "init=none", "trainer.max_epochs=2")
    assert "No label was learned: predictions of this model are chance" in caplog.text
    checkpoint = load_checkpoint(tmp_path / "first")
    metrics = checkpoint.provenance["metrics"]
    assert 0 < metrics["macro_average_precision_of_neighbours"] <= 1
    card = (tmp_path / "first" / "README.md").read_text()
    assert "| heads | have learned nothing: start another training from this model with init= |" in card
    assert not any("projector" in name for name in checkpoint.model.state_dict())
    log = pd.read_csv(tmp_path / "first" / "training" / "logs" / "csv" / "metrics.csv")
    assert log["val/ap"].dropna().max() == pytest.approx(metrics["macro_average_precision_of_neighbours"])
    assert log["train/loss_views"].dropna().gt(0).all()

    still = ["optimizer.lr=0", "callbacks.averaging=null", f"init={tmp_path / 'first'}"]
    run(root, tmp_path / "second", "method=dual_head", *still)
    second = load_checkpoint(tmp_path / "second")
    assert "macro_average_precision_of_neighbours" not in second.provenance["metrics"]
    for name, value in checkpoint.model.state_dict().items():
        if name.startswith("encoder.") and value.ndim > 1:
            torch.testing.assert_close(second.model.state_dict()[name], value)


def test_views_beside_labels(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "model", "self_supervision=vicreg", "bags.mosaic=0.25")
    log = pd.read_csv(tmp_path / "model" / "training" / "logs" / "csv" / "metrics.csv")
    assert log["train/loss_views"].dropna().gt(0).all()
    assert log["train/loss_field"].dropna().gt(0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["method=self_supervised", "self_supervision.weight=0"], "so that nothing is learned"),
        (["method.field_weight=0", "method.cell_weight=0"], "so that nothing is learned"),
        (["self_supervision=vicreg", "augmentation=none"], "both views of a cell are the same"),
        (["+bags.repeats.spindle=3"], "bags.repeats names spindle"),
        (["bags.mosaic=0.5", "method=mask_pooled"], "only crops can be mixed"),
        (
            ["bags.cutmix=0.5", "method=naive"],
            "bags.cutmix is 0.5, which mixes .*method.field_weight is 0: .*dual_head",
        ),
        (["bags.cutmix=0.5"], "bags.cutmix is 0.5, which mixes the labels of fields"),
        (["bags.mosaic=2"], "bags.mosaic is 2.0"),
        (["area_weight.border_um2=-1"], "area_weight.border_um2 is -1"),
        (["method=oracle"], "learns from labels of cells, and there are none: .* method=naive"),
        (["method=second_round", "teacher=null", "soft_labels=as_they_are"], "learns from labels of cells"),
    ],
)
def test_what_cannot_be_is_refused_before_any_cell_is_cut(settings: list[str], message: str) -> None:
    cfg = compose("train", ["out=x", "data.root=absent", *settings])
    OmegaConf.resolve(cfg)
    augmentation = to_settings(AugmentationSettings, cfg.augmentation)
    with pytest.raises(ValueError, match=message):
        check_objective(cfg, augmentation)


def test_mistakes_are_told_in_one_line(root: Path, tmp_path: Path, hpa_cells: Program) -> None:
    ended = hpa_cells(
        "train", *overrides(root, tmp_path / "model", "bags.mosaic=0.5", "bags.cells_per_field=1")
    )
    assert ended.status == 1
    assert "leaves nothing to mix" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_learns_no_labels_is_not_asked_out_of_fold(
    root: Path, tmp_path: Path, hpa_cells: Program
) -> None:
    settings = ("method=self_supervised", "cross_fit=true")
    ended = hpa_cells("train", *overrides(root, tmp_path / "model", *settings))
    assert ended.status == 1
    assert "this method learns no labels" in ended.stderr
    assert not list((tmp_path / "model").glob("fold-*"))
