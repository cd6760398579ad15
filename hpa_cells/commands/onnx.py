"""``hpa-cells onnx``: a classifier or a segmenter for programs without torch."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hpa_cells.models import load_checkpoint
from hpa_cells.sharing import export_classifier, export_segmenter, find_model

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write the file.

    Raises
    ------
    OSError, ValueError
        If there is no single model, it is damaged, or cannot be written as ONNX.
    """
    out = Path(cfg.out)
    if not isinstance(cfg.opset, int):
        raise ValueError(f"opset is {cfg.opset!r}: give a whole number.")
    model = find_model(str(cfg.model))
    if model.kind == "cross_fit":
        raise ValueError(
            f"{cfg.model} is a cross-fit of several models, which answer with their mean: export them one by one, "
            f"model={cfg.model}/fold-0."
        )
    path = out if out.suffix else out / f"{model.kind}.onnx"
    if model.kind == "segmenter":
        export_segmenter(next(iter(model.files.values())), path, opset=cfg.opset)
    else:
        export_classifier(load_checkpoint(model.folder), path, opset=cfg.opset)
    log.info("%s: %.1f MB, the same as torch to 1e-4", path, path.stat().st_size / 1e6)
