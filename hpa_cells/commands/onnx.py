"""``hpa-cells onnx``: a classifier or a segmenter for programs without torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from hpa_cells.models import load_checkpoint
from hpa_cells.sharing import export_classifier, export_segmenter, find_model

__all__ = ["run"]

log = logging.getLogger(__name__)

_ENDING: Final = ".onnx"
# Of other files that models are kept in: who gives one expects what this does not write.
_OTHER_ENDINGS: Final = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".h5", ".pb", ".json", ".zip")


def run(cfg: DictConfig) -> None:
    """Write the file.

    Raises
    ------
    OSError, ValueError
        If there is no single model, it is damaged or cannot be written as ONNX, or `out` is no place for it.
    """
    out = Path(cfg.out)
    _check_out(out)
    if not isinstance(cfg.opset, int):
        raise ValueError(f"opset is {cfg.opset!r}: give a whole number.")
    model = find_model(str(cfg.model))
    if model.kind == "cross_fit":
        raise ValueError(
            f"{cfg.model} is a cross-fit of several models, which answer with their mean: export them one by one, "
            f"model={cfg.model}/fold-0."
        )
    path = out if _is_file_name(out) else out / f"{model.kind}{_ENDING}"
    if model.kind == "segmenter":
        export_segmenter(next(iter(model.files.values())), path, opset=cfg.opset)
    else:
        export_classifier(load_checkpoint(model.folder), path, opset=cfg.opset)
    log.info("%s: %.1f MB, the same as torch to 1e-4", path, path.stat().st_size / 1e6)


def _is_file_name(out: Path) -> bool:
    """Whether `out` is the file to write by its ending; else it is a folder for it, as of `hpa-cells export`."""
    return out.name.lower().endswith(_ENDING)


def _check_out(out: Path) -> None:
    """Refuse what cannot be written to before a network is traced, which takes a while."""
    wanted = f"give a file that ends in {_ENDING}, or a folder"
    if _is_file_name(out) and out.is_dir():
        raise IsADirectoryError(
            f"out={out} is a folder, and by its ending a file: choose another name for one of them."
        )
    if not _is_file_name(out) and out.is_file():
        raise NotADirectoryError(f"out={out} is a file of something else, which is not replaced: {wanted}.")
    if out.suffix.lower() in _OTHER_ENDINGS and not out.is_dir():
        raise ValueError(f"out={out} ends in {out.suffix}, and ONNX is written: {wanted}.")
