"""How fast fields are simulated, and the pictures in docs/images.

python benchmarks/simulation.py speed              # CPU seconds a field, against the limit of 1.5 s
python benchmarks/simulation.py gallery            # docs/images/simulated_*.png and varied_fields.png

How the pixels compare with real ones: simulation_against_real.py; the labels: simulation_labels.py.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from hpa_cells.simulation import (
    CELL_LINES,
    Recipe,
    SimulatedField,
    Variety,
    simulate_field,
    vary,
)
from hpa_cells.simulation.field import render_field
from hpa_cells.simulation.labels import CellState, FieldPlan
from hpa_cells.simulation.priors import CLASS_SET
from hpa_cells.types import Channel

Picture = NDArray[np.uint8]

TILE_PX = 144
TILE_UM = 34.0
EXAMPLES = ("U-2 OS", "A-431", "U-251 MG")
LABEL_WIDTH_PX = 170
FIELDS = (60, 52, 53)
FIELD_PX = 512
COLORS = 256
VARIED = range(24, 36)
VARIED_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "gallery"))
    parser.add_argument(
        "--fields", type=int, default=10, help="fields a recipe to time (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parents[1] / "docs" / "images",
        help="folder of the gallery",
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.what == "speed":
        print_speed(arguments.fields)
    else:
        write_gallery(arguments.out)


def print_speed(num_fields: int) -> None:
    table = Table("field", "um a px", "mean CPU s", "median", "largest", "cells", title="One core")
    for side_px, pixel_size_um in ((512, 0.24), (1024, 0.16), (2048, 0.08)):
        recipe = Recipe(height_px=side_px, width_px=side_px, pixel_size_um=pixel_size_um)
        name = f"simulate_field, {side_px}x{side_px}"
        table.add_row(name, f"{pixel_size_um}", *timed(partial(simulate_field, recipe), num_fields))
    # Fields of a variety differ much in their cost.
    table.add_row("vary, 512x512", "0.32", *timed(partial(vary, Variety()), 8 * num_fields))
    Console().print(table)


def timed(make: Callable[[int], SimulatedField], num_fields: int) -> tuple[str, str, str, str]:
    """Mean, median and largest time of a field, and the median number of cells."""
    seconds, cells = [], []
    for index in range(num_fields):
        start = time.process_time()
        simulated = make(index)
        seconds.append(time.process_time() - start)
        cells.append(len(simulated.cell_labels))
    mean, median, largest = (
        f"{value:.2f}" for value in (statistics.mean(seconds), statistics.median(seconds), max(seconds))
    )
    return mean, median, largest, f"{statistics.median(cells):.0f}"


def write_gallery(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = [class_row(index) for index in range(len(CLASS_SET))]
    save(np.vstack(rows), out / "simulated_classes.png")
    fields = [composite(simulate_field(Recipe(), index)) for index in FIELDS]
    side_by_side = [cv2.resize(field, (FIELD_PX, FIELD_PX), interpolation=cv2.INTER_AREA) for field in fields]
    save(np.hstack(side_by_side), out / "simulated_field.png")
    tiles = [outlined(vary(Variety(), index)) for index in VARIED]
    save(np.vstack([np.hstack(tiles[start : start + 6]) for start in (0, 6)]), out / "varied_fields.png")


def outlined(varied: SimulatedField) -> Picture:
    """(256, 256, 3): microtubules and ER in red and yellow, nuclei in blue; edges of cells white, of nuclei cyan."""
    image = varied.field.image.astype(np.float32) / varied.field.max_value
    red, blue, yellow = (image[each] for each in (Channel.MICROTUBULES, Channel.NUCLEUS, Channel.ER))
    shown = np.clip(330 * np.stack([red + 0.6 * yellow, 0.6 * yellow, blue], axis=-1), 0, 255)
    tile = cv2.resize(shown.astype(np.uint8), (VARIED_PX, VARIED_PX), interpolation=cv2.INTER_AREA)
    for labels, color in (
        (varied.segmentation.cells, (255, 255, 255)),
        (varied.segmentation.nuclei, (0, 255, 255)),
    ):
        small = cv2.resize(labels, (VARIED_PX, VARIED_PX), interpolation=cv2.INTER_NEAREST_EXACT)
        edge = cv2.morphologyEx(small.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2))) > 0
        tile[edge] = color
    return tile


def class_row(index: int) -> Picture:
    """Name of a class, and for each example a cell in colour and its protein in grey."""
    label = Image.new("RGB", (LABEL_WIDTH_PX, TILE_PX))
    words = CLASS_SET.names[index].split()
    text = "\n".join(" ".join(words[start : start + 2]) for start in range(0, len(words), 2))
    ImageDraw.Draw(label).multiline_text((8, TILE_PX // 2 - 16), text, font=ImageFont.load_default(15))
    tiles = [np.asarray(label)]
    for example, line in enumerate(EXAMPLES):
        field = example_field(index, line, seed=5 * index + example)
        top, left = window_around_a_cell(field)
        side = round(TILE_UM / field.field.pixel_size_um)
        for picture in (composite(field), protein(field)):
            tile = picture[top : top + side, left : left + side]
            tiles.append(cv2.resize(tile, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA))
    return np.hstack(tiles)


def example_field(index: int, line: str, *, seed: int) -> SimulatedField:
    """A field of which every cell shows one class."""
    recipe = Recipe(height_px=480, width_px=480, pixel_size_um=0.16, debris_per_field=0.0)
    rng = np.random.default_rng([seed, 11])
    num_cells = 2 + int((77 + CELL_LINES[line].spacing_um) ** 2 / CELL_LINES[line].spacing_um ** 2)
    labels = np.zeros((num_cells, len(CLASS_SET)), dtype=bool)
    labels[:, index] = True
    states = np.zeros(num_cells, dtype=np.int8)
    if CLASS_SET.keys[index] == "mitotic_spindle":
        states[::2] = rng.integers(CellState.PROMETAPHASE, CellState.ANAPHASE + 1, len(states[::2]))
        labels[1::2] = CLASS_SET.index("negative") == np.arange(len(CLASS_SET))
    plan = FieldPlan(cell_line=CELL_LINES[line], field_labels=labels[0], cell_labels=labels, states=states)
    return render_field(recipe, plan, rng, field_id="gallery")


def window_around_a_cell(field: SimulatedField) -> tuple[int, int]:
    """Top and left of a tile around the most central nucleus of a cell that shows the class of the field."""
    nuclei = field.segmentation.nuclei
    middle, side = np.array(nuclei.shape) / 2, round(TILE_UM / field.field.pixel_size_um)
    shown = field.segmentation.cell_ids[(field.cell_labels & field.field_labels).any(axis=1)]
    places = np.array([np.argwhere(nuclei == cell).mean(axis=0) for cell in shown])
    best = places[np.linalg.norm(places - middle, axis=1).argmin()]
    top, left = np.clip(best - side / 2, 0, np.array(nuclei.shape) - side).astype(int)
    return int(top), int(left)


def composite(field: SimulatedField) -> Picture:
    """(H, W, 3): microtubules in red, protein in green, nucleus in blue."""
    image = field.field.image
    shown = np.stack([image[Channel.MICROTUBULES], image[Channel.PROTEIN], image[Channel.NUCLEUS]], axis=-1)
    return np.clip(1.3 * shown.astype(np.float32), 0, 255).astype(np.uint8)


def protein(field: SimulatedField) -> Picture:
    """(H, W, 3): the protein in grey."""
    return np.repeat(field.field.image[Channel.PROTEIN][..., None], 3, axis=-1)


def save(picture: Picture, path: Path) -> None:
    """Write with few colours: noise does not compress otherwise."""
    Image.fromarray(picture).quantize(COLORS).save(path, optimize=True)
    Console().print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
