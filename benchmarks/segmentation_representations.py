"""One network, read in three ways: which maps the cells are best found from.

python benchmarks/segmentation_representations.py JOINT.safetensors [--fields DIR --masks DIR]

JOINT.safetensors is what experiment=segmentation_representations wrote: it learned the maps of all representations, on
simulated fields alone, so that real fields are new to it. The simulated ones here are of a seed that no training uses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import find_fields, read_field
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import Precomputed
from hpa_cells.segmentation.network import CellUNet, read_network
from hpa_cells.segmentation.network_input import network_input, shows_nuclei_only
from hpa_cells.segmentation.representations import Joint
from hpa_cells.segmentation.tiles import infer_maps
from hpa_cells.simulation import Recipe, Variety, simulate_field, vary
from hpa_cells.types import Field

SEED = 77
IOU_THRESHOLDS = (0.5, 0.6, 0.75, 0.9)
Pairs = list[tuple[Field, NDArray[np.int32]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("joint", type=Path)
    parser.add_argument("--fields", type=Path, help="folder of real fields")
    parser.add_argument("--masks", type=Path, help="folder of their true cells")
    parser.add_argument("--simulated", type=int, default=20, help="fields a set (default: %(default)s)")
    arguments = parser.parse_args()
    network, _ = read_network(arguments.joint)
    indices = range(arguments.simulated)
    recipe, variety = Recipe(seed=SEED), Variety(seed=SEED)
    sets: dict[str, Pairs] = {
        "simulated": [
            (each.field, each.segmentation.cells) for each in (simulate_field(recipe, i) for i in indices)
        ],
        "very varied": [
            (each.field, each.segmentation.cells) for each in (vary(variety, i) for i in indices)
        ],
    }
    if arguments.fields is not None and arguments.masks is not None:
        fields = [read_field(source) for source in find_fields(arguments.fields)]
        truths = Precomputed(folder=str(arguments.masks)).segment(fields)
        sets["real"] = [(field, truth.cells) for field, truth in zip(fields, truths, strict=True)]
    for name, pairs in sets.items():
        show(name, pairs, network)


def show(name: str, pairs: Pairs, network: CellUNet) -> None:
    joint = network.representation
    if not isinstance(joint, Joint):
        raise ValueError("This network learned one representation only: give a base.")
    table = Table(title=f"{name}: {len(pairs)} fields", title_justify="left")
    for column in ("read from", *(f"F1 @{iou}" for iou in IOU_THRESHOLDS), "mean IoU", "found", "true"):
        table.add_column(column, justify="right")
    um_per_px = network.settings.um_per_px
    found: dict[str, list[NDArray[np.int32]]] = {part: [] for part in joint.parts}
    for field, truth in pairs:
        image = network_input(field, um_per_px)
        [maps] = infer_maps(
            network,
            [image],
            device=torch.device("cpu"),
            half=False,
            tile_px=1024,
            margin_px=256,
            together=False,
        )
        for part, representation in joint.parts.items():
            own = joint.maps_of(part, maps)
            cells, _ = representation.decode(own, um_per_px=um_per_px, nuclei_only=shows_nuclei_only(image))
            size = truth.shape[::-1]
            found[part].append(
                cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)
            )
    for part, images in found.items():
        scores = score_instances(
            zip(images, (truth for _, truth in pairs), strict=True), iou_thresholds=IOU_THRESHOLDS
        )
        first = scores.iloc[0]
        table.add_row(
            part,
            *(f"{f1:.3f}" for f1 in scores["f1"]),
            f"{first['mean_matched_iou']:.3f}",
            f"{first['num_predicted']:.0f}",
            f"{first['num_truths']:.0f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
