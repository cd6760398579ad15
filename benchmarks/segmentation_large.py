"""Time and memory of a field that is larger than a network takes at once.

python benchmarks/segmentation_large.py FIELDS [--side 10000]

The last field of FIELDS, repeated until it has that many pixels a side, goes through `unet` in tiles.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import UNet
from hpa_cells.types import Field


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of real fields")
    parser.add_argument("--side", type=int, default=10_000, help="pixels (default: %(default)s)")
    arguments = parser.parse_args()
    field = read_field(list(find_fields(arguments.fields))[-1])
    repeats = -(-arguments.side // min(field.height_px, field.width_px))
    image = np.tile(field.image, (1, repeats, repeats))[:, : arguments.side, : arguments.side]
    large = Field(field_id="large", image=np.ascontiguousarray(image), pixel_size_um=field.pixel_size_um)
    del image
    segmenter = UNet(device="cpu")
    segmenter.segment([field])  # so that the program's own memory is in the first figure
    before_gb = peak_gb()
    start = time.perf_counter()
    [found] = segmenter.segment([large])
    seconds = time.perf_counter() - start
    print(
        f"{arguments.side} px a side: {len(found.cell_ids)} cells, {seconds:.1f} s, peak memory "
        f"{peak_gb():.2f} GB, {before_gb:.2f} GB of it before (program and field)"
    )


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
