"""``hpa-cells train experiment=segmentation_unet``: weights for the segmenter ``unet``."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.outlines import read_outlines
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.training_run import build_trainer, fit, plain, prepare_torch, settings_with_effect
from hpa_cells.commands.workers import worker_processes
from hpa_cells.simulation import Variety, vary

if TYPE_CHECKING:
    from hpa_cells.segmentation.network import CellUNet, NetworkSettings
    from hpa_cells.training.segmenter.material import MaterialSettings
    from hpa_cells.training.segmenter.module import SegmenterModule
    from hpa_cells.training.segmenter.training_field import TrainingField

__all__ = ["train_segmenter"]

log = logging.getLogger(__name__)

_WEIGHTS = "unet.safetensors"
# The groups of conf/train.yaml that this training looks at.
_GROUPS = [
    *("out", "resume", "seed", "workers", "threads"),
    *("segmentation", "optimizer", "scheduler", "trainer", "callbacks", "logger"),
]
# What of the trainer makes the weights; the rest says where and how fast.
_TRAINER = ("max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")
# Fields for validation are numbered from here: never among those for training.
_FIRST_VALIDATION_INDEX = 1_000_000


def train_segmenter(cfg: DictConfig) -> float:
    """Train on simulated and real fields; writes ``unet.safetensors`` and its model card to `cfg.out`.

    Returns
    -------
    float
        What the best weights are chosen by: the mean F1 of cells at IoU 0.6 and nuclei at 0.5, NaN where no field
        is held out.
    """
    from lightning.pytorch import seed_everything

    from hpa_cells.segmentation.network import NetworkSettings, read_network
    from hpa_cells.training.run_folder import claim_folder
    from hpa_cells.training.segmenter.data import CropData, MixSettings
    from hpa_cells.training.segmenter.material import MaterialSettings
    from hpa_cells.training.segmenter.outcome import write_segmenter

    cfg = OmegaConf.masked_copy(cfg, _GROUPS)
    settings = settings_with_effect(cfg)
    OmegaConf.resolve(cfg)
    folder = claim_folder(Path(cfg.out), settings, resume=cfg.resume, product=_WEIGHTS)
    if folder.is_finished:
        log.info("%s is finished; resume=false trains it again.", folder.out)
        return _mean_f1(read_network(folder.out / _WEIGHTS)[1]["validation"])
    prepare_torch(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    network_settings = to_settings(NetworkSettings, cfg.segmentation.network)
    mix = to_settings(MixSettings, cfg.segmentation.mix)
    material = to_settings(MaterialSettings, cfg.segmentation.material)
    module = _build_module(cfg, network_settings)
    trainer = build_trainer(cfg, folder)
    if trainer.world_size > 1:
        raise ValueError(
            f"trainer.devices is {cfg.trainer.devices}, which means {trainer.world_size} processes: the segmenter is "
            "trained in one process."
        )
    training, validation = _gather(cfg, material, network_settings.um_per_px)
    crops = _build_crops(cfg, training, network_settings, mix)
    fit(trainer, module, data=CropData(crops, validation, mix), folder=folder)
    scores = write_segmenter(
        folder.out / _WEIGHTS,
        module.network,
        training=training,
        validation=validation,
        device=trainer.strategy.root_device,
        provenance=_provenance(cfg, material, trainer.global_step),
    )
    log.info(
        "Wrote %s: %s.", folder.out / _WEIGHTS, ", ".join(f"{name} {value}" for name, value in scores.items())
    )
    return _mean_f1(scores)


def _mean_f1(scores: dict[str, float]) -> float:
    chosen = [
        value for name, value in scores.items() if name.endswith(("cells_f1_at_0.6", "nuclei_f1_at_0.5"))
    ]
    return sum(chosen) / len(chosen) if chosen else float("nan")


def _provenance(cfg: DictConfig, material: MaterialSettings, steps: int) -> dict[str, Any]:
    """What made the weights, without the places where things lay: these are nobody else's business."""
    segmentation = {name: plain(cfg.segmentation[name]) for name in ("network", "variety", "crops", "mix")}
    start = cfg.segmentation.start
    averaging = cfg.callbacks.get("averaging")
    return {
        "version": __version__,
        "seed": cfg.seed,
        "steps": steps,
        "start_sha256": None if start is None else hashlib.sha256(Path(start).read_bytes()).hexdigest(),
        "segmentation": segmentation | {"material": _counts(material)},
        "optimizer": plain(cfg.optimizer),
        "scheduler": plain(cfg.scheduler),
        "trainer": {name: cfg.trainer.get(name) for name in _TRAINER},
        "averaging": None if averaging is None else plain(averaging),
    }


def _counts(material: MaterialSettings) -> dict[str, Any]:
    """What there was to learn from, in numbers; the fields of each source are counted by `write_segmenter`."""
    return {
        "simulated_fields": material.simulated_fields,
        "simulated_validation_fields": material.simulated_validation_fields,
        "outlines": len(read_outlines(tuple(material.outlines))),
        "held_out": len(material.held_out),
        "nuclei_um_per_px": None if material.nuclei is None else material.nuclei_um_per_px,
        "nuclei_folds": material.nuclei_folds,
        "held_out_fold": material.held_out_fold,
    }


def _gather(
    cfg: DictConfig, material: MaterialSettings, um_per_px: float
) -> tuple[list[TrainingField], list[TrainingField]]:
    """Fields to learn from and fields for validation, of all sources."""
    from hpa_cells.training.segmenter.material import read_cell_fields, read_nucleus_fields

    variety = to_settings(Variety, cfg.segmentation.variety)
    make = partial(
        _simulated_fields,
        store=Path(cfg.segmentation.store),
        variety=variety,
        outlines=tuple(material.outlines),
        workers=cfg.workers,
    )
    training = make(indices=range(material.simulated_fields))
    validation = make(
        indices=range(_FIRST_VALIDATION_INDEX, _FIRST_VALIDATION_INDEX + material.simulated_validation_fields)
    )
    for read in (read_cell_fields, read_nucleus_fields):
        kept, held_out = read(material, um_per_px=um_per_px)
        training += kept
        validation += held_out
    return training, validation


def _simulated_fields(
    *, indices: range, store: Path, variety: Variety, outlines: tuple[str, ...], workers: int
) -> list[TrainingField]:
    """Fields of a variety; those that are not in the store yet are made."""
    from hpa_cells.training.segmenter.store import read_training_field

    folder = store / _fingerprint(variety, outlines)
    paths = {index: folder / f"{index:07d}.npz" for index in indices}
    todo = [index for index, path in paths.items() if not path.exists()]
    make: Callable[[int], None] = partial(_simulate, folder=folder, variety=variety, outlines=outlines)
    with worker_processes(workers) as run_all, field_progress("simulate", len(todo)) as progress:
        for _ in run_all(make, todo):
            progress.advance()
    return [read_training_field(path) for path in paths.values()]


def _simulate(index: int, *, folder: Path, variety: Variety, outlines: tuple[str, ...]) -> None:
    from hpa_cells.training.segmenter.store import write_training_field
    from hpa_cells.training.segmenter.training_field import training_field

    simulated = vary(variety, index, layouts=read_outlines(outlines))
    field = training_field(
        simulated.field, simulated.segmentation, source="simulated", um_per_px=variety.um_per_px
    )
    write_training_field(field, folder / f"{index:07d}.npz")


def _fingerprint(variety: Variety, outlines: tuple[str, ...]) -> str:
    """Name of the folder of a variety's fields: other settings, outlines or versions never meet there."""
    digest = hashlib.sha256(json.dumps([__version__, asdict(variety)]).encode())
    for layout in read_outlines(outlines):
        digest.update(layout.cells.tobytes())
    return digest.hexdigest()[:16]


def _build_module(cfg: DictConfig, settings: NetworkSettings) -> SegmenterModule:
    from hydra.utils import instantiate

    from hpa_cells.segmentation.network import CellUNet
    from hpa_cells.training.segmenter.module import SegmenterModule

    network = CellUNet(settings)
    if cfg.segmentation.start is not None:
        _take_weights(network, Path(cfg.segmentation.start))
    return SegmenterModule(
        network, make_optimizer=instantiate(cfg.optimizer), make_scheduler=instantiate(cfg.scheduler)
    )


def _take_weights(network: CellUNet, path: Path) -> None:
    from hpa_cells.segmentation.network import read_network

    earlier, _ = read_network(path)
    try:
        network.take_weights(earlier)
    except ValueError as error:
        raise ValueError(f"segmentation.start={path}: {error}") from error


def _build_crops(cfg: DictConfig, fields: Sequence[TrainingField], network: NetworkSettings, mix: Any) -> Any:
    from hpa_cells.segmentation.representations import REPRESENTATIONS
    from hpa_cells.training.segmenter.crops import CropAugmentation
    from hpa_cells.training.segmenter.data import CropDataset

    return CropDataset(
        fields,
        representation=REPRESENTATIONS[network.representation],
        um_per_px=network.um_per_px,
        augmentation=to_settings(CropAugmentation, cfg.segmentation.crops),
        mix=mix,
        seed=cfg.seed,
    )
