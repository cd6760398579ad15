"""The U-Net on real fields that its training has not seen: each is left out in turn.

python benchmarks/segmentation_left_out.py REAL_DATA BASE.safetensors OUT [--store DIR] [name=value ...]

REAL_DATA is what experiment=segmentation_unet learns from, BASE.safetensors what experiment=segmentation_unet_base
wrote: it has seen simulated fields only. One training for each real field, which also leaves out every n-th image of
nuclei; finished ones are not repeated. Scores are over all left-out fields together, with 95 % intervals from
drawing fields again, and beside the watershed's, which was tuned on the same fields.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import find_fields, read_field
from hpa_cells.metrics import score_instances
from hpa_cells.segmentation import Precomputed, Segmenter, UNet, Watershed
from hpa_cells.training.segmenter.nucleus_images import read_nucleus_images

Pair = tuple[NDArray[np.int32], NDArray[np.int32]]

IOU_THRESHOLDS = (0.5, 0.6, 0.75, 0.9)
MEAN_IOU = ("IoU of matches @0.5", "@0.6")  # the first two
NUCLEI_UM_PER_PX = 0.65
NUM_DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path, help="folder for the trainings")
    parser.add_argument("--store", type=Path, help="of simulated fields (default: the base's)")
    parser.add_argument("settings", nargs="*", help="of the trainings, such as trainer.max_steps=200")
    arguments = parser.parse_intermixed_args()
    root = arguments.real_data
    fields = [read_field(source) for source in find_fields(root / "hpa2021/fields")]
    truths = [each.cells for each in Precomputed(folder=str(root / "hpa2021/masks")).segment(fields)]
    # In the order that the training deals them out to folds.
    nuclei = list(read_nucleus_images(root / "nuclei", um_per_px=NUCLEI_UM_PER_PX))
    cell_pairs: dict[str, list[Pair]] = {"unet": [], "watershed": []}
    nucleus_pairs: dict[str, list[Pair]] = {"unet": [], "watershed": []}
    for fold, (field, truth) in enumerate(zip(fields, truths, strict=True)):
        weights = train(arguments, field.field_id, fold, num_folds=len(fields))
        segmenters: dict[str, Segmenter] = {
            "unet": UNet(weights=str(weights), device="cpu"),
            "watershed": Watershed(),
        }
        for name, segmenter in segmenters.items():
            cell_pairs[name].append((segmenter.segment([field])[0].cells, truth))
            nucleus_pairs[name] += [
                (segmenter.segment([image])[0].nuclei, labels)
                for image, labels in nuclei[fold :: len(fields)]
            ]
    show("cells of real fields, each left out", cell_pairs)
    show("images of nuclei, left out", nucleus_pairs)


def train(arguments: argparse.Namespace, field_id: str, fold: int, num_folds: int) -> Path:
    out = arguments.out / field_id
    command = [
        *(sys.executable, "-c", "from hpa_cells.commands.app import main; main()", "train"),
        "experiment=segmentation_unet",
        f"out={out}",
        f"segmentation.real_data={arguments.real_data}",
        f"segmentation.start={arguments.base}",
        f"segmentation.store={arguments.store or arguments.base.parent / 'training/fields'}",
        f"segmentation.material.held_out=[{field_id}]",
        f"segmentation.material.nuclei_folds={num_folds}",
        f"segmentation.material.held_out_fold={fold}",
        *arguments.settings,
    ]
    subprocess.run(command, check=True)
    return out / "unet.safetensors"


def show(title: str, pairs_of: dict[str, list[Pair]]) -> None:
    table = Table(title=f"{title}: {len(pairs_of['unet'])}", title_justify="left")
    for column in ("", *(f"F1 @{iou}" for iou in IOU_THRESHOLDS), *MEAN_IOU, "found", "true"):
        table.add_column(column, justify="right")
    for name, pairs in pairs_of.items():
        scores = score_instances(pairs, iou_thresholds=IOU_THRESHOLDS)
        intervals = interval_of_f1(pairs)
        table.add_row(
            name,
            *(
                f"{f1:.3f} ({low:.2f}-{high:.2f})"
                for f1, (low, high) in zip(scores["f1"], intervals, strict=True)
            ),
            *(f"{value:.3f}" for value in scores["mean_matched_iou"][: len(MEAN_IOU)]),
            f"{scores['num_predicted'][0]}",
            f"{scores['num_truths'][0]}",
        )
    Console(width=130).print(table)


def interval_of_f1(pairs: list[Pair]) -> NDArray[np.float64]:
    """(T, 2), 95 % interval when fields are drawn again with replacement."""
    each = [score_instances([pair], iou_thresholds=IOU_THRESHOLDS) for pair in pairs]
    counts = np.stack(
        [one[["num_matched", "num_predicted", "num_truths"]].to_numpy(dtype=float) for one in each]
    )
    drawn = np.random.default_rng(0).integers(0, len(pairs), (NUM_DRAWS, len(pairs)))
    sums = counts[drawn].sum(axis=1)
    f1 = 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    return np.quantile(f1, (0.025, 0.975), axis=0).T


if __name__ == "__main__":
    main()
