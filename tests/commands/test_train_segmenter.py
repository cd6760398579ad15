"""The training of the segmenter, from a few simulated and real fields to a file of weights that segments."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

from hpa_cells.commands.outlines import read_outlines
from hpa_cells.commands.settings import compose
from hpa_cells.commands.train import run
from hpa_cells.fields import write_field
from hpa_cells.segmentation import UNet, write_segmentation
from hpa_cells.segmentation.network import read_network
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.types import Segmentation

# What the score of a training is the mean of.
SCORED = [("simulated_cells", 0.6), ("simulated_nuclei", 0.5), ("cells_cells", 0.6), ("nuclei_nuclei", 0.5)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out like the real material: two fields with masks, three images of nuclei, outlines."""
    root = tmp_path_factory.mktemp("material")
    recipe = Recipe(height_px=192, width_px=224, pixel_size_um=0.32)
    for folder in ("cell_labels/masks", "nuclei/images", "nuclei/labels"):
        (root / folder).mkdir(parents=True)
    for index in range(3):
        simulated = simulate_field(recipe, index)
        cells, nuclei = simulated.segmentation.cells, simulated.segmentation.nuclei
        if index < 2:
            write_field(simulated.field, root / "hpa2021/fields")
            write_segmentation(
                Segmentation(
                    field_id=simulated.field.field_id,
                    cells=cells,
                    nuclei=np.zeros_like(cells),
                    pixel_size_um=0.32,
                ),
                root / "hpa2021/masks",
            )
            (root / f"hpa2021/masks/{simulated.field.field_id}_nuclei.png").unlink()
        cv2.imwrite(str(root / f"nuclei/images/{index}.png"), simulated.field.image[2])
        cv2.imwrite(str(root / f"nuclei/labels/{index}.png"), nuclei.astype(np.uint16))
        cv2.imwrite(str(root / f"cell_labels/masks/{index}.png"), cells.astype(np.uint16))
    return root


def train(root: Path, out: Path, *more: str, experiment: str = "segmentation_unet") -> float:
    overrides = [
        f"experiment={experiment}",
        f"out={out}",
        f"segmentation.real_data={root}",
        f"segmentation.store={root / 'store'}",
        "segmentation.start=null",
        "segmentation.network.encoder=test_resnet",
        "segmentation.network.decoder_channels=[16,8,8,8]",
        "segmentation.variety.side_px=128",
        "segmentation.material.simulated_fields=4",
        "segmentation.material.simulated_validation_fields=1",
        "segmentation.material.held_out=[sim-000001]",
        "segmentation.material.held_out_fold=1",
        "segmentation.material.nuclei_folds=3",
        "segmentation.crops.side_px=64",
        "segmentation.mix.batch_size=2",
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        "trainer.accelerator=cpu",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more,
    ]
    return run(compose("train", overrides))


def losses(out: Path) -> list[float]:
    table = pd.read_csv(out / "training/logs/csv/metrics.csv")
    return table.drop_duplicates("step", keep="last")["train/loss"].dropna().tolist()


def test_a_file_of_weights_that_segments(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    train(root, out)
    network, provenance = read_network(out / "unet.safetensors")
    assert network.settings.encoder == "test_resnet"
    assert provenance["training_fields"] == {"simulated": 4, "cells": 1, "nuclei": 2}
    assert provenance["validation_fields"] == {"simulated": 1, "cells": 1, "nuclei": 1}
    assert provenance["steps"] == 4
    known = {"simulated_cells", "simulated_nuclei", "cells_cells", "nuclei_nuclei"}
    assert {name.rsplit("_f1_", 1)[0] for name in provenance["validation"] if "_f1_" in name} == known
    field = simulate_field(Recipe(height_px=100, width_px=130, pixel_size_um=0.32), 9).field
    [found] = UNet(weights=str(out / "unet.safetensors"), device="cpu").segment([field])
    assert found.cells.shape == (100, 130)
    card = (out / "unet.md").read_text()
    assert "test_resnet" in card
    assert "| images of nuclei | 2 |" in card
    for about in ("Simulated fields are", "Fields of known cells came", "Images of nuclei came"):
        assert about in card
    settings = json.loads((out / "training/settings.json").read_text())
    assert settings["segmentation"]["material"]["held_out"] == ["sim-000001"]


def test_the_weights_say_what_made_them_but_not_where(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    train(root, out, "callbacks.averaging.decay=0.9", "trainer.gradient_clip_val=0.5")
    _, provenance = read_network(out / "unet.safetensors")
    assert provenance["segmentation"]["material"] == {
        "simulated_fields": 4,
        "simulated_validation_fields": 1,
        "outlines": 3,
        "held_out": 1,
        "nuclei_um_per_px": 0.65,
        "nuclei_folds": 3,
        "held_out_fold": 1,
    }
    assert provenance["scheduler"]["final_factor"] == 0.01
    assert provenance["trainer"]["max_steps"] == 4
    assert provenance["trainer"]["gradient_clip_val"] == 0.5
    assert provenance["trainer"]["precision"] == "fastest"
    assert provenance["averaging"]["decay"] == 0.9
    for text in (json.dumps(provenance), (out / "unet.md").read_text()):
        assert str(tmp_path.parent) not in text
        assert str(root) not in text
    train(root, tmp_path / "plain", "callbacks.averaging=null")
    assert read_network(tmp_path / "plain/unet.safetensors")[1]["averaging"] is None


def test_from_stage_to_stage(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "joint", experiment="segmentation_representations")
    joint, provenance = read_network(tmp_path / "joint/unet.safetensors")
    assert joint.settings.representation == "joint"
    assert provenance["training_fields"] == {"simulated": 4}
    card = (tmp_path / "joint/unet.md").read_text()
    assert "Simulated fields are" in card
    assert "came with masks" not in card
    earlier = tmp_path / "joint/unet.safetensors"
    for stage in ("segmentation_unet_base", "segmentation_unet"):
        train(root, tmp_path / stage, f"segmentation.start={earlier}", experiment=stage)
        sha256 = hashlib.sha256(earlier.read_bytes()).hexdigest()
        earlier = tmp_path / stage / "unet.safetensors"
        network, provenance = read_network(earlier)
        assert network.settings.representation == "distances"
        assert provenance["start_sha256"] == sha256


def test_the_same_seed_gives_the_same_weights(root: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        train(root, tmp_path / name, "trainer.precision=32-true")
    first, second = (read_network(tmp_path / name / "unet.safetensors")[0] for name in ("first", "second"))
    for mine, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "further",
    # A step of two batches, and states between them and in the middle of epochs.
    [
        (),
        (
            "trainer.accumulate_grad_batches=2",
            "trainer.val_check_interval=3",
            "segmentation.mix.num_batches=8",
        ),
    ],
    ids=["a batch a step", "two"],
)
def test_a_training_that_was_stopped_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, further: tuple[str, ...]
) -> None:
    options = ("trainer.precision=32-true", "trainer.log_every_n_steps=1", *further)
    train(root, tmp_path / "whole", *options)

    fit = Trainer.fit

    def killed(self: Trainer, module: torch.nn.Module, *arguments: object, **named: object) -> None:
        step = module.training_step

        def training_step(batch: object, batch_idx: int) -> object:
            if self.global_step == 3:
                raise RuntimeError("killed")
            return step(batch, batch_idx)

        module.training_step = training_step  # type: ignore[assignment]
        fit(self, module, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "fit", killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(root, tmp_path / "stopped", *options)
    monkeypatch.setattr(Trainer, "fit", fit)
    train(root, tmp_path / "stopped", *options)
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    stopped, whole = (read_network(tmp_path / name / "unet.safetensors")[0] for name in ("stopped", "whole"))
    for mine, other in zip(stopped.state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_it_starts_from_other_weights(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "first")
    start = f"segmentation.start={tmp_path / 'first' / 'unet.safetensors'}"
    train(root, tmp_path / "second", start, "optimizer.lr=0", "optimizer.weight_decay=0")
    first, second = (read_network(tmp_path / name / "unet.safetensors")[0] for name in ("first", "second"))
    for mine, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    with pytest.raises(ValueError, match="has no map of nucleus rim, cell rim, which borders needs"):
        train(root, tmp_path / "third", start, "segmentation.network.representation=borders")


def test_a_finished_training_stays(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    score = train(root, tmp_path / "model")
    written = (tmp_path / "model/unet.safetensors").stat().st_mtime_ns
    _, provenance = read_network(tmp_path / "model/unet.safetensors")
    scores = [provenance["validation"][f"{name}_f1_at_{iou}"] for name, iou in SCORED]
    assert score == pytest.approx(np.mean(scores))
    with caplog.at_level("INFO"):
        assert train(root, tmp_path / "model") == score
    assert "is finished" in caplog.text
    assert (tmp_path / "model/unet.safetensors").stat().st_mtime_ns == written


def test_mistakes(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Held-out fields nobody are not in .*correct .*held_out"):
        train(root, tmp_path / "a", "segmentation.material.held_out=[nobody]")
    with pytest.raises(ValueError, match=r"nowhere does not exist: correct segmentation\.material\.outlines"):
        train(root, tmp_path / "b", f"segmentation.material.outlines=[{root}/nowhere]")


def test_outlines_are_as_wide_as_a_real_field(root: Path) -> None:
    layouts = read_outlines((str(root / "cell_labels/masks"), str(root / "cell_labels/masks/0.png")))
    assert len(layouts) == 4
    for layout in layouts:
        assert max(layout.cells.shape) * layout.pixel_size_um == pytest.approx(163.84)
    np.testing.assert_array_equal(layouts[0].cells, layouts[3].cells)
