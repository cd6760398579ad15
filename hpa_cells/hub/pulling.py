"""From a hub to this machine."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hpa_cells.hub.address import HubModel
from hpa_cells.hub.package import api_of, in_plain_words, is_among, package, quiet, status_of
from hpa_cells.limits import MAX_FILE_BYTES

__all__ = ["PulledModel", "pull"]

log = logging.getLogger(__name__)

_ANSWER_S: Final = 10.0
# Answers after which a copy that is here is not taken: it is not, or no longer, for who asks.
_REFUSALS: Final = (401, 403, 404)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledModel:
    """A copy of a repository's files on this machine.

    Attributes
    ----------
    folder
        Where they lie, in the cache of huggingface-hub.
    pinned
        The repository at the commit that they are of.
    """

    folder: Path
    pinned: HubModel


def pull(model: HubModel, wanted: Sequence[str]) -> PulledModel:
    """Bring the wanted files of a repository to this machine, and no others; those that are here are not fetched again.

    A commit that is here is taken without asking the hub. Of a branch or tag the hub is asked where it stands; where
    nothing answers, the last copy is taken, and it is said.

    Parameters
    ----------
    model
        The repository.
    wanted
        Names of files, ``*`` for any part of the name of a folder or file.

    Raises
    ------
    FileNotFoundError
        If there is no such repository or revision, none that you may see, or it holds no such file.
    PermissionError
        If the hub refuses it.
    OSError
        If the hub cannot be reached and there is no copy here, or the download breaks off.
    ValueError
        If a file is absurdly large, or huggingface-hub is not installed.
    """
    hub = package(str(model))
    if model.is_pinned and (copy := _copy_here(hub, model, wanted)) is not None:
        return copy
    api = api_of(hub)
    with in_plain_words(model), quiet(hub):
        try:
            found = api.model_info(
                model.repository, revision=model.revision, files_metadata=True, timeout=_ANSWER_S
            )
        except Exception as error:
            copy = None if status_of(error) in _REFUSALS else _copy_here(hub, model, wanted)
            if copy is None:
                raise
            log.warning(
                "%s cannot be asked for (%s): the copy on this machine is taken, %s.",
                model,
                type(error).__name__,
                copy.pinned,
            )
            return copy
        sizes = {each.rfilename: each.size for each in found.siblings or []}
        names = _checked_names(model, sizes, wanted)
        folder = api.snapshot_download(model.repository, revision=model.revision, allow_patterns=names)
    return _pulled(model, Path(folder))


def _copy_here(hub: Any, model: HubModel, wanted: Sequence[str]) -> PulledModel | None:
    """What was fetched of the revision before; None where that is nothing, or not all."""
    try:
        folder = Path(
            hub.snapshot_download(
                model.repository,
                revision=model.revision,
                allow_patterns=list(wanted),
                local_files_only=True,
            )
        )
    except FileNotFoundError:
        return None
    # Earlier versions of the package take a folder for whole in which nothing of ours has arrived.
    is_begun = any(next(folder.glob(name), None) for name in wanted)
    return _pulled(model, folder) if is_begun else None


def _pulled(model: HubModel, folder: Path) -> PulledModel:
    """The copy in a folder of the package's cache, which is called as the commit."""
    assert _COMMIT.fullmatch(folder.name), folder
    return PulledModel(folder=folder, pinned=replace(model, revision=folder.name))


def _checked_names(model: HubModel, sizes: Mapping[str, int | None], wanted: Sequence[str]) -> list[str]:
    """The wanted files of a repository, none of them too large; there is one at least."""
    names = [name for name in sizes if is_among(name, wanted)]
    marks = [name for name in wanted if "/" not in name and not name.endswith(".md")]
    if all(name.endswith(".md") for name in names):
        raise FileNotFoundError(
            f"{model} holds none of {', '.join(marks)}, so it is no such model of hpa_cells: give a repository that "
            "`hpa-cells push` wrote."
        )
    for name in names:
        size = sizes[name]
        if size is not None and size > MAX_FILE_BYTES:
            raise ValueError(
                f"{model} has a {name} of {size:,} bytes, at most {MAX_FILE_BYTES:,} are fetched: fetch it yourself if "
                "you trust it, and give its folder."
            )
    return names
