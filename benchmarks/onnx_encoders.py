"""Every encoder of conf/encoder as ONNX under onnxruntime beside torch: how equal, how large, how fast.

python benchmarks/onnx_encoders.py                          # some minutes; with random weights
python benchmarks/onnx_encoders.py --encoders tiny resnet18

Largest differences of logits and probabilities of cells and fields: one crop of 96 px, nine, two of two fields;
ms a crop of nine at once on one thread, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from rich.console import Console
from rich.table import Table

from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import conf_folder
from hpa_cells.models import CellClassifier, Checkpoint, ClassifierSettings, model_input
from hpa_cells.sharing import export_classifier

CLASSES = get_class_set("hpa2021")
SIZE_PX = 96
FIELDS = ([0], [0] * 9, [1, 0])
PAIRS = ("cell_logits", "cell_probabilities", "field_logits", "field_probabilities")


def main() -> None:
    every = sorted(path.stem for path in (conf_folder() / "encoder").glob("*.yaml"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", nargs="+", default=every, choices=every, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="Encoders as ONNX", title_justify="left")
    for column in ("", "MB", "s to write", "largest difference", "ms by torch", "by onnxruntime"):
        table.add_column(column, justify="right" if column else "left")
    for name in arguments.encoders:
        table.add_row(name, *compared(name, arguments.repeats))
    Console().print(table)


def compared(name: str, repeats: int) -> tuple[str, ...]:
    """The row of an encoder after its name."""
    settings = yaml.safe_load((conf_folder() / "encoder" / f"{name}.yaml").read_text())
    torch.manual_seed(0)
    model = CellClassifier(
        ClassifierSettings(
            num_classes=len(CLASSES), encoder=settings["name"], encoder_options=settings["options"]
        )
    ).eval()
    checkpoint = Checkpoint(
        model=model,
        class_set=CLASSES,
        crop_settings={"size_px": SIZE_PX},
        thresholds=np.full(len(CLASSES), 0.5, dtype=np.float32),
        weights_hash="0" * 64,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        start_s = time.perf_counter()
        export_classifier(checkpoint, path, opset=18)
        written_s = time.perf_counter() - start_s
        megabytes = path.stat().st_size / 1e6
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    largest = 0.0
    for fields in FIELDS:
        images = random.integers(0, 256, (len(fields), 4, SIZE_PX, SIZE_PX), dtype=np.uint8)
        wanted, found = by_torch(model, images, fields), by_onnx(session, images, fields)
        largest = max(
            largest,
            *(float(np.abs(wanted[each] - found[each]).max()) for each in PAIRS),
        )
    nine = random.integers(0, 256, (9, 4, SIZE_PX, SIZE_PX), dtype=np.uint8)
    return (
        f"{megabytes:.0f}",
        f"{written_s:.0f}",
        f"{largest:.0e}",
        milliseconds(lambda: by_torch(model, nine, [0] * 9), repeats),
        milliseconds(lambda: by_onnx(session, nine, [0] * 9), repeats),
    )


def by_torch(model: CellClassifier, images: Any, fields: list[int]) -> dict[str, Any]:
    with torch.inference_mode():
        outputs = model(model_input(images), torch.tensor(fields))
    logits = {"cell_logits": outputs.cell_logits, "field_logits": outputs.field_logits}
    probabilities = {name.replace("logits", "probabilities"): each.sigmoid() for name, each in logits.items()}
    return {name: each.numpy() for name, each in (logits | probabilities).items()}


def by_onnx(session: Any, images: Any, fields: list[int]) -> dict[str, Any]:
    found = session.run(list(PAIRS), {"images": images, "field_index": np.array(fields)})
    return dict(zip(PAIRS, found, strict=True))


def milliseconds(work: Callable[[], object], repeats: int) -> str:
    """Of one crop of nine, the median."""
    times_s = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - start_s)
    return f"{1e3 / 9 * statistics.median(times_s):.1f}"


if __name__ == "__main__":
    main()
