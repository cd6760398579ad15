from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpa_cells.training.run_folder import RunFolder, claim_folder

SETTINGS = {"seed": 0, "method": {"loss": {"cell_weight": 0.1}}, "fields": ["a"]}


def leave_state(folder: RunFolder) -> None:
    folder.checkpoints.mkdir(parents=True)
    folder.last.touch()


def test_a_training_that_failed_before_its_first_state_binds_no_one(tmp_path: Path) -> None:
    first = claim_folder(tmp_path / "m", SETTINGS, resume=True)
    first.logs.mkdir()
    claim_folder(tmp_path / "m", SETTINGS | {"seed": 1}, resume=True)
    assert not first.logs.exists()


def test_the_same_settings_may_come_back(tmp_path: Path) -> None:
    for _ in range(2):
        folder = claim_folder(tmp_path / "m", SETTINGS, resume=True)
    assert folder.settings.exists()
    assert not folder.is_finished


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    leave_state(claim_folder(tmp_path / "m", SETTINGS, resume=True))
    other = SETTINGS | {"method": {"loss": {"cell_weight": 0.2}}, "new": 1}
    with pytest.raises(
        ValueError, match=r"method\.loss\.cell_weight: 0\.1 -> 0\.2; new: None -> 1\).*resume=false"
    ):
        claim_folder(tmp_path / "m", other, resume=True)


def test_what_an_earlier_version_noted_beside_is_no_difference(tmp_path: Path) -> None:
    noted = {
        "bags": {"workers": 0, "seed": 1},
        "callbacks": {"progress": {"monitor": "val/ap"}, "best": None},
    }
    folder = claim_folder(tmp_path / "m", noted | {"data": {"fields": ["./sim/train"]}}, resume=True)
    leave_state(folder)
    today = {"bags": {"seed": 1}, "callbacks": {"best": None}, "data": {"fields": ["sim/train"]}}
    claim_folder(tmp_path / "m", today, resume=True)
    assert json.loads(folder.settings.read_text()) == today
    with pytest.raises(ValueError, match=r"\(data\.fields: \['sim/train'\] -> \['sim/test'\]\)"):
        claim_folder(tmp_path / "m", today | {"data": {"fields": ["sim/test"]}}, resume=True)


def test_many_differences_are_counted(tmp_path: Path) -> None:
    leave_state(claim_folder(tmp_path / "m", {str(number): 0 for number in range(9)}, resume=True))
    with pytest.raises(ValueError, match=r"4: 0 -> 1 and 4 more\)"):
        claim_folder(tmp_path / "m", {str(number): 1 for number in range(9)}, resume=True)


def test_starting_anew_removes_the_old_state(tmp_path: Path) -> None:
    folder = claim_folder(tmp_path / "m", SETTINGS, resume=True)
    folder.checkpoints.mkdir(parents=True)
    folder.last.touch()
    (folder.out / "checkpoint.json").touch()
    crops = folder.out / "training" / "crops"
    crops.mkdir()
    (folder.logs / "csv").mkdir(parents=True)
    again = claim_folder(tmp_path / "m", SETTINGS | {"seed": 1}, resume=False)
    assert not again.last.exists()
    assert not again.is_finished
    assert not again.logs.exists()
    assert crops.exists()


def test_a_model_from_elsewhere_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").touch()
    with pytest.raises(ValueError, match=r"holds a model that was not trained here"):
        claim_folder(tmp_path, SETTINGS, resume=True)
    assert not (tmp_path / "training").exists()
