"""Outlines of the true cells, the watershed's and the U-Net's, side by side, to look at.

python benchmarks/segmentation_pictures.py OUT.webp                      # simulated fields
python benchmarks/segmentation_pictures.py OUT.png --fields DIR --masks DIR   # real ones
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import Precomputed, Segmenter, UNet, Watershed
from hpa_cells.segmentation.network_input import network_input
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.types import Field, Segmentation

SIDE_UM_PER_PX = 0.32
TRUE_COLOR, FOUND_COLOR, NUCLEUS_COLOR = (255, 255, 255), (255, 170, 0), (90, 200, 255)
SIMULATED = {
    "mixed": Recipe(seed=77),
    "confluent": Recipe(seed=78, crowding=1.8),
    "elongated": Recipe(seed=79, cell_lines=["U-251 MG", "BJ"]),
    "dividing, binucleated": Recipe(seed=80, mitotic_share=0.25, binucleated_share=0.25),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--fields", type=Path, help="folder of real fields")
    parser.add_argument("--masks", type=Path, help="folder of their true cells")
    parser.add_argument("--weights", help="of the U-Net (default: those in the package)")
    arguments = parser.parse_args()
    if arguments.fields is None:
        made = {name: simulate_field(recipe, 1) for name, recipe in SIMULATED.items()}
        rows = [(name, each.field, each.segmentation) for name, each in made.items()]
    else:
        fields = [read_field(source) for source in find_fields(arguments.fields)]
        truths = Precomputed(folder=str(arguments.masks)).segment(fields)
        rows = [(field.field_id[:8], field, truth) for field, truth in zip(fields, truths, strict=True)]
    segmenters: dict[str, Segmenter] = {
        "watershed": Watershed(),
        "unet": UNet(weights=arguments.weights, device="cpu"),
    }
    picture = np.vstack([row_of(name, field, truth, segmenters) for name, field, truth in rows])
    Image.fromarray(picture).save(arguments.out, quality=75)


def row_of(
    name: str, field: Field, truth: Segmentation, segmenters: dict[str, Segmenter]
) -> NDArray[np.uint8]:
    """The true cells, then each segmenter's over them, (h, w, 3)."""
    panels = [drawn(field, f"{name}: truth", truth, None)]
    for method, segmenter in segmenters.items():
        [found] = segmenter.segment([field])
        panels.append(drawn(field, f"{name}: {method}", truth, found))
    return np.hstack(panels)


def drawn(field: Field, title: str, truth: Segmentation, found: Segmentation | None) -> NDArray[np.uint8]:
    planes = network_input(field, SIDE_UM_PER_PX)
    composite = np.clip(planes**1.2, 0, 1).transpose(1, 2, 0) * 255
    pixels = composite.astype(np.uint8)
    shape = pixels.shape[:2]
    outlines = [(truth.cells, TRUE_COLOR)]
    if found is not None:
        outlines += [(found.cells, FOUND_COLOR), (found.nuclei, NUCLEUS_COLOR)]
    for labels, color in outlines:
        small = cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        edge = np.zeros(shape, dtype=bool)
        edge[:, 1:] |= small[:, 1:] != small[:, :-1]
        edge[1:] |= small[1:] != small[:-1]
        pixels[edge] = color
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text((8, 6), title, fill=(255, 255, 255), font_size=18)
    return np.asarray(image)


if __name__ == "__main__":
    main()
