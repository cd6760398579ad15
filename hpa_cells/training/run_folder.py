"""The folder of a training: whose it is, how far it got, and where its files are.

MODEL/model.safetensors ...          the checkpoint, once the training is finished
MODEL/training/settings.json         every setting that changes the result
MODEL/training/checkpoints/          last.ckpt to go on from, best.ckpt by validation
MODEL/training/logs/                 what the loggers write
MODEL/training/crops/                the crops, unless they are kept elsewhere
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpa_cells.atomic import replaced_on_success
from hpa_cells.training.identity import identity

__all__ = ["RunFolder", "claim_folder", "differences", "in_short"]

_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """Where the files of a training are.

    Attributes
    ----------
    out
        The folder that the user named.
    product
        Name of the file in it that is written last, when the training is finished.
    """

    out: Path
    product: str = "checkpoint.json"

    @property
    def settings(self) -> Path:
        """The settings it was begun with."""
        return self.out / "training" / "settings.json"

    @property
    def checkpoints(self) -> Path:
        """States of the training."""
        return self.out / "training" / "checkpoints"

    @property
    def logs(self) -> Path:
        """What the loggers wrote."""
        return self.out / "training" / "logs"

    @property
    def last(self) -> Path:
        """The state to go on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The state with the best validation so far."""
        return self.checkpoints / "best.ckpt"

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.out / self.product).exists()

    @property
    def has_state(self) -> bool:
        """Whether there is anything to go on from; a training that failed before its first state binds no one."""
        return self.is_finished or self.last.exists() or self.best.exists()

    def read_settings(self) -> dict[str, Any]:
        """The settings it was begun with, also by an earlier version, as `training.identity` has them today."""
        try:
            return identity(json.loads(self.settings.read_text(encoding="utf-8")))
        except (AttributeError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.settings} does not tell settings of a training ({error}): copy the folder again, or begin "
                "anew with resume=false."
            ) from error


def claim_folder(
    out: Path, settings: dict[str, Any], *, resume: bool, product: str = "checkpoint.json"
) -> RunFolder:
    """Take the folder for a training with these settings.

    Parameters
    ----------
    out
        The folder; it is made when missing.
    settings
        Every setting that changes the result, nested plain values, see `training.identity`.
    resume
        Whether to go on with what is there. Otherwise the state and the logs of an earlier training are removed.
    product
        See `RunFolder`.

    Raises
    ------
    ValueError
        If `resume` is true and it belongs to a training with other settings, or holds a copied model.
    """
    folder = RunFolder(out=out, product=product)
    if not (resume and folder.has_state):
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        shutil.rmtree(folder.logs, ignore_errors=True)
        (out / product).unlink(missing_ok=True)
    elif folder.is_finished and not folder.settings.exists():
        raise ValueError(f"{out} holds a model that was not trained here: choose another `out`.")
    elif folder.settings.exists():
        others = differences(folder.read_settings(), settings)
        if others:
            raise ValueError(
                f"{out} holds a training with other settings ({in_short(others)}): "
                "choose another `out`, repeat that training's command, or start anew with resume=false."
            )
    with replaced_on_success(folder.settings) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return folder


def differences(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """``name: mine -> other`` for every setting that differs, each of nested plain values."""
    # By way of JSON, as in the file: a tuple comes back from there as a list.
    return list(_differences(*(json.loads(json.dumps(each)) for each in (mine, other))))


def in_short(found: Sequence[str]) -> str:
    """The first of what `differences` found, and how many there are more."""
    more = len(found) - _NUM_SHOWN
    return "; ".join(found[:_NUM_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _differences(mine: Any, other: Any, name: str = "") -> Iterator[str]:
    """Yield ``name: mine -> other`` for every setting that differs."""
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        for key in sorted(mine.keys() | other.keys()):
            yield from _differences(mine.get(key), other.get(key), f"{name}.{key}" if name else key)
    elif mine != other:
        yield f"{name}: {mine} -> {other}"
