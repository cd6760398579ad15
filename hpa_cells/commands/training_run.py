"""What the trainings of all models share: which settings count, the trainer, and stopping half-way."""

from __future__ import annotations

import logging
import pickle
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from hpa_cells.commands.settings import to_settings
from hpa_cells.training.identity import identity

if TYPE_CHECKING:
    import torch
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer

    from hpa_cells.training.run_folder import RunFolder

__all__ = [
    "build_trainer",
    "fit",
    "plain",
    "prepare_torch",
    "set_switches",
    "settings_with_effect",
    "training_device",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Switches:
    """The settings of ``conf/train.yaml`` that are in no group."""

    resume: bool
    init_heads: bool
    cross_fit: bool
    frozen_encoder: bool
    compile: bool
    seed: int
    workers: int
    threads: int | None


def set_switches(cfg: DictConfig) -> None:
    """Give the settings that are in no group their types: ``no`` comes as a word, which would be true.

    Raises
    ------
    omegaconf.errors.ValidationError
        If one is neither true nor false, or no number.
    """
    switches = to_settings(_Switches, OmegaConf.masked_copy(cfg, list(_Switches.__slots__)))
    for name in _Switches.__slots__:
        cfg[name] = getattr(switches, name)


def settings_with_effect(cfg: DictConfig) -> dict[str, Any]:
    """Every setting that changes the result; those that repeat `out` do so from wherever it is seen."""
    return identity(plain(cast(DictConfig, OmegaConf.merge(cfg, {"out": "."}))))


def plain(node: DictConfig) -> dict[str, Any]:
    """Settings as plain nested values; all must be given."""
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True, throw_on_missing=True))


def prepare_torch(cfg: DictConfig) -> None:
    """Threads, precision, and quiet."""
    import torch

    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    torch.set_float32_matmul_precision("high")
    # Lightning's advertisements and device lists say nothing about this training.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def training_device(cfg: DictConfig) -> torch.device:
    """Where a network computes outside of training steps: the kind of device that it is trained on."""
    from hpa_cells.prediction import pick_device

    # What Lightning calls gpu, torch calls cuda.
    names = {"gpu": "cuda"} | {name: name for name in ("cpu", "cuda", "mps")}
    return pick_device(names.get(cfg.trainer.accelerator, "auto"))


def build_trainer(cfg: DictConfig, folder: RunFolder) -> Trainer:
    """The trainer with its callbacks and loggers; it saves its state on Ctrl-C.

    Raises
    ------
    ValueError
        If its processes cannot be started here.
    """
    from hydra.utils import instantiate
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch.callbacks import LearningRateMonitor

    from hpa_cells.commands.training_processes import check_processes
    from hpa_cells.training.final_validation import FinalValidation
    from hpa_cells.training.interruption import SaveOnInterrupt
    from hpa_cells.training.logs import LogPosition
    from hpa_cells.training.pending_gradients import PendingGradients

    callbacks = [instantiate(each) for each in cfg.callbacks.values() if each is not None]
    loggers = [instantiate(each) for each in cfg.logger.values() if each is not None]
    if not loggers:
        # It has nowhere to write to, and Lightning makes that an error.
        callbacks = [each for each in callbacks if not isinstance(each, LearningRateMonitor)]
    trainer: Trainer = instantiate(
        cfg.trainer,
        callbacks=[
            *callbacks,
            FinalValidation(),
            PendingGradients(),
            LogPosition(),
            SaveOnInterrupt(folder.last),
        ],
        logger=loggers,
        # Processes are started by us, on a cluster too; and batches are parted by us.
        plugins=[LightningEnvironment()],
        use_distributed_sampler=False,
    )
    check_processes(cfg, trainer)
    return trainer


def fit(trainer: Trainer, module: LightningModule, *, data: LightningDataModule, folder: RunFolder) -> None:
    """Train, from the state in `folder` where there is one.

    Raises
    ------
    KeyboardInterrupt
        If the user, or a cluster, stopped it, with the number of the signal; its state is saved.
    ValueError
        If the state would run code.
    """
    from hpa_cells.training.interruption import TrainingInterruptedError

    resume_from = folder.last if folder.last.exists() else None
    if resume_from is not None:
        log.info("Going on from %s.", resume_from)
    try:
        with warnings.catch_warnings():
            # Advice to programmers, such as more workers or fewer log lines: settings of ours, chosen on purpose.
            warnings.filterwarnings("ignore", module=r"lightning\.")
            # Plain tensors and values only: a state from elsewhere must not be able to run code.
            trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{folder.last} holds more than the state of a training, and nothing in it was run: begin anew with "
            "resume=false."
        ) from error
    except TrainingInterruptedError as stop:
        log.info("%s Its state is in %s.", stop, folder.last)
        raise KeyboardInterrupt(stop.signal_number) from stop
    except SystemExit as stop:
        # Lightning's answer to a second Ctrl-C.
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
