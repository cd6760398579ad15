"""The table ``out_of_fold`` of a cross-fit: what it was made of, and whether that is what is there now.

ROUND/fold-0/ ...      a model a fold
ROUND/out_of_fold/     a cell table: what each says of the fields that it has not seen
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hpa_cells.commands.field_files import note_files
from hpa_cells.fields import FieldSource
from hpa_cells.provenance import read_provenance
from hpa_cells.table import Provenance
from hpa_cells.training.run_folder import RunFolder, in_short

if TYPE_CHECKING:
    from hpa_cells.models import Ensemble

__all__ = [
    "OUT_OF_FOLD",
    "SHARDS",
    "check_models",
    "claim_table",
    "fold_folders",
    "is_out_of_fold",
    "remove_cross_fit",
    "with_models",
]

log = logging.getLogger(__name__)

# Name of the table beside the folds.
OUT_OF_FOLD: Final = "out_of_fold"
# Of a cell table.
SHARDS: Final = "fields-*.parquet"
_WEIGHTS: Final = "weights_of_folds"


def is_out_of_fold(provenance: Provenance) -> bool:
    """Whether a cell table is that of a cross-fit, so that no field was scored by a model that has seen it."""
    return provenance.source == "model" and _WEIGHTS in provenance.settings


def with_models(provenance: Provenance, models: Ensemble) -> Provenance:
    """The provenance of the table, completed by the weights of its models."""
    weights = {_WEIGHTS: [each.weights_hash for each in models.members]}
    return replace(provenance, weights_hash=models.weights_hash, settings=provenance.settings | weights)


def fold_folders(folder: Path) -> dict[int, Path]:
    """The folders ``fold-0``, ``fold-1`` ... in `folder` by number, ascending; none where it is no cross-fit."""
    found = ((each.name.removeprefix("fold-"), each) for each in folder.glob("fold-*"))
    return dict(sorted((int(number), each) for number, each in found if number.isdecimal()))


def remove_cross_fit(out: Path, settings: Mapping[str, Any]) -> None:
    """Remove the table of an earlier cross-fit in `out` and the folds that it trained; whatever else is there stays.

    Parameters
    ----------
    out
        Its folder.
    settings
        Of the cross-fit that comes after it, nested plain values; what repeats `out` is left out or relative to it.

    Raises
    ------
    ValueError
        If these name something that would be removed.
    """
    folds = [each for number, each in fold_folders(out).items() if _is_trained(each, number)]
    # The table first: without it, what is left after a stop is taken for no teacher.
    removed = [each for each in (out / OUT_OF_FOLD, *folds) if each.exists()]
    for name, place in _places(settings):
        is_within = any(place.is_relative_to(each.resolve()) for each in removed) and place.exists()
        if is_within or (name == "teacher" and folds and place == out.resolve()):
            raise ValueError(
                f"{name} is {place}, which resume=false would remove with the cross-fit in {out}: choose another `out`."
            )
    for each in removed:
        if each.is_symlink():
            each.unlink()
        else:
            shutil.rmtree(each)
    if removed:
        log.info("Removed an earlier cross-fit: %s.", ", ".join(map(str, removed)))


def claim_table(out: Path, provenance: Provenance, sources: Sequence[FieldSource]) -> None:
    """Take ``out_of_fold`` for a cross-fit before its first training, and put the files of its fields on record.

    Parameters
    ----------
    out
        Folder of the cross-fit.
    provenance
        Of the table, without models.
    sources
        All fields.

    Raises
    ------
    ValueError
        If the table that is there is of other settings, masks or models, or fields have changed since a model began.
    """
    table = out / OUT_OF_FOLD
    found = _provenance_of(table)
    if found is not None:
        _refuse_other_settings(table, found, provenance)
        check_models(table, all_finished=False)
    # A training that failed before its first state binds no one.
    is_begun = found is not None or any(RunFolder(out=each).has_state for each in fold_folders(out).values())
    note_files(table, sources, is_begun=is_begun)


def check_models(table: Path, *, all_finished: bool) -> None:
    """Compare the models beside the table of a cross-fit with those that it was made by; without table there are none.

    Parameters
    ----------
    table
        Its folder.
    all_finished
        Whether a model may neither be missing nor be one too many.

    Raises
    ------
    ValueError
        If one is another, is missing or has no part in the table.
    """
    # With it comes torch, without which a table is known for one out of fold.
    from hpa_cells.models.checkpoint import read_weights_hash

    provenance = _provenance_of(table)
    if provenance is None:
        return
    weights = provenance.settings[_WEIGHTS]
    for number, theirs in enumerate(weights):
        folder = table.parent / f"fold-{number}"
        if not RunFolder(out=folder).is_finished:
            if all_finished:
                raise ValueError(
                    f"{folder} holds no finished model, but {table} has scores of one: repeat the command of that "
                    "cross-fit, which goes on."
                )
            continue
        own = read_weights_hash(folder)
        if own != theirs:
            raise ValueError(
                f"{folder} is another model (SHA-256 {own[:12]}…) than the one whose scores {table} has "
                f"({theirs[:12]}…): remove {table} and repeat the command of that cross-fit, which writes it again."
            )
    further = [each for number, each in fold_folders(table.parent).items() if number >= len(weights)]
    if further and all_finished:
        raise ValueError(
            f"{table} has scores of {len(weights)} models, and {further[0]} is none of them: move it elsewhere, or "
            "start that cross-fit anew with resume=false."
        )


def _provenance_of(table: Path) -> Provenance | None:
    shards = sorted(table.glob(SHARDS))
    return read_provenance(shards[0]) if shards else None


def _refuse_other_settings(table: Path, found: Provenance, provenance: Provenance) -> None:
    """Refuse a table of another cross-fit, or of none; its models are another matter."""
    weights = {_WEIGHTS: found.settings[_WEIGHTS]} if is_out_of_fold(found) else {}
    wanted = replace(provenance, weights_hash=found.weights_hash, settings=provenance.settings | weights)
    told = (each.removeprefix("settings.").removeprefix("training.") for each in found.differences(wanted))
    # The segmenter is among the settings of the training too.
    differences = list(dict.fromkeys(told))
    if differences:
        raise ValueError(
            f"{table} was written with other settings or masks ({in_short(differences)}): choose "
            "another `out`, repeat the command that wrote it, or start anew with resume=false, which removes it and "
            "the folds beside it."
        )


def _is_trained(folder: Path, number: int) -> bool:
    """Whether a folder holds the training of this fold, finished or not; a copied model is none."""
    training = RunFolder(out=folder)
    if not training.settings.exists():
        return False
    settings = training.read_settings()
    return "data" in settings and bool(settings["data"]["fold"] == number)


def _places(node: Any, name: str = "") -> Iterator[tuple[str, Path]]:
    """Yield every text among the settings as the path that it may be."""
    if isinstance(node, str):
        yield name, Path(node).resolve()
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _places(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, Sequence):
        for value in node:
            yield from _places(value, name)
