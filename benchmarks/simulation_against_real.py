"""First-order statistics that a segmenter sees, on real fields and on simulated ones.

HPA_CELLS_REAL_DATA=DIR python benchmarks/simulation_against_real.py      # DIR/hpa2021/fields and DIR/hpa2021/masks

Both kinds are brought to 0.16 um a pixel. Nuclei are those of the watershed in both, since real fields have no masks of
nuclei. The masks of the real cells are those of the official network, exact to about 0.3 um; the simulated masks are
bent by as much, or real seams would look washed out beside simulated ones.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from skimage.segmentation import expand_labels

from hpa_cells.fields import find_fields, read_field
from hpa_cells.segmentation import Watershed
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.simulation.canvas import Canvas
from hpa_cells.types import Channel, Field

Labels = NDArray[np.int32]
Profile = NDArray[np.float64]

UM_PER_PX = 0.16
DISTANCES_UM = np.array([0, 0.33, 0.66, 1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 7.0])
REFERENCE_BIN = 6  # 2.5 to 3.5 um
MASK_ERROR_UM = 0.25
GAP_UM = 0.6  # touching real cells are parted by a line of background
SMALLEST_SEAM_UM2 = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A field at the common scale with its cells and nuclei."""

    field: Field
    cells: Labels
    nuclei: Labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=12, help="simulated fields (default: %(default)s)")
    parser.add_argument("--real", type=Path, default=os.environ.get("HPA_CELLS_REAL_DATA"), help="real data")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    simulated = [simulated_pair(index) for index in range(arguments.fields)]
    real = real_pairs(Path(arguments.real) / "hpa2021") if arguments.real else []
    console = Console(width=150)
    for name, profile in (("where cells touch", seam_profiles), ("at a free edge", edge_profiles)):
        console.print(profile_table(name, {"real": real, "simulated": simulated}, profile))
    console.print(statistics_table({"real": real, "simulated": simulated}))


def simulated_pair(index: int) -> Pair:
    simulated = simulate_field(Recipe(pixel_size_um=UM_PER_PX), index)
    return Pair(
        field=simulated.field,
        cells=bent(simulated.segmentation.cells, index),
        nuclei=Watershed().segment([simulated.field])[0].nuclei,
    )


def bent(cells: Labels, seed: int) -> Labels:
    """The masks with edges that are as inexact as those of a network."""
    canvas = Canvas(height_px=cells.shape[0], width_px=cells.shape[1], pixel_size_um=UM_PER_PX)
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(cells.shape, dtype=np.float32)
    error_px = np.float32(MASK_ERROR_UM / UM_PER_PX)
    rows, columns = (each + error_px * canvas.noise(rng, 3.0) for each in (rows, columns))
    return cv2.remap(cells.astype(np.float32), columns, rows, cv2.INTER_NEAREST).astype(np.int32)


def real_pairs(folder: Path) -> list[Pair]:
    pairs = []
    for source in find_fields(folder / "fields"):
        field = read_field(source, pixel_size_um=0.08)
        step = round(UM_PER_PX / field.pixel_size_um)
        side = (field.width_px // step, field.height_px // step)
        image = np.stack([cv2.resize(plane, side, interpolation=cv2.INTER_AREA) for plane in field.image])
        shrunk = Field(field_id=field.field_id, image=image, pixel_size_um=UM_PER_PX)
        path = folder / "masks" / f"{field.field_id}_cells.png"
        masks = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::step, ::step].astype(np.int32)
        cells = expand_labels(masks, GAP_UM / UM_PER_PX / 2).astype(np.int32)
        pairs.append(Pair(field=shrunk, cells=cells, nuclei=Watershed().segment([shrunk])[0].nuclei))
    return pairs


def seam_profiles(pair: Pair, channel: Channel) -> Profile:
    """(P, D): of each pair of cells that touch, the brightness by distance from their border."""
    partner, distance_um = nearest_border(pair.cells)
    chosen = (pair.cells > 0) & (partner > 0) & (partner != pair.cells)
    low, high = np.minimum(partner, pair.cells), np.maximum(partner, pair.cells)
    pairs = low.astype(np.int64) * (int(pair.cells.max()) + 1) + high
    return profiles(pair.field.image[channel], distance_um, np.where(chosen, pairs, 0))


def edge_profiles(pair: Pair, channel: Channel) -> Profile:
    """(N, D): of each cell, the brightness by distance from where it ends without a neighbour."""
    partner, distance_um = nearest_border(pair.cells)
    return profiles(pair.field.image[channel], distance_um, np.where(partner == 0, pair.cells, 0))


def nearest_border(cells: Labels) -> tuple[Labels, NDArray[np.float64]]:
    """The id across the nearest border of a pixel's cell, 0 for background; and its distance in um."""
    across = np.full(cells.shape, -1, dtype=np.int32)
    for shift in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        other = ndimage.shift(cells, shift, order=0, mode="nearest")
        differs = (other != cells) & (cells > 0)
        across[differs] = np.maximum(across[differs], other[differs])
    distance_px, nearest = ndimage.distance_transform_edt(across < 0, return_indices=True)
    return across[tuple(nearest)], distance_px * UM_PER_PX


def profiles(
    plane: NDArray[np.integer], distance_um: NDArray[np.float64], groups: NDArray[np.integer]
) -> Profile:
    """Mean brightness by distance for each group but 0, relative to that at 3 um."""
    near = (groups > 0) & (distance_um < DISTANCES_UM[-1])
    _, group = np.unique(groups[near], return_inverse=True)
    num_bins = len(DISTANCES_UM) - 1
    index = group * num_bins + np.digitize(distance_um[near], DISTANCES_UM) - 1
    size = (int(group.max(initial=-1)) + 1) * num_bins
    pixels = np.bincount(index, minlength=size).reshape(-1, num_bins)
    light = np.bincount(index, weights=plane[near], minlength=size).reshape(-1, num_bins)
    means = np.where(pixels > 0, light / np.maximum(pixels, 1), np.nan)
    reference = means[:, REFERENCE_BIN]
    long_enough = (pixels[:, 0] * UM_PER_PX**2 >= SMALLEST_SEAM_UM2) & (reference > 2)
    return means[long_enough] / reference[long_enough, None]


def profile_table(
    name: str, kinds: dict[str, list[Pair]], profile: Callable[[Pair, Channel], Profile]
) -> Table:
    ends = [f"{low:g}-{high:g}" for low, high in pairwise(DISTANCES_UM)]
    table = Table(
        "", "n", *ends, "10-90 % there", title=f"Brightness {name}, by um from it; that at 3 um is 1"
    )
    for channel in (Channel.MICROTUBULES, Channel.ER):
        for kind, pairs in kinds.items():
            found = [rows for rows in (profile(pair, channel) for pair in pairs) if len(rows) >= 3]
            if not found:
                continue
            # Fields count alike, however many cells they have.
            middle = np.mean([np.nanmedian(rows, axis=0) for rows in found], axis=0)
            low, high = np.mean([np.nanquantile(rows[:, 0], (0.1, 0.9)) for rows in found], axis=0)
            cells = [f"{value:.2f}" for value in middle]
            number = str(sum(map(len, found)))
            table.add_row(f"{channel.color}, {kind}", number, *cells, f"{low:.2f} to {high:.2f}")
    return table


def statistics_table(kinds: dict[str, list[Pair]]) -> Table:
    """Median over fields, and the lowest and highest tenth."""
    table = Table("statistic", *kinds, title="Per field: median (10 % to 90 %)")
    rows = {kind: [statistics(pair) for pair in pairs] for kind, pairs in kinds.items() if pairs}
    for name in next(iter(rows.values()))[0]:
        shown = []
        for kind in kinds:
            values = [each[name] for each in rows.get(kind, [])] or [np.nan]
            low, middle, high = np.nanquantile(values, (0.1, 0.5, 0.9))
            shown.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        table.add_row(name, *shown)
    return table


def statistics(pair: Pair) -> dict[str, float]:
    image = pair.field.image.astype(np.float64) / pair.field.max_value
    inside = pair.nuclei > 0
    ids = np.unique(pair.nuclei)[1:]
    blue = image[Channel.NUCLEUS]
    means, deviations = (
        np.array(measure(blue, pair.nuclei, ids)) for measure in (ndimage.mean, ndimage.standard_deviation)
    )
    found = {
        "nuclei: mean brightness": float(means.mean()),
        "nuclei: spread from cell to cell": float(means.std() / means.mean()),
        "nuclei: texture within one": float(np.median(deviations / means)),
        "nuclei: background around them": float(np.median(blue[(pair.cells > 0) & ~inside])),
    }
    to_nucleus_um = ndimage.distance_transform_edt(~inside) * UM_PER_PX
    _, to_border_um = nearest_border(pair.cells)
    cytoplasm = (pair.cells > 0) & ~inside
    near = cytoplasm & (to_nucleus_um < 3)
    margin = cytoplasm & (to_nucleus_um > 6) & (to_border_um > 2) & (to_border_um < 5)
    for channel, name in ((Channel.MICROTUBULES, "red"), (Channel.ER, "yellow")):
        plane = image[channel]
        per_cell = np.array(
            ndimage.mean(plane, np.where(cytoplasm, pair.cells, 0), np.unique(pair.cells)[1:])
        )
        per_cell = per_cell[np.isfinite(per_cell)]
        found |= {
            f"{name}: mean brightness of cytoplasm": float(plane[cytoplasm].mean()),
            f"{name}: margin against near the nucleus": float(plane[margin].mean() / plane[near].mean()),
            f"{name}: nucleus against near it": float(plane[inside].mean() / plane[near].mean()),
            f"{name}: spread from cell to cell": float(per_cell.std() / per_cell.mean()),
            f"{name}: texture within 2 um": texture(plane, cytoplasm),
            f"{name}: background against cytoplasm": background(plane, pair.cells) / plane[cytoplasm].mean(),
        }
    return found


def texture(plane: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
    """Deviation from the surroundings, 2 um wide, relative to them."""
    blurred = cv2.GaussianBlur(plane, (0, 0), 2.0 / UM_PER_PX)
    return float(np.std((plane - blurred)[chosen]) / plane[chosen].mean())


def background(plane: NDArray[np.float64], cells: Labels) -> float:
    """Mean of what is 3 um and more from any cell; NaN in a confluent field."""
    empty = ndimage.distance_transform_edt(cells == 0) * UM_PER_PX > 3
    return float(plane[empty].mean()) if empty.sum() > 100 else float("nan")


if __name__ == "__main__":
    main()
