"""The segmenters against label images, beside a plain baseline and the time of the original pipeline, in one run.

python benchmarks/segmentation.py --fields DIR --masks DIR   # cells: any layout of segmenter=precomputed
python benchmarks/segmentation.py --nuclei DIR               # DIR/images and DIR/labels, single channel
python benchmarks/segmentation.py --simulated 20             # fields of a seed that no training uses
... --original CHECKOUT                                      # of CellProfiling/HPACellSegmentatorPortable

The baseline is what a tutorial does, at full resolution: Otsu's threshold of the smoothed nuclear stain, a
distance transform, and a watershed over the mean of microtubules and ER inside Otsu's threshold of that mean.

The original's weights are not at hand, so it is timed only: its own code for both networks with random weights,
its rescaling, and its `label_cell` on predictions made from the true cells.

The U-Net in the package was trained on the real fields at hand: its scores there are no measure of new fields.
segmentation_left_out.py has those of fields left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.fields import find_fields, read_field
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import Precomputed, Segmenter, UNet, Watershed
from hpa_cells.simulation import Recipe, simulate_field
from hpa_cells.training.segmenter.nucleus_images import read_nucleus_images
from hpa_cells.types import Channel, Field, Segmentation

R = TypeVar("R")
Labels = NDArray[np.int32]
Method = Callable[[Field], Segmentation]

IOU_THRESHOLDS = (0.5, 0.6, 0.75, 0.9)
SEED = 77


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=Path, help="folder of fields")
    parser.add_argument("--masks", type=Path, help="folder of their true cells")
    parser.add_argument("--nuclei", type=Path, help="folder with images/ and labels/ of nuclei")
    parser.add_argument(
        "--nuclei-pixel-um", type=float, default=0.65, help="pixel size of those (default: %(default)s um)"
    )
    parser.add_argument("--simulated", type=int, default=0, help="number of simulated fields")
    parser.add_argument("--original", type=Path, help="checkout with hpacellseg/ and pytorch_zoo/")
    parser.add_argument("--weights", help="of the U-Net (default: those in the package)")
    parser.add_argument("--threads", type=int, default=2, help="of OpenCV and torch (default: %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    methods = methods_of(arguments)
    done = False
    if arguments.fields is not None and arguments.masks is not None:
        measure_cells_of(arguments.fields, arguments.masks, methods, arguments.original)
        done = True
    if arguments.simulated:
        recipe = Recipe(seed=SEED)
        made = (simulate_field(recipe, index) for index in range(arguments.simulated))
        pairs = [(each.field, each.segmentation.cells) for each in made]
        show("cells, simulated", pairs, methods, lambda segmentation: segmentation.cells)
        done = True
    if arguments.nuclei is not None:
        measure_nuclei_of(arguments.nuclei, arguments.nuclei_pixel_um, methods)
        done = True
    if not done:
        parser.error("give --fields and --masks, --simulated or --nuclei")


def methods_of(arguments: argparse.Namespace) -> dict[str, Method]:
    segmenters: dict[str, Segmenter] = {
        "unet": UNet(weights=arguments.weights, device="cpu"),
        "watershed": Watershed(),
    }
    return {name: partial(segment_one, segmenter) for name, segmenter in segmenters.items()} | {
        "baseline": otsu_and_watershed
    }


def segment_one(segmenter: Segmenter, field: Field) -> Segmentation:
    return segmenter.segment([field])[0]


def measure_cells_of(
    fields_folder: Path, masks_folder: Path, methods: dict[str, Method], original: Path | None
) -> None:
    fields = [read_field(source) for source in find_fields(fields_folder)]
    truths = Precomputed(folder=str(masks_folder)).segment(fields)
    pairs = [(field, truth.cells) for field, truth in zip(fields, truths, strict=True)]
    show("cells", pairs, methods, lambda segmentation: segmentation.cells)
    if original is not None:
        time_original(original, pairs)
    for name, settings in (
        ("fitted", CropSettings(size_px=128)),
        ("fixed scale", CropSettings(size_px=128, um_per_px=0.4)),
    ):
        crop = partial(crop_cells, settings=settings)
        cpu_s = [timed(crop, *pair)[2] for pair in zip(fields, truths, strict=True)]
        Console().print(f"Crops of all cells, {name}: {statistics.median(cpu_s):.3f} CPU s a field (median)")


def time_original(checkout: Path, pairs: list[tuple[Field, Labels]]) -> None:
    import hpacellseg_labels
    import hpacellseg_networks

    code = hpacellseg_networks.Original(checkout)
    segmentator = code.segmentator(code.network("nuclei"), code.network("cells"), padding=True)
    utils = hpacellseg_labels.load_original(checkout, overflows=True)
    networks_s, labels_s = [], []
    for (field, truth), (of_nuclei, of_cells) in zip(
        pairs, hpacellseg_labels.from_labels([truth for _, truth in pairs]), strict=True
    ):
        red, blue, yellow = (
            field.image[each] for each in (Channel.MICROTUBULES, Channel.NUCLEUS, Channel.ER)
        )
        networks_s.append(
            timed(segmentator.pred_nuclei, [blue])[1]
            + timed(segmentator.pred_cells, [[red], [yellow], [blue]])[1]
        )
        large = [
            cv2.resize(each, truth.shape[::-1], interpolation=cv2.INTER_AREA)
            for each in (of_nuclei, of_cells)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            labels_s.append(timed(utils.label_cell, *large)[1])
    Console().print(
        f"The original, median: networks and rescaling {statistics.median(networks_s):.2f} s a field, label_cell "
        f"{statistics.median(labels_s):.2f} s"
    )


def measure_nuclei_of(folder: Path, pixel_size_um: float, methods: dict[str, Method]) -> None:
    pairs = list(read_nucleus_images(folder, um_per_px=pixel_size_um))
    show("nuclei", pairs, methods, lambda segmentation: segmentation.nuclei)


def show(
    what: str,
    pairs: list[tuple[Field, Labels]],
    methods: dict[str, Method],
    pick: Callable[[Segmentation], Labels],
) -> None:
    table = Table(title=f"{what}: {len(pairs)} fields", title_justify="left")
    scores_at = (f"F1 @{iou}" for iou in IOU_THRESHOLDS)
    columns = ("method", *scores_at, "mean IoU", "PQ", "found", "true", "s/field", "CPU s/field")
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, method in methods.items():
        method(pairs[0][0])  # weights are read once
        found, wall_s, cpu_s = zip(*(timed(method, field) for field, _ in pairs), strict=True)
        scores = score_instances(
            ((pick(each), truth) for each, (_, truth) in zip(found, pairs, strict=True)),
            iou_thresholds=IOU_THRESHOLDS,
        )
        at_half = scores.iloc[0]
        table.add_row(
            name,
            *(f"{f1:.3f}" for f1 in scores["f1"]),
            f"{at_half['mean_matched_iou']:.3f}",
            f"{at_half['panoptic_quality']:.3f}",
            f"{at_half['num_predicted']:.0f}",
            f"{at_half['num_truths']:.0f}",
            f"{statistics.median(wall_s):.3f}",
            f"{statistics.median(cpu_s):.3f}",
        )
    Console(width=110).print(table)


def timed(function: Callable[..., R], *arguments: Any) -> tuple[R, float, float]:
    """The result, seconds on the clock, and seconds of all threads, which a busy machine hardly changes."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - start, time.process_time() - start_cpu


def otsu_and_watershed(field: Field) -> Segmentation:
    um = 1 / field.pixel_size_um
    stain = gaussian(field.image[Channel.NUCLEUS], um)
    mask = stain > threshold_otsu(stain)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    peaks = peak_local_max(depth, min_distance=max(1, round(5 * um)), labels=mask.astype(int))
    seeds = np.zeros(mask.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    nuclei = watershed(-depth, seeds, mask=mask).astype(np.int32)
    markers = field.image[[Channel.MICROTUBULES, Channel.ER]].mean(axis=0)
    signal = gaussian(markers, um)
    inside = (signal > threshold_otsu(signal)) | mask
    cells = watershed(-signal, nuclei, mask=inside).astype(np.int32)
    return Segmentation(
        field_id=field.field_id, cells=cells, nuclei=nuclei, pixel_size_um=field.pixel_size_um
    )


if __name__ == "__main__":
    main()
