"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("hpa_cells", deadline=None)
hypothesis.settings.load_profile("hpa_cells")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real HPA fields, masks and labels, where the environment variable names one."""
    folder = os.environ.get("HPA_CELLS_REAL_DATA")
    if not folder:
        pytest.skip("HPA_CELLS_REAL_DATA is unset: it names the folder of real HPA fields")
    return Path(folder).resolve()


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallWorld:
    """A few small fields on disk, their cells, and a model that was never trained."""

    fields: Path
    masks: Path
    model: Path
    num_cells: dict[str, int]


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Five fields of 48 x 72 px with 0 to 7 square cells, whose ids have gaps and go beyond 8 and 16 bit."""
    import torch

    from hpa_cells.classes import get_class_set
    from hpa_cells.fields import write_field
    from hpa_cells.models import CellClassifier, Checkpoint, ClassifierSettings, save_checkpoint
    from hpa_cells.segmentation import write_segmentation
    from hpa_cells.types import Field, Segmentation

    root = tmp_path_factory.mktemp("small_world")
    num_cells = {"f0": 3, "f1": 0, "f2": 7, "f3": 1, "f4": 5}
    for index, (field_id, number) in enumerate(num_cells.items()):
        cells = np.zeros((48, 72), dtype=np.int32)
        for cell in range(number):
            top, left = 16 * (cell % 3), 24 * (cell // 3)
            cells[top : top + 12, left : left + 18] = 7 + 293 * cell + 70_000 * (index == 4)
        nuclei = np.where(np.roll(cells, (3, 4), axis=(0, 1)) == cells, cells, 0)
        image = np.random.default_rng(index).integers(0, 200, (4, 48, 72), dtype=np.uint8)
        image[2] = np.where(nuclei > 0, 250, 5)
        write_field(Field(field_id=field_id, image=image, pixel_size_um=0.5), root / "fields")
        write_segmentation(
            Segmentation(field_id=field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5), root / "masks"
        )
    torch.manual_seed(0)
    encoder_options = {"channels": [8, 8, 8, 8], "stem_width": 8}
    model = CellClassifier(
        ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=encoder_options)
    ).eval()
    for head in (model.cell_head, model.field_head):
        # Random heads say 0.5 of everything: these say something of each cell.
        torch.nn.init.normal_(head.weight, std=3.0)
    save_checkpoint(
        root / "model",
        Checkpoint(
            model=model,
            class_set=get_class_set("hpa2021"),
            crop_settings={"size_px": 32, "masked": True, "um_per_px": None, "margin": 0.03},
            thresholds=np.linspace(0.1, 0.9, 19, dtype=np.float32),
        ),
    )
    return SmallWorld(fields=root / "fields", masks=root / "masks", model=root / "model", num_cells=num_cells)
