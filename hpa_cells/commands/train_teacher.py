"""``hpa-cells train teacher=...``: cells learn what other models say of them, which are asked first."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.atomic import sole_writer
from hpa_cells.commands.labelled_prediction import Question, predict_labelled
from hpa_cells.commands.out_of_fold import OUT_OF_FOLD, SHARDS, fold_folders
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.teacher_answers import read_answers
from hpa_cells.commands.training_run import plain
from hpa_cells.fields import FieldSource
from hpa_cells.hub import is_on_hub
from hpa_cells.models import SHIPPED, Ensemble, load_models
from hpa_cells.models.start import checkpoint_folder
from hpa_cells.table import Provenance
from hpa_cells.training.augmentation import AugmentationSettings
from hpa_cells.training.cutting import fields_fingerprint, masks_fingerprint
from hpa_cells.training.labelled import DataSettings, find_labelled_fields
from hpa_cells.training.method import MethodSettings

__all__ = ["Teacher", "ask_teacher", "find_teacher", "taught_by"]

log = logging.getLogger(__name__)

_CHECKPOINT: Final = "checkpoint.json"
_SECONDS_BETWEEN_LOOKS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """Whose scores of cells are learned.

    Attributes
    ----------
    weights_hash
        SHA-256 of the weights: others at the same place teach something else.
    models
        Those to ask, which answer as one; None for the folds of a cross-fit, whose answers are there.
    table
        Folder of the cell table with the answers, which `ask_teacher` completes.
    provenance
        Of that table: other files of the fields are another one. None for the folds.
    """

    weights_hash: str
    models: Ensemble | None
    table: Path
    provenance: Provenance | None = None

    @property
    def about(self) -> str | None:
        """What its students are to say of themselves, since its limits are theirs; None if it has nothing to say."""
        members = () if self.models is None else self.models.members
        said = {each.provenance.get("about"): None for each in members}
        known = [each for each in said if each]
        return " ".join(["Its cells had their labels from models.", *known]) if known else None


def find_teacher(cfg: DictConfig) -> Teacher | None:
    """The teacher that the settings of a training name, None where they name none; it is not asked anything yet.

    Parameters
    ----------
    cfg
        All settings, resolved.

    Raises
    ------
    FileNotFoundError
        If there is nothing at a place that `teacher` names.
    ValueError
        If cells have other labels already or learn none, a place is no model, the models do not go together, are of
        other classes or know no cells, or the table of a cross-fit is unfinished, of other cells, images or models.
    """
    if cfg.teacher is None:
        return None
    _check_student(cfg)
    places = [str(each) for each in cfg.teacher] if OmegaConf.is_list(cfg.teacher) else [str(cfg.teacher)]
    folds = [place for place in places if _is_folds(place)]
    if not folds:
        return _models(cfg, places)
    if len(places) > 1:
        raise ValueError(
            f"teacher names {folds[0]}, a folder of folds, beside others, but its table {OUT_OF_FOLD} stands for "
            "itself: give it alone, or models without folds."
        )
    return _folds(cfg, Path(folds[0]))


def ask_teacher(cfg: DictConfig, teacher: Teacher) -> Path:
    """The cell table with what the teacher says of all labelled fields, those for validation too.

    Fields that were answered before are not repeated, by whichever training of the same `teacher_store`; where one is
    asking the same at this moment, its end is awaited.

    Parameters
    ----------
    cfg
        The settings of the training, resolved.
    teacher
        From `find_teacher`.

    Raises
    ------
    FieldsFailedError
        If fields failed; all others are in the table, and the next call tries these again.
    """
    if teacher.models is None:
        return teacher.table
    assert teacher.provenance is not None
    question = Question(sources=_sources(cfg, teacher.models), models=teacher.models)
    while True:
        try:
            predict_labelled(cfg, teacher.table, [question], provenance=teacher.provenance)
            break
        except BlockingIOError:
            log.info("%s: another training is asking the same; waiting for its end.", teacher.table)
            _wait_for_end(teacher.table)
    log.info("%s: what the teacher says of the labelled fields.", teacher.table)
    return teacher.table


def taught_by(settings: dict[str, Any]) -> dict[str, Any]:
    """Name and weights of the teacher from the settings of a training, for its model card; empty where it has none."""
    return {name: settings[name] for name in ("teacher", "teacher_sha256") if settings["teacher"] is not None}


def _wait_for_end(folder: Path) -> None:
    """Return when nobody writes to a folder."""
    while True:
        try:
            with sole_writer(folder):
                return
        except BlockingIOError:
            sleep(_SECONDS_BETWEEN_LOOKS)


def _check_student(cfg: DictConfig) -> None:
    """Refuse settings that leave a teacher nothing to say."""
    if cfg.cell_labels is not None:
        raise ValueError(
            f"teacher is {cfg.teacher} and cell_labels is {cfg.cell_labels}: both label the cells. For the table set "
            "method=oracle soft_labels=calibrated, which has no teacher; for the teacher leave cell_labels out."
        )
    if cfg.heads is not None:
        raise ValueError(
            f"teacher is {cfg.teacher}, but heads=one_vs_rest learns from labels of fields: set method=dual_head "
            "without a teacher, or train with heads=null."
        )
    if cfg.view.kind == "squares":
        raise ValueError(
            f"teacher is {cfg.teacher}, but view=squares knows no cells: set method=naive without a teacher, or "
            "choose another view."
        )
    method = to_settings(MethodSettings, cfg.method)
    if method.cell_weight == 0:
        raise ValueError(
            f"teacher is {cfg.teacher}, but method.cell_weight is 0: no cell would learn from it. Set method=oracle."
        )
    if cfg.soft_labels.rule == "as_they_are":
        log.warning(
            "soft_labels=as_they_are takes the scores of the teacher for the truth; soft_labels=calibrated adjusts "
            "them to the labels of the fields."
        )


def _is_folds(place: str) -> bool:
    """Whether a place holds folds; what holds neither these nor a model is refused."""
    if place == SHIPPED:
        return False
    folder = checkpoint_folder(place)
    if is_on_hub(place) and fold_folders(folder):
        raise ValueError(
            f"teacher={place} is a cross-fit, whose answers about its own fields are not on a hub: give a single model."
        )
    # As `load_models` tells them apart.
    if fold_folders(folder):
        return True
    if (folder / _CHECKPOINT).exists():
        return False
    found = f"teacher={place} is neither a model nor a folder of folds: "
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{found}there is no such folder. Give what `hpa-cells train` wrote, or shipped."
        )
    if any(folder.glob(SHARDS)):
        raise ValueError(f"{found}it holds a cell table. Give it as cell_labels={place}, without a teacher.")
    raise ValueError(
        f"{found}it has no {_CHECKPOINT} and no fold-0. Give the folder of a finished training, or shipped."
    )


def _models(cfg: DictConfig, places: Sequence[str]) -> Teacher:
    models = load_models(places)
    _check_classes(cfg, models.class_set.name)
    if not models.sees_cells:
        raise ValueError(
            f"teacher is {cfg.teacher}, which sees squares of fields and says nothing of cells: choose another."
        )
    for place, member in zip(places, models.members, strict=True):
        if member.provenance.get("about"):
            log.warning("About the teacher %s: %s", place, member.provenance["about"])
        known = _fields_learned_from(member.provenance) & _absolute(cfg.data.fields)
        # What the model in the package has learned from, nobody has.
        if known and place != SHIPPED:
            log.warning(
                "%s has learned from fields of %s and repeats their labels: teach with a cross-fit (cross_fit=true, "
                "then teacher=its folder).",
                place,
                ", ".join(sorted(known)),
            )
    provenance = _provenance(cfg, models)
    table = Path(cfg.teacher_store) / _fingerprint(provenance)
    return Teacher(weights_hash=models.weights_hash, models=models, table=table, provenance=provenance)


def _folds(cfg: DictConfig, folder: Path) -> Teacher:
    table = folder / OUT_OF_FOLD
    answers = read_answers(cfg, table)
    _check_classes(cfg, answers.class_set.name)
    return Teacher(weights_hash=answers.provenance.weights_hash, models=None, table=table)


def _check_classes(cfg: DictConfig, class_set: str) -> None:
    if class_set != cfg.data.class_set:
        raise ValueError(
            f"teacher is {cfg.teacher}, of class set {class_set}, the data are of {cfg.data.class_set}: choose a "
            f"teacher of these classes, a method without one (method=naive, method=dual_head), or data={class_set}."
        )


def _fields_learned_from(provenance: dict[str, object]) -> set[str]:
    """Places of the fields that a model was trained on; empty where it does not say."""
    settings = provenance.get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    return _absolute(data["fields"]) if isinstance(data, dict) and "fields" in data else set()


def _absolute(places: Sequence[str]) -> set[str]:
    return {str(Path(each).resolve()) for each in places}


def _sources(cfg: DictConfig, models: Ensemble) -> list[FieldSource]:
    """All labelled fields; one may lack what both the student and its teachers can do without."""
    dropouts = to_settings(AugmentationSettings, cfg.augmentation).dropouts
    optional = frozenset(dropouts) & models.optional_channels
    return find_labelled_fields(to_settings(DataSettings, cfg.data), optional=optional).sources


def _provenance(cfg: DictConfig, models: Ensemble) -> Provenance:
    sources = sorted(_sources(cfg, models), key=lambda source: source.field_id)
    return Provenance(
        version=__version__,
        class_set=models.class_set.name,
        source="model",
        weights_hash=models.weights_hash,
        settings={
            "weights_of_teachers": [each.weights_hash for each in models.members],
            "about_models": [each.provenance.get("about") for each in models.members],
            "segmenter": plain(cfg.segmenter),
            "masks": masks_fingerprint(plain(cfg.segmenter)),
            "fields": fields_fingerprint(sources),
            "pixel_size_um": cfg.data.pixel_size_um,
        },
    )


def _fingerprint(provenance: Provenance) -> str:
    """Name of the folder of a table, of its own for each provenance."""
    return hashlib.sha256(json.dumps(asdict(provenance), sort_keys=True).encode()).hexdigest()[:16]
