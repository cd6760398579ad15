"""Peak memory of `hpa-cells predict` over more and more fields: it must not grow with their number.

python benchmarks/memory.py FIELDS                          # 100, 1,000 and 10,000 fields
python benchmarks/memory.py FIELDS --numbers 50 500 --settings workers=4

The fields are links to the files of the given ones. The peak is of the resident memory of the process: program,
libraries and weights count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpa_cells.fields import find_fields

PROGRAM = "from hpa_cells.commands.app import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of fields")
    parser.add_argument("--numbers", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--settings", nargs="*", default=[], help="of predict")
    arguments = parser.parse_args()
    table = Table(title="hpa-cells predict", title_justify="left")
    for column in ("fields", "peak MiB", "of the first", "fields/s"):
        table.add_column(column, justify="right")
    first = 0.0
    for number in arguments.numbers:
        peak_mib, seconds = peak_of(arguments.fields, number, arguments.settings)
        first = first or peak_mib
        table.add_row(f"{number:,}", f"{peak_mib:.0f}", f"{peak_mib / first:.3f}", f"{number / seconds:.2f}")
    Console().print(table)


def peak_of(fields: Path, number: int, settings: list[str]) -> tuple[float, float]:
    """Peak of the resident memory in MiB, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        links, out = Path(folder) / "fields", Path(folder) / "run"
        links.mkdir()
        for index, source in zip(range(number), cycle(find_fields(fields)), strict=False):
            for file in source.files.values():
                name = file.path.name.replace(source.field_id, f"field-{index:06d}", 1)
                (links / name).symlink_to(file.path.resolve())
        command = [sys.executable, "-c", PROGRAM, "predict", f"fields={links}", f"out={out}", *settings]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"ended with {status}"
        return usage.ru_maxrss / 1024, time.perf_counter() - start


if __name__ == "__main__":
    main()
