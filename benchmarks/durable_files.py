"""What it costs that files outlast a power cut: each is brought to disk before and after it gets its name.

python benchmarks/durable_files.py FOLDER      # on the disk in question

Milliseconds a file, on the clock (median and 95th percentile) and of a core: of a label image and of a shard of 64
fields, written under another name and moved, with and without the wait for the disk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from hpa_cells.atomic import replaced_on_success

# Of real fields of 2048 px with some twenty cells, and of their rows with embeddings.
SIZES = {"label image (60 kB)": 60_000, "shard (4 MB)": 4_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="on the disk in question")
    parser.add_argument("--files", type=int, default=100, help="default: %(default)s")
    arguments = parser.parse_args()
    table = Table(title="Milliseconds a file", title_justify="left")
    for column in ("", "median", "95%", "of a core"):
        table.add_column(column, justify="right" if column else "left")
    for name, num_bytes in SIZES.items():
        for way, fsync in (("moved", lambda _: None), ("moved and waited for", os.fsync)):
            with patch("os.fsync", fsync):
                clock_ms, core_ms = milliseconds(arguments.folder, num_bytes, arguments.files)
            median, late = np.percentile(clock_ms, [50, 95])
            table.add_row(f"{name}, {way}", f"{median:.2f}", f"{late:.2f}", f"{core_ms:.2f}")
    Console().print(table)


def milliseconds(folder: Path, num_bytes: int, num_files: int) -> tuple[list[float], float]:
    """Of each file on the clock, and of a core on average."""
    data = os.urandom(num_bytes)
    clock_ms = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        core_s = time.process_time()
        for number in range(num_files):
            start_s = time.perf_counter()
            with replaced_on_success(Path(scratch, str(number))) as temporary:
                temporary.write_bytes(data)
            clock_ms.append(1000 * (time.perf_counter() - start_s))
        return clock_ms, 1000 * (time.process_time() - core_s) / num_files


if __name__ == "__main__":
    main()
