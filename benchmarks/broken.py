"""What `hpa-cells predict` does of 1,000 fields of which 200 are broken in ten ways.

python benchmarks/broken.py FIELDS                  # any whole fields
python benchmarks/broken.py FIELDS --number 100

Fields are links to the given ones; of every fifth, one file is broken. All others must be finished, each broken one
named with its reason, and the exit status must say so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import find_fields
from hpa_cells.table import read_table

PROGRAM = "from hpa_cells.commands.app import main; main()"


def whole_bytes(path: Path) -> bytes:
    """The file's bytes; a link gives its place to what is written next."""
    data = path.read_bytes()
    path.unlink()
    return data


def half(path: Path) -> None:
    data = whole_bytes(path)
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    whole_bytes(path)
    path.write_bytes(b"")


def another_format(path: Path) -> None:
    whole_bytes(path)
    path.write_bytes(b"no image at all")


def flipped(path: Path) -> None:
    data = bytearray(whole_bytes(path))
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


def absurd(path: Path) -> None:
    data = bytearray(whole_bytes(path))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))


def another_shape(path: Path) -> None:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    path.unlink()
    cv2.imwrite(str(path), pixels[:-1])


def missing(path: Path) -> None:
    path.unlink()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.png"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_floats(path: Path) -> None:
    shape = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".tif")), np.zeros(shape, dtype=np.float32))


WAYS: tuple[Callable[[Path], None], ...] = (
    half,
    empty,
    another_format,
    flipped,
    absurd,
    another_shape,
    missing,
    dangling,
    folder,
    of_floats,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of fields")
    parser.add_argument("--number", type=int, default=1_000, help="of fields (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        links, out = Path(root) / "fields", Path(root) / "run"
        way_of = make_fields(arguments.fields, links, arguments.number)
        command = [sys.executable, "-c", PROGRAM, "predict", f"fields={links}", f"out={out}"]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        finished = set(read_table(out).fields["field_id"])
        failures = pd.read_csv(out / "failures.csv").set_index("field_id")["error"]
    table = Table(title=f"{arguments.number} fields, exit status {ended.returncode}", title_justify="left")
    for column in ("", "fields", "finished", "named", "for example"):
        table.add_column(column)
    for way in ("whole", *(each.__name__ for each in WAYS)):
        names = {name for name, broken_by in way_of.items() if broken_by == way}
        named = names & set(failures.index)
        example = failures[min(named)].split("/")[-1] if named else ""
        table.add_row(
            way.replace("_", " "), str(len(names)), str(len(names & finished)), str(len(named)), example
        )
    Console(width=160).print(table)


def make_fields(originals: Path, links: Path, number: int) -> dict[str, str]:
    """Links to fields, every fifth of them broken; by field how."""
    links.mkdir()
    ways, way_of = cycle(WAYS), {}
    for index, source in zip(range(number), cycle(find_fields(originals)), strict=False):
        name = f"field-{index:06d}"
        paths = []
        for file in source.files.values():
            paths.append(links / file.path.name.replace(source.field_id, name, 1))
            paths[-1].symlink_to(file.path.resolve())
        way_of[name] = "whole"
        if index % 5 == 4:
            way = next(ways)
            # Of the protein or the nucleus: the others may be missing.
            way(paths[1 + index % 2])
            way_of[name] = way.__name__
    return way_of


if __name__ == "__main__":
    main()
