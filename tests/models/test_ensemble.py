from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.classes import get_class_set
from hpa_cells.models import (
    CellClassifier,
    Checkpoint,
    Ensemble,
    load_checkpoint,
    load_models,
    save_checkpoint,
)
from hpa_cells.types import Channel


@pytest.fixture
def checkpoint(small_world: Any) -> Checkpoint:
    return load_checkpoint(small_world.model)


def test_one_model_is_an_ensemble(small_world: Any, checkpoint: Checkpoint) -> None:
    alone = load_models(small_world.model)
    assert len(alone.members) == 1
    assert alone.weights_hash == checkpoint.weights_hash
    assert alone.class_set is checkpoint.class_set
    np.testing.assert_array_equal(alone.thresholds, checkpoint.thresholds)


def test_a_folder_of_folds_stands_for_its_models_in_order(
    small_world: Any, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    hashes = []
    for fold in range(11):
        torch.manual_seed(fold)
        model = CellClassifier(checkpoint.model.settings)
        hashes.append(
            save_checkpoint(tmp_path / f"fold-{fold}", replace(checkpoint, model=model)).weights_hash
        )
    (tmp_path / "out_of_fold").mkdir()
    (tmp_path / "fold-notes").mkdir()
    together = load_models(tmp_path)
    assert [each.weights_hash for each in together.members] == hashes
    assert together.weights_hash == hashlib.sha256("".join(hashes).encode()).hexdigest()
    assert len(load_models([tmp_path, small_world.model]).members) == 12


def test_a_fold_that_is_lost_is_missed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    of_three = replace(checkpoint, provenance={"settings": {"data": {"num_folds": 3}}})
    for fold in (0, 2):
        save_checkpoint(tmp_path / f"fold-{fold}", of_three)
    with pytest.raises(ValueError, match=r"has 2 of 3 folds: repeat the command of that training"):
        load_models(tmp_path)
    assert len(load_models([tmp_path / "fold-0", tmp_path / "fold-2"]).members) == 2


def test_thresholds_are_averaged_and_channels_are_what_all_can_miss(checkpoint: Checkpoint) -> None:
    other = replace(
        checkpoint,
        thresholds=checkpoint.thresholds + np.float32(0.2),
        optional_channels=frozenset({Channel.ER}),
    )
    both = frozenset({Channel.ER, Channel.MICROTUBULES})
    together = Ensemble(members=(replace(checkpoint, optional_channels=both), other))
    np.testing.assert_allclose(together.thresholds, checkpoint.thresholds + 0.1, rtol=1e-6)
    assert together.optional_channels == {Channel.ER}


def test_models_that_do_not_go_together(small_world: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="An ensemble has no model"):
        load_models([])
    of_2018 = replace(
        checkpoint,
        model=CellClassifier(replace(checkpoint.model.settings, num_classes=28)),
        class_set=get_class_set("hpa2018"),
        thresholds=np.full(28, 0.5, dtype=np.float32),
    )
    with pytest.raises(ValueError, match="have classes of hpa2021 and hpa2018"):
        Ensemble(members=(checkpoint, of_2018))
    larger = replace(checkpoint, crop_settings=checkpoint.crop_settings | {"size_px": 99})
    with pytest.raises(ValueError, match=r"'size_px': 99.*models of one kind"):
        Ensemble(members=(checkpoint, larger))
    shutil.copytree(small_world.model, tmp_path / "fold-0")
    (tmp_path / "fold-1").mkdir()
    with pytest.raises(FileNotFoundError, match="fold-1"):
        load_models(tmp_path)
