"""Several models that answer as one: their probabilities are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.models.checkpoint import Checkpoint, load_checkpoint
from hpa_cells.models.start import checkpoint_folder
from hpa_cells.types import Channel

__all__ = ["Ensemble", "folds_of", "load_models"]

# What is made of a field for each view, in words.
_SEEN: Final = {"crops": "crops cut", "field": "whole fields shown", "squares": "squares cut"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """Models of the same classes; one alone is an ensemble too.

    Some may see crops, others whole fields or squares of them, but each of these is made in one way for all.

    Attributes
    ----------
    members
        The models, at least one. The embedding of a cell is that of the first that sees cells: the spaces of others
        are others.
    """

    members: tuple[Checkpoint, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("An ensemble has no model: give at least one.")
        first = self.members[0]
        for other in self.members[1:]:
            if other.class_set.name != first.class_set.name:
                raise ValueError(
                    f"The models have classes of {first.class_set.name} and {other.class_set.name}: give models "
                    "of one class set."
                )
        for view, seen in _SEEN.items():
            kinds = self._kinds(view)
            for kind in kinds[1:]:
                if kind != kinds[0]:
                    raise ValueError(
                        f"The models were trained on {seen} by {kinds[0]} and {kind}: give models of one kind."
                    )

    @property
    def class_set(self) -> ClassSet:
        """The K classes of all members."""
        return self.members[0].class_set

    @property
    def crop_settings(self) -> dict[str, Any] | None:
        """How cells are cut for all members that see crops; None if none does."""
        return next(iter(self._kinds("crops")), None)

    @property
    def field_settings(self) -> dict[str, Any] | None:
        """How whole fields are shown to all members that see them; None if none does."""
        return next(iter(self._kinds("field")), None)

    @property
    def square_settings(self) -> dict[str, Any] | None:
        """How squares are cut for all members that see them; None if none does."""
        return next(iter(self._kinds("squares")), None)

    @property
    def sees_cells(self) -> bool:
        """Whether any member does: without, no cells need to be found, and no answers about cells are given."""
        return any(each.model.settings.view != "squares" for each in self.members)

    @property
    def device(self) -> torch.device:
        """Where the members are; of one that is elsewhere than the first nothing is said."""
        return next(self.members[0].model.parameters()).device

    def to(self, device: torch.device) -> None:
        """Bring all members to a device."""
        for each in self.members:
            each.model.to(device)

    def _kinds(self, view: str) -> list[dict[str, Any]]:
        """The settings of the view, of each member that has it."""
        settings = {"crops": "crop_settings", "field": "field_settings", "squares": "square_settings"}[view]
        return [getattr(each, settings) or {} for each in self.members if each.model.settings.view == view]

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """(K,) float32, the mean of the members' thresholds."""
        mean: NDArray[np.float32] = np.mean(
            [each.thresholds for each in self.members], axis=0, dtype=np.float32
        )
        return mean

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """Channels that every member can do without."""
        return frozenset.intersection(*(each.optional_channels for each in self.members))

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights; of several, of their hashes one after another."""
        hashes = [each.weights_hash for each in self.members]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def load_models(places: Path | str | Sequence[Path | str]) -> Ensemble:
    """Read one or more checkpoint folders.

    A folder with ``fold-0``, ``fold-1`` ... in it stands for those, ``shipped`` for the model in the package,
    ``hf://owner/name`` for one that is pulled from a hub.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    OSError
        If one on a hub cannot be had.
    ValueError
        If one is damaged, or they do not go together.
    """
    named = [places] if isinstance(places, str | Path) else list(places)
    roots = [checkpoint_folder(place) for place in named]
    folders = [folder for root in roots for folder in folds_of(root)]
    members = tuple(load_checkpoint(folder) for folder in folders)
    for root in roots:
        _check_folds(root, members, folders)
    return Ensemble(members=members)


def _check_folds(place: Path, members: Sequence[Checkpoint], folders: Sequence[Path]) -> None:
    """Refuse a folder that has lost some of its folds: the mean of the others would pass for that of all."""
    folds = [each for each, folder in zip(members, folders, strict=True) if folder.parent == place]
    wanted = _num_folds(folds[0].provenance) if folds else None
    if wanted is not None and len(folds) != wanted:
        raise ValueError(
            f"{place} has {len(folds)} of {wanted} folds: repeat the command of that training, which goes on, or name "
            f"those that you want, [{place}/fold-0,...]."
        )


def _num_folds(provenance: dict[str, Any]) -> int | None:
    """How many there were in the training of a fold; None where it does not say."""
    settings = provenance.get("settings")
    return settings["data"]["num_folds"] if isinstance(settings, dict) and "data" in settings else None


def folds_of(folder: Path) -> list[Path]:
    """The folders of the folds in a folder, in their order; without any the folder itself."""
    folds = [each for each in folder.glob("fold-*") if each.name.removeprefix("fold-").isdecimal()]
    return sorted(folds, key=lambda each: int(each.name.removeprefix("fold-"))) or [folder]
