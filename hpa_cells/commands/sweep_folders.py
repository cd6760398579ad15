"""Whether the folders that the runs of a sweep will get hold trainings with other settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hpa_cells.commands.grammar import numbered_runs
from hpa_cells.commands.settings import compose
from hpa_cells.commands.training_run import set_switches, settings_with_effect
from hpa_cells.training.run_folder import RunFolder, differences, in_short

__all__ = ["refuse_taken_folders"]

_OF_SWEEPERS = ("hydra/sweeper", "hydra.sweeper")


def refuse_taken_folders(overrides: Sequence[str]) -> None:
    """Check, before anything is written, that no run of a sweep of `train` meets a training with other settings.

    What only the runs themselves know is left to them: what a search will propose, and what is in files.

    Parameters
    ----------
    overrides
        Of the sweep; each is spelt well, and `out` among them.

    Raises
    ------
    ValueError
        If one does.
    """
    runs = [] if any(each.startswith(_OF_SWEEPERS) for each in overrides) else numbered_runs(overrides)
    if not runs:
        return
    out = Path(compose("train", runs[0]).out)
    for number, run in enumerate(runs):
        found = list(_trainings(out / str(number)))
        if not found:
            continue
        cfg = compose("train", run)
        for mine in found:
            others = _differences(mine, cfg)
            if others:
                raise ValueError(
                    f"Run {number} of this sweep would meet a training with other settings in {out / str(number)} "
                    f"({in_short(others)}): choose another `out`, repeat that sweep's command, or start anew with "
                    "resume=false."
                )


def _trainings(out: Path) -> Iterator[Mapping[str, Any]]:
    """The settings of each training that a folder holds, those of a fold as `cross_fit` was called with."""
    for place in (out, *sorted(out.glob("fold-*"))):
        folder = RunFolder(out=place)
        if folder.settings.exists() and folder.has_state:
            yield folder.read_settings() | ({} if place == out else {"cross_fit": True})


def _differences(mine: Mapping[str, Any], cfg: DictConfig) -> list[str]:
    """What is other in `cfg` than in a training; nothing where `cfg` begins anew, or says itself what is wrong."""
    try:
        set_switches(cfg)
        # A segmenter has fewer settings than there are.
        own = settings_with_effect(OmegaConf.masked_copy(cfg, [key for key in cfg if key in {"out", *mine}]))
    except OmegaConfBaseException:
        return []
    if cfg.cross_fit and "data" in mine:
        # It trains all folds.
        own["data"]["fold"] = mine["data"]["fold"]
    return differences({key: mine[key] for key in own if key in mine}, own) if cfg.resume else []
