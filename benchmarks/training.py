"""Training speed: whole steps against the limit, the network alone on one batch that never changes.

python benchmarks/training.py --encoder tiny resnet18 --size 64 --device cpu
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import compose, to_settings
from hpa_cells.models import CellClassifier, ClassifierSettings, EncoderSettings, model_input
from hpa_cells.training.augmentation import Augmentation, AugmentationSettings
from hpa_cells.training.bags import Bags, BagSettings
from hpa_cells.training.crop_store import ShardPaths, open_store, write_shard
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.losses import BagLoss, LossSettings
from hpa_cells.types import CellCrops


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
    arguments = parser.parse_args()

    table = Table("encoder", "limit, cells/s", "training, cells/s", "of the limit", "waiting for crops")
    with tempfile.TemporaryDirectory() as folder:
        cells = stored_cells(Path(folder), arguments.size, arguments.cells)
        for name in arguments.encoder:
            limit, training, waiting = measure(name, cells, arguments)
            table.add_row(
                name, f"{limit:.0f}", f"{training:.0f}", f"{training / limit:.0%}", f"{waiting:.1%}"
            )
    Console().print(table)


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
            )
            for index in range(16)
        ]
        shards.append(ShardPaths.of(folder, f"{start:06d}"))
        write_shard(shards[-1], crops)
    store = open_store(shards)
    rows = store.rows_of_field()
    return LabelledCells(
        class_set=get_class_set("hpa2021"),
        field_ids=tuple(rows),
        labels=rng.random((num_fields, 19)) < 0.1,
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
    crops = model_input(batch.crops, device)
    limit_s = timed(lambda: learn(crops, batch), arguments.steps, device)
    waits_s: list[float] = []

    def whole_step() -> None:
        begin = time.perf_counter()
        read = next(batches).to(device)
        waits_s.append(time.perf_counter() - begin)
        learn(augmentation(model_input(read.crops, device), read.bag_index), read)

    training_s = timed(whole_step, arguments.steps, device)
    num_cells = len(batch.crops) * arguments.steps
    return num_cells / limit_s, num_cells / training_s, sum(waits_s[-arguments.steps :]) / training_s


def endless(data: BagData) -> Iterator[Bags]:
    loader = data.train_dataloader()
    return itertools.chain.from_iterable(loader for _ in itertools.count())


def timed(step: Callable[[], None], num_steps: int, device: torch.device) -> float:
    """Seconds for this many steps, after two to warm up."""
    for _ in range(2):
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
