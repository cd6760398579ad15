"""Labelled cells whose class can be seen: the protein fills the crop's upper or lower half, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpa_cells.classes import get_class_set
from hpa_cells.models import CellClassifier, ClassifierSettings
from hpa_cells.table import Column
from hpa_cells.training.augmentation import Augmentation, AugmentationSettings
from hpa_cells.training.crop_store import CropStore
from hpa_cells.training.data import LabelledCells
from hpa_cells.training.losses import BagLoss, LossSettings
from hpa_cells.training.made_up import MadeUpCells, MadeUpSettings
from hpa_cells.training.module import TrainingModule
from hpa_cells.training.schedule import warmup_cosine
from hpa_cells.types import Channel

CLASS_SET = get_class_set("hpa2021")
SIZE = 16
CROSS_ENTROPY = LossSettings(
    name="bce",
    class_weights="none",
    beta=0.999,
    positive_power=0.0,
    smoothing=0.0,
    smoothing_prior="half",
    weigh_equally="cells",
)


MakeModule = Callable[..., TrainingModule]


def labelled_cells(num_fields: int = 12, cells_per_field: int = 5, seed: int = 0) -> LabelledCells:
    rng = np.random.default_rng(seed)
    kinds = np.arange(num_fields) % 3
    labels = np.zeros((num_fields, len(CLASS_SET)), dtype=bool)
    labels[np.arange(num_fields), kinds] = True
    images = rng.integers(0, 40, (num_fields * cells_per_field, 4, SIZE, SIZE), dtype=np.uint8)
    kind_of_cell = np.repeat(kinds, cells_per_field)
    images[kind_of_cell == 0, Channel.PROTEIN, : SIZE // 2] += 180
    images[kind_of_cell == 1, Channel.PROTEIN] += 150
    field_ids = tuple(f"f{index:03d}" for index in range(num_fields))
    cells = pd.DataFrame(
        {
            Column.FIELD_ID: np.repeat(field_ids, cells_per_field),
            Column.CELL_ID: np.tile(np.arange(1, cells_per_field + 1), num_fields),
            Column.TOUCHES_BORDER: False,
        }
    )
    half = len(images) // 2
    store = CropStore(cells=cells, shards=(images[:half], images[half:]), starts=np.array([0, half]))
    return LabelledCells(
        class_set=CLASS_SET,
        field_ids=field_ids,
        labels=labels,
        rows_of_field=tuple(store.rows_of_field().values()),
        store=store,
    )


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Networks this small lose more by waiting for each other's threads than they gain."""
    torch.set_num_threads(1)


@pytest.fixture
def cells() -> LabelledCells:
    return labelled_cells()


@pytest.fixture
def classifier() -> CellClassifier:
    return _classifier()


def _classifier() -> CellClassifier:
    torch.manual_seed(0)
    options = {"channels": [8, 8, 8, 16], "stem_width": 8}
    return CellClassifier(ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=options))


@pytest.fixture
def make_module() -> MakeModule:
    """The same untrained module, as often as it is asked for; `made_up` further cells for each real one."""
    return lambda made_up=0.0: _training_module(_classifier(), made_up)


def _training_module(classifier: CellClassifier, made_up: float) -> TrainingModule:
    settings: dict[str, Any] = {
        "symmetries": True,
        "zoom": 0.1,
        "protein_gain": 0.1,
        "other_gain": 0.1,
        "noise": 0.02,
        "er_dropout": 0.0,
        "microtubules_dropout": 0.0,
    }
    return TrainingModule(
        classifier,
        loss=BagLoss(CROSS_ENTROPY, np.ones((1, 19), dtype=bool), field_weight=1.0, cell_weight=0.1),
        augmentation=Augmentation(AugmentationSettings(**settings)),
        made_up=MadeUpCells(MadeUpSettings(share=made_up, weight=1.0), CLASS_SET),
        make_optimizer=partial(torch.optim.AdamW, lr=0.01),
        make_scheduler=partial(warmup_cosine, warmup_fraction=0.1, final_factor=0.01),
        seed=5,
        compile_model=False,
    )
