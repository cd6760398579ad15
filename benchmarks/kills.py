"""What is left after kills: SIGKILL at random moments, the same command again, and the bytes beside a quiet run's.

hpa-cells simulate out=SIM recipe=demo fields=60 test_fields=60
python benchmarks/kills.py SIM                              # 30 kills of predict, 10 of train
python benchmarks/kills.py SIM --predict 5 --train 0

A run is killed again and again, each time after as many seconds as chance says, up to the time that the quiet run took,
until it ends by itself; then another one is begun, until there were so many kills. A prediction is whole where all its
files are those of the quiet one, a training where its weights are.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

PROGRAM = "from hpa_cells.commands.app import main; main()"
TRAINING = (
    *(
        "encoder=tiny",
        "init=none",
        "method=naive",
        "crops.size_px=32",
        "trainer=cpu",
        "trainer.max_epochs=-1",
    ),
    *("trainer.max_steps=40", "trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=5"),
    *("bags.fields_per_batch=8", "bags.cells_per_field=2", "callbacks.early_stopping=null", "threads=1"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, metavar="SIM", help="what `hpa-cells simulate` wrote")
    parser.add_argument("--predict", type=int, default=30, help="kills of predict (default: %(default)s)")
    parser.add_argument("--train", type=int, default=10, help="kills of train (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args()
    draw = np.random.default_rng(arguments.seed)
    table = Table(title="After kills", title_justify="left")
    for column in ("", "kills", "runs that were killed", "whole to the byte"):
        table.add_column(column, justify="left" if not column else "right")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        predict = ("predict", f"fields={arguments.fields / 'test'}", "shard_fields=8")
        train = (
            "train",
            f"data.root={arguments.fields}",
            "logger=none",
            f"crop_store={root / 'crops'}",
            *TRAINING,
        )
        for name, command, number, kept in (
            ("predict", predict, arguments.predict, result_of_prediction),
            ("train", train, arguments.train, result_of_training),
        ):
            if number:
                kills, whole = kill_often(command, root / name, number, draw, kept)
                table.add_row(name, str(number), str(len(kills)), f"{sum(whole)} of {len(whole)}")
                Console().print(f"{name}: kills of each run: {kills}")
    Console().print(table)


def kill_often(
    command: Sequence[str],
    root: Path,
    number: int,
    draw: np.random.Generator,
    result_of: Callable[[Path], dict[str, bytes]],
) -> tuple[list[int], list[bool]]:
    """The kills of each run, and whether its result is that of the quiet one."""
    start = time.perf_counter()
    assert end_of(command, root / "quiet") == 0
    duration_s = time.perf_counter() - start
    expected = result_of(root / "quiet")
    kills: list[int] = []
    whole: list[bool] = []
    while sum(kills) < number:
        out = root / f"run-{len(kills)}"
        kills.append(0)
        while (status := end_of(command, out, after_s=draw.uniform(0, duration_s))) != 0:
            assert status == -9, f"ended by itself with {status}"
            kills[-1] += 1
            if sum(kills) == number:
                assert end_of(command, out) == 0
                break
        whole.append(result_of(out) == expected)
        shutil.rmtree(out)
    return [each for each in kills if each], [
        each for each, killed in zip(whole, kills, strict=True) if killed
    ]


def end_of(command: Sequence[str], out: Path, after_s: float | None = None) -> int:
    """Exit status of a run, which is killed after so many seconds if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command, f"out={out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def result_of_prediction(out: Path) -> dict[str, bytes]:
    """All files of the run."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def result_of_training(out: Path) -> dict[str, bytes]:
    """The weights."""
    return {"model.safetensors": (out / "model.safetensors").read_bytes()}


if __name__ == "__main__":
    main()
