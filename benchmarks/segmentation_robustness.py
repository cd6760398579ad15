"""How far the segmenters fall when fields are worse than usual, and on cells that are hard to find; one run.

python benchmarks/segmentation_robustness.py                            # simulated fields
python benchmarks/segmentation_robustness.py --fields DIR --masks DIR   # and real ones, changed in the same ways

The first table changes the same fields: gain, depth, size, noise, missing channels. The second has other fields:
each a recipe whose cells are of one kind. Simulated fields are of seeds that no training uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import find_fields, read_field
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import Precomputed, Segmenter, UNet, Watershed
from hpa_cells.simulation import Recipe, Variety, simulate_field, vary
from hpa_cells.types import Channel, Field, Segmentation

Pair = tuple[Field, NDArray[np.int32]]
Change = Callable[[Field], Field]

SEED = 77
IOU = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=Path, help="folder of real fields")
    parser.add_argument("--masks", type=Path, help="folder of their true cells")
    parser.add_argument("--simulated", type=int, default=12, help="fields a row (default: %(default)s)")
    parser.add_argument("--weights", help="of the U-Net (default: those in the package)")
    arguments = parser.parse_args()
    segmenters: dict[str, Segmenter] = {
        "watershed": Watershed(),
        "unet": UNet(weights=arguments.weights, device="cpu"),
    }
    pairs = simulated(Recipe(seed=SEED), arguments.simulated)
    compare("simulated fields, changed", dict.fromkeys(CHANGES, pairs), CHANGES, segmenters)
    kinds = {name: simulated(recipe, arguments.simulated) for name, recipe in KINDS.items()}
    compare("simulated fields of one kind", kinds, dict.fromkeys(KINDS, as_it_is), segmenters)
    if arguments.fields is not None and arguments.masks is not None:
        fields = [read_field(source) for source in find_fields(arguments.fields)]
        truths = Precomputed(folder=str(arguments.masks)).segment(fields)
        real = [(field, truth.cells) for field, truth in zip(fields, truths, strict=True)]
        compare("real fields, changed", dict.fromkeys(CHANGES, real), CHANGES, segmenters)


def simulated(kind: Recipe | Variety, number: int) -> list[Pair]:
    made = [
        simulate_field(kind, index) if isinstance(kind, Recipe) else vary(kind, index)
        for index in range(number)
    ]
    return [(each.field, each.segmentation.cells) for each in made]


def compare(
    title: str,
    rows: dict[str, list[Pair]],
    changes: dict[str, Change],
    segmenters: dict[str, Segmenter],
) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column(f"F1 at IoU {IOU}, and cells found of true ones")
    for name in segmenters:
        table.add_column(name, justify="right")
    for row, pairs in rows.items():
        changed = [changes[row](field) for field, _ in pairs]
        cells = []
        for segmenter in segmenters.values():
            found = [segmenter.segment([field])[0] for field in changed]
            scores = score_instances(
                ((at_size_of(each, truth), truth) for each, (_, truth) in zip(found, pairs, strict=True)),
                iou_thresholds=[IOU],
            ).iloc[0]
            cells.append(f"{scores['f1']:.3f}  {scores['num_predicted']:.0f}/{scores['num_truths']:.0f}")
        table.add_row(row, *cells)
    Console(width=110).print(table)


def at_size_of(found: Segmentation, truth: NDArray[np.int32]) -> NDArray[np.int32]:
    size = truth.shape[::-1]
    return cv2.resize(found.cells, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32, copy=False)


def as_it_is(field: Field) -> Field:
    return field


def gain(factor: float) -> Change:
    def change(field: Field) -> Field:
        image = np.rint(field.image * factor).clip(0, field.max_value).astype(field.image.dtype)
        return replace(field, image=image)

    return change


def in_16_bit(field: Field) -> Field:
    if field.image.dtype == np.uint16:
        return field
    # Not a mere copy: what fell between two of the 255 values is somewhere between them now.
    fraction = np.random.default_rng(0).integers(0, 257, field.image.shape, dtype=np.uint16)
    return replace(
        field, image=np.minimum(field.image.astype(np.uint32) * 256 + fraction, 65535).astype(np.uint16)
    )


def at_512_px(field: Field) -> Field:
    scale = 512 / max(field.image.shape[1:])
    size = (round(field.width_px * scale), round(field.height_px * scale))
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in field.image]
    return replace(field, image=np.stack(planes), pixel_size_um=field.pixel_size_um / scale)


def noisy(deviation: float) -> Change:
    """White noise, as a share of full scale, in each pixel of the field."""

    def change(field: Field) -> Field:
        noise = np.random.default_rng(0).normal(0, deviation * field.max_value, field.image.shape)
        return replace(field, image=(field.image + noise).clip(0, field.max_value).astype(field.image.dtype))

    return change


def without(channel: Channel) -> Change:
    def change(field: Field) -> Field:
        image = field.image.copy()
        image[channel] = 0
        return replace(field, image=image, missing=field.missing | {channel})

    return change


def blurred(sigma_um: float) -> Change:
    def change(field: Field) -> Field:
        planes = [cv2.GaussianBlur(plane, (0, 0), sigma_um / field.pixel_size_um) for plane in field.image]
        return replace(field, image=np.stack(planes))

    return change


CHANGES: dict[str, Change] = {
    "as it is": as_it_is,
    "gain 0.2": gain(0.2),
    "gain 0.5": gain(0.5),
    "gain 2": gain(2.0),
    "gain 5": gain(5.0),
    "16 bit": in_16_bit,
    "512 px": at_512_px,
    "noise 5 %": noisy(0.05),
    "noise 10 %": noisy(0.1),
    "blur 0.5 um": blurred(0.5),
    "no ER": without(Channel.ER),
    "no microtubules": without(Channel.MICROTUBULES),
}
KINDS: dict[str, Recipe | Variety] = {
    "sparse": Recipe(seed=SEED, crowding=0.3),
    "confluent": Recipe(seed=SEED, crowding=2.0),
    "elongated": Recipe(seed=SEED, cell_lines=["U-251 MG", "BJ"]),
    "binucleated": Recipe(seed=SEED, binucleated_share=0.6),
    "mitotic": Recipe(seed=SEED, mitotic_share=0.6),
    "cut by the edge": Recipe(seed=SEED, height_px=320, width_px=320),
    "much debris": Recipe(seed=SEED, debris_per_field=60.0),
    "grainy": Recipe(seed=SEED, photons=8.0),
    "very varied": Variety(seed=SEED),
    "no cells, debris": Variety(seed=SEED, empty_share=0.0, debris_only_share=1.0),
    "nothing at all": Variety(seed=SEED, empty_share=1.0, debris_only_share=0.0),
}


if __name__ == "__main__":
    main()
