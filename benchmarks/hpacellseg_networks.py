"""The published networks of hpacellseg: the original's code beside ours, on the same weights and pixels.

python benchmarks/hpacellseg_networks.py CHECKOUT            # of CellProfiling/HPACellSegmentatorPortable
python benchmarks/hpacellseg_networks.py CHECKOUT --record   # writes the small case that the tests repeat

CHECKOUT's own class is filled with random weights and saved whole, as the published files are: by today's torch
and in its format before 1.6, plain and in DataParallel. Each file is read by our reader, which runs nothing in
it, and the outputs of both are compared: logits and softmax on the same input, pred_* from the image to what
the user gets, in 255ths. Ends with 1 where logits or softmax differ by more than 1e-4. CPU s is the time of our
pred_* for one image, beside the original's.

What of the original is put aside, in this process only: the download of weights of ImageNet, which would be
overwritten anyway, and the swap of height and width, by square images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import runpy
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn

from hpa_cells.segmentation.hpacellseg import CellSegmentator
from hpa_cells.segmentation.hpacellseg.weights import read_network

TESTS = Path(__file__).parents[1] / "tests" / "segmentation" / "hpacellseg"
RECORD = TESTS / "recorded_outputs.json"
MADE_UP = runpy.run_path(str(TESTS / "made_up_weights.py"))
TOLERANCE = 1e-4
# Height and width of the recorded input, and how far apart its recorded pixels are.
RECORDED_SHAPE_PX, RECORDED_STEP_PX = (64, 96), 21

Pixels = NDArray[np.uint8]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="folder with pytorch_zoo/ and hpacellseg/")
    parser.add_argument(
        "--size", type=int, default=512, help="side of the images in px (default: %(default)s)"
    )
    parser.add_argument(
        "--record", action="store_true", help=f"write {RECORD.name} from the original's outputs"
    )
    arguments = parser.parse_args()
    original = Original(arguments.checkout)
    if arguments.record:
        record(original)
        return 0
    return compare(original, arguments.size)


class Original:
    """The classes of a checkout, made to run on today's torch."""

    def __init__(self, checkout: Path) -> None:
        sys.path.insert(0, str(checkout.resolve()))
        with contextlib.redirect_stdout(io.StringIO()):  # it asks to compile a part that is not used
            from hpacellseg import cellsegmentator
            from pytorch_zoo import abstract_model, dpn, unet
        abstract_model.encoder_params["dpn92"] |= {
            "url": None,
            "init_op": lambda in_channels: dpn.dpn92(in_channels, pretrained=None),
        }
        self._unet, self._cellsegmentator = unet, cellsegmentator

    def network(self, seed: str) -> nn.Module:
        """A network of the original's class with weights of our own."""
        network: nn.Module = self._unet.DPNUnet(3, 3)
        MADE_UP["fill_by_formula"](network, seed)
        return network.eval()

    def segmentator(self, nuclei: nn.Module, cells: nn.Module, padding: bool) -> Any:
        """The original's own class around two networks."""
        return self._cellsegmentator.CellSegmentator(nuclei, cells, device="cpu", padding=padding)


FORMATS: dict[str, Callable[[nn.Module, Path], None]] = {
    "zip": lambda network, path: torch.save(network, path),
    "zip, parallel": lambda network, path: torch.save(nn.DataParallel(network), path),
    "old": lambda network, path: save_old(network, path),
    "old, parallel": lambda network, path: save_old(nn.DataParallel(network), path),
}


def save_old(network: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(network, path, _use_new_zipfile_serialization=False)


def compare(original: Original, size_px: int) -> int:
    table = Table("file", "network", "padding", "logits", "softmax", "pred_*", "CPU s", "original")
    image = MADE_UP["made_up_image"](size_px, size_px)
    worst = 0.0
    for form, save in FORMATS.items():
        theirs = {seed: original.network(seed) for seed in ("nuclei", "cells")}
        with tempfile.TemporaryDirectory() as folder:
            ours = {}
            for seed, network in theirs.items():
                save(network, Path(folder) / f"{seed}.pth")
                ours[seed] = read_network(Path(folder) / f"{seed}.pth")
        for padding in (False, True):
            for seed in theirs:
                row = differences(original, theirs, ours, seed, image, padding)
                worst = max(worst, row.pop("worst"))
                table.add_row(
                    form, seed, "yes" if padding else "no", *(f"{each:.3g}" for each in row.values())
                )
    Console().print(table)
    Console().print(f"Largest difference of logits or probabilities: {worst:.3g} (allowed: {TOLERANCE})")
    return int(worst > TOLERANCE)


def differences(
    original: Original,
    theirs: dict[str, nn.Module],
    ours: dict[str, Any],
    seed: str,
    image: Pixels,
    padding: bool,
) -> dict[str, float]:
    """The largest differences between the two, and the time of each for one image through everything."""
    seen: dict[str, Any] = {}
    hook = theirs[seed].register_forward_hook(
        lambda _module, inputs, output: seen.update(planes=inputs[0].clone(), logits=output.clone())
    )
    their_class = original.segmentator(theirs["nuclei"], theirs["cells"], padding)
    our_class = CellSegmentator(ours["nuclei"], ours["cells"], device="cpu", padding=padding)
    their_pixels, their_s = timed(lambda: call(their_class, seed, image))
    our_pixels, our_s = timed(lambda: call(our_class, seed, image))
    hook.remove()
    with torch.inference_mode():
        logits = ours[seed](seen["planes"])
    of_logits = float((logits - seen["logits"]).abs().max())
    of_probabilities = float((logits.softmax(1) - seen["logits"].softmax(1)).abs().max())
    return {
        "logits": of_logits,
        "probabilities": of_probabilities,
        "pixels": float(np.abs(their_pixels.astype(int) - our_pixels).max()),
        "our_s": our_s,
        "their_s": their_s,
        "worst": max(of_logits, of_probabilities),
    }


def call(segmentator: Any, seed: str, image: Pixels) -> Pixels:
    if seed == "nuclei":
        [found] = segmentator.pred_nuclei([image[..., 2]])
    else:
        [found] = segmentator.pred_cells([[image[..., plane]] for plane in range(3)])
    return found


def timed(function: Callable[[], Pixels]) -> tuple[Pixels, float]:
    start_s = time.process_time()
    result = function()
    return result, time.process_time() - start_s


def record(original: Original) -> None:
    """Write what the original says of the made-up image with the made-up weights, at some of its pixels."""
    image = MADE_UP["made_up_image"](*RECORDED_SHAPE_PX)
    network = original.network("cells")
    with torch.inference_mode():
        logits = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0]
    step = RECORDED_STEP_PX
    recorded = {
        "note": "Logits of pytorch_zoo.unet.DPNUnet of CellProfiling/HPACellSegmentatorPortable; made by "
        "benchmarks/hpacellseg_networks.py --record.",
        "seed": "cells",
        "shape_px": RECORDED_SHAPE_PX,
        "step_px": step,
        "logits": [
            [[round(value, 5) for value in row] for row in rows]
            for rows in logits[:, ::step, ::step].tolist()
        ],
    }
    RECORD.write_text(json.dumps(recorded) + "\n", encoding="utf-8")
    Console().print(f"{RECORD}: logits from {float(logits.min()):.3f} to {float(logits.max()):.3f}")


if __name__ == "__main__":
    sys.exit(main())
