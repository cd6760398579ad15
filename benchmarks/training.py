"""Training speed: whole trainings by method, and whole steps against the limit, the network alone on one batch.

python benchmarks/training.py --encoder tiny resnet18 --size 64 --device cpu
python benchmarks/training.py --encoder resnet18 --size 128 --device cuda --precision 16-mixed --workers 4 --compile
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.commands.training_model import build_classifier, build_module
from hpa_cells.commands.training_run import prepare_torch
from hpa_cells.models import CellClassifier, ClassifierSettings, EncoderSettings, model_input
from hpa_cells.training.augmentation import Augmentation, AugmentationSettings
from hpa_cells.training.bags import Bags, BagSettings
from hpa_cells.training.crop_store import ShardPaths, open_store, write_shard
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.field_store import CellStore, open_field_store, write_field_shard
from hpa_cells.training.losses import BagLoss, LossSettings
from hpa_cells.types import CellCrops, FieldView

# Steps before the clock starts: of a compiled network they take minutes.
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", nargs="+", default=["tiny"], help="files of conf/encoder")
    parser.add_argument("--size", type=int, default=64, help="side of a crop, in px (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="steps measured (default: %(default)s)")
    parser.add_argument("--fields", type=int, default=16, help="fields a step (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=8, help="cells a field (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--method",
        nargs="*",
        default=["naive", "dual_head", "mask_pooled"],
        help="files of conf/method (default: %(default)s)",
    )
    parser.add_argument("--precision", default="32-true", help="of whole trainings (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="torch.compile in whole trainings")
    parser.add_argument("--field-px", type=int, default=512, help="side of a field (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.method:
        Console().print(whole_trainings(arguments))
    Console().print(steps_against_limit(arguments))


def whole_trainings(arguments: argparse.Namespace) -> Table:
    """Cells and fields a second of whole trainings, with Lightning's loop, and how long they wait for data."""
    table = Table("encoder", "method", "cells/s", "fields/s", "waiting for data")
    with tempfile.TemporaryDirectory() as folder:
        of_view = {
            "crops": stored_cells(Path(folder) / "crops", arguments.size, arguments.cells),
            "field": stored_fields(Path(folder) / "fields", arguments.field_px, arguments.cells),
        }
        for encoder, method in itertools.product(arguments.encoder, arguments.method):
            clock = train_for_a_while(encoder, method, of_view, arguments)
            table.add_row(
                encoder,
                method,
                f"{clock.cells / clock.seconds:.0f}",
                f"{clock.fields / clock.seconds:.1f}",
                f"{clock.waiting_s / clock.seconds:.1%}",
            )
    return table


def train_for_a_while(
    encoder: str, method: str, of_view: Mapping[str, LabelledCells], arguments: argparse.Namespace
) -> Clock:
    cfg = compose(
        "train",
        [
            *("data.root=.", "out=.", "init=none", "trainer.max_epochs=-1", "trainer.limit_val_batches=0"),
            *(
                f"encoder={encoder}",
                "encoder.pretrained=false",
                f"method={method}",
                f"compile={arguments.compile}",
            ),
            f"trainer.accelerator={'gpu' if arguments.device == 'cuda' else 'cpu'}",
            f"trainer.precision={arguments.precision}",
            f"trainer.max_steps={WARM_UP + arguments.steps}",
            f"bags.fields_per_batch={arguments.fields}",
            f"bags.cells_per_field={arguments.cells}",
            f"bags.workers={arguments.workers}",
        ],
    )
    OmegaConf.resolve(cfg)
    prepare_torch(cfg)
    cells = of_view[cfg.view.kind]
    module = build_module(cfg, cells, build_classifier(cfg))
    clock = Clock(torch.device(arguments.device))
    trainer = instantiate(
        cfg.trainer,
        callbacks=[clock],
        profiler=clock.profiler,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        trainer.fit(module, BagData(cells, cells, to_settings(BagSettings, cfg.bags)))
    return clock


class Clock(Callback):
    """Counts what is learned from after the first steps, and the time that takes."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.profiler = device, SimpleProfiler()
        self.cells = self.fields = 0
        self.seconds = self._begin = 0.0

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        """Count the batch, which is the third of what Lightning tells."""
        batch: Bags = arguments[2]
        if trainer.global_step < WARM_UP:
            return
        wait_for(self.device)
        if trainer.global_step == WARM_UP:
            self._begin = time.perf_counter()
            return
        self.seconds = time.perf_counter() - self._begin
        self.cells += len(batch.bag_index)
        self.fields += len(batch.field_labels)

    @property
    def waiting_s(self) -> float:
        """Time in which the loop had no batch."""
        waits = self.profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"]
        return float(sum(waits[WARM_UP:]))


def steps_against_limit(arguments: argparse.Namespace) -> Table:
    table = Table("encoder", "limit, cells/s", "training, cells/s", "of the limit", "waiting for crops")
    with tempfile.TemporaryDirectory() as folder:
        cells = stored_cells(Path(folder), arguments.size, arguments.cells)
        for name in arguments.encoder:
            limit, training, waiting = measure(name, cells, arguments)
            table.add_row(
                name, f"{limit:.0f}", f"{training:.0f}", f"{training / limit:.0%}", f"{waiting:.1%}"
            )
    return table


def stored_cells(folder: Path, size_px: int, cells_per_field: int, num_fields: int = 256) -> LabelledCells:
    """Noise in place of cells, memory-mapped as in a real training; the numbers do not care."""
    rng = np.random.default_rng(0)
    shards = []
    for start in range(0, num_fields, 16):
        crops = [
            CellCrops(
                field_id=f"f{start + index:06d}",
                cell_ids=np.arange(1, 2 * cells_per_field + 1, dtype=np.int32),
                images=rng.integers(0, 256, (2 * cells_per_field, 4, size_px, size_px), dtype=np.uint8),
                touches_border=np.zeros(2 * cells_per_field, dtype=bool),
                areas_um2=np.ones(2 * cells_per_field),
            )
            for index in range(16)
        ]
        shards.append(ShardPaths.of(folder, f"{start:06d}"))
        write_shard(shards[-1], crops)
    return labelled(open_store(shards), rng)


def stored_fields(folder: Path, side_px: int, cells_per_field: int, num_fields: int = 64) -> LabelledCells:
    """The same for whole fields, whose cells are columns."""
    rng = np.random.default_rng(0)
    labels = np.repeat(
        np.arange(1, 2 * cells_per_field + 1, dtype=np.int32), side_px // (2 * cells_per_field)
    )
    labels = np.tile(np.pad(labels, (0, side_px - len(labels))), (side_px, 1))
    shards = []
    for start in range(0, num_fields, 16):
        views = [
            FieldView(
                field_id=f"f{start + index:06d}",
                cell_ids=np.arange(1, 2 * cells_per_field + 1, dtype=np.int32),
                image=rng.integers(0, 256, (4, side_px, side_px), dtype=np.uint8),
                labels=labels,
                touches_border=np.zeros(2 * cells_per_field, dtype=bool),
                areas_um2=np.ones(2 * cells_per_field),
            )
            for index in range(16)
        ]
        shards.append(ShardPaths.of(folder, f"{start:06d}"))
        write_field_shard(shards[-1], views)
    return labelled(open_field_store(shards), rng)


def labelled(store: CellStore, rng: np.random.Generator) -> LabelledCells:
    """Fields with random labels."""
    rows = store.rows_of_field()
    return LabelledCells(
        class_set=get_class_set("hpa2021"),
        field_ids=tuple(rows),
        labels=rng.random((len(rows), 19)) < 0.1,
        rows_of_field=tuple(rows.values()),
        store=store,
    )


def measure(
    encoder_name: str, cells: LabelledCells, arguments: argparse.Namespace
) -> tuple[float, float, float]:
    """Cells a second at the limit, cells a second of whole steps, and the share of time spent on waiting."""
    cfg = compose("train", ["data.root=.", "out=.", f"encoder={encoder_name}", "encoder.pretrained=false"])
    encoder = to_settings(EncoderSettings, cfg.encoder)
    device = torch.device(arguments.device)
    model = CellClassifier(
        ClassifierSettings(num_classes=19, encoder=encoder.name, encoder_options=encoder.options)
    ).to(device)
    loss = BagLoss(
        to_settings(LossSettings, cfg.loss),
        np.ones((1, 19), dtype=bool),
        field_weight=cfg.method.field_weight,
        cell_weight=cfg.method.cell_weight,
    ).to(device)
    augmentation = Augmentation(to_settings(AugmentationSettings, cfg.augmentation))
    optimizer = torch.optim.AdamW(model.parameters())
    changes = {
        "fields_per_batch": arguments.fields,
        "cells_per_field": arguments.cells,
        "workers": arguments.workers,
        "seed": 0,
    }
    bags = to_settings(BagSettings, OmegaConf.merge(cfg.bags, changes))
    batches = endless(BagData(cells, cells, bags))

    def learn(crops: torch.Tensor, batch: Bags) -> None:
        optimizer.zero_grad()
        loss(model(crops, batch.bag_index), batch).total.backward()
        optimizer.step()

    batch = next(batches).to(device)
    crops = model_input(batch.images, device)
    limit_s = timed(lambda: learn(crops, batch), arguments.steps, device)
    waits_s: list[float] = []

    def whole_step() -> None:
        begin = time.perf_counter()
        read = next(batches).to(device)
        waits_s.append(time.perf_counter() - begin)
        learn(augmentation(model_input(read.images, device), read.bag_index), read)

    training_s = timed(whole_step, arguments.steps, device)
    num_cells = len(batch.images) * arguments.steps
    return num_cells / limit_s, num_cells / training_s, sum(waits_s[-arguments.steps :]) / training_s


def endless(data: BagData) -> Iterator[Bags]:
    loader = data.train_dataloader()
    return itertools.chain.from_iterable(loader for _ in itertools.count())


def timed(step: Callable[[], None], num_steps: int, device: torch.device) -> float:
    """Seconds for this many steps, after those to warm up."""
    for _ in range(WARM_UP):
        step()
    wait_for(device)
    begin = time.perf_counter()
    for _ in range(num_steps):
        step()
    wait_for(device)
    return time.perf_counter() - begin


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
