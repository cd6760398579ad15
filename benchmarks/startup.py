"""How long one waits before anything happens, beside an empty Python.

python benchmarks/startup.py FIELDS     # a folder with at least one field

Each is a process of its own, run several times; medians of seconds on the clock. The first field is finished when its
shard is there (shard_fields=1).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

PROGRAM = "from hpa_cells.commands.app import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of fields")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    table = Table(title="Seconds from the start of the process", title_justify="left")
    table.add_column("")
    table.add_column("s", justify="right")
    for name, code, words in (
        ("an empty Python", "pass", []),
        ("import hpa_cells", "import hpa_cells", []),
        ("hpa-cells --help", PROGRAM, ["--help"]),
        ("hpa-cells predict --help", PROGRAM, ["predict", "--help"]),
        ("import torch, which predict needs", "import torch", []),
    ):
        seconds = [until_end([sys.executable, "-c", code, *words]) for _ in range(arguments.repeats)]
        table.add_row(name, f"{statistics.median(seconds):.2f}")
    seconds = [until_first_field(arguments.fields) for _ in range(arguments.repeats)]
    table.add_row("hpa-cells predict, first field on disk", f"{statistics.median(seconds):.2f}")
    Console().print(table)


def until_end(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def until_first_field(fields: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            "predict",
            f"fields={fields}",
            f"out={out}",
            "shard_fields=1",
        ]
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        while not list(out.glob("fields-*.parquet")):
            assert process.poll() is None, "it ended without a field"
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        process.kill()
        process.wait()
        return seconds


if __name__ == "__main__":
    main()
