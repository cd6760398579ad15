"""``hpa-cells pull``: a model of a hub as a folder of this machine."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from omegaconf import DictConfig

from hpa_cells.atomic import folder_replaced_on_success
from hpa_cells.hub import HubModel, is_on_hub, pull
from hpa_cells.sharing.folder import FILES_ON_HUB, find_model

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Copy the files of the model to `out`, once they are here and load.

    Raises
    ------
    FileExistsError
        If there is something in `out`.
    OSError, ValueError
        If the model cannot be had, or is damaged.
    """
    out, place = Path(cfg.out), str(cfg.model)
    if not is_on_hub(place):
        raise ValueError(f"model is {place}, which is on no hub: give hf://owner/name.")
    pulled = pull(HubModel.parse(place), FILES_ON_HUB)
    model = find_model(pulled.folder)
    with folder_replaced_on_success(out, marks=()) as temporary:
        for name, path in model.files.items():
            copy = temporary / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    log.info("%s: %s", out, pulled.pinned)
