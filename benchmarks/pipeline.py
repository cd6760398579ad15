"""How fast fields become rows, beside decoding alone and beside the original pipeline, in one run.

python benchmarks/pipeline.py FIELDS                        # real fields, each copied to 16
python benchmarks/pipeline.py FIELDS --original CHECKOUT    # of CellProfiling/HPACellSegmentatorPortable

The pipeline is that of `hpa-cells predict` with its defaults, from files to shards of the table. `networks that cost
nothing` is the same with maps and embeddings that were made before: what reading, cutting, measuring and writing cost.
Decoding alone reads and decodes the four files of each field, in as many threads, and keeps nothing. Files are links to
the given ones: they are in the memory of the system, and no disk is measured.

The original is its own code for both networks, with random weights (its own are not at hand), its rescaling,
`label_cell` on predictions made from our cells, then pycocotools a cell at a time and a forward pass a crop of our
classifier. All is run several times in turn; medians are shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco
from rich.console import Console
from rich.table import Table

from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.fields import FieldSource, find_fields, read_field
from hpa_cells.fields.decode import decode_image
from hpa_cells.models import CellClassifier, Ensemble, load_models, model_input
from hpa_cells.prediction import Failure, LocalRunner, PredictionSettings, StageTimes, predict_fields
from hpa_cells.segmentation import UNet
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import Channel, Field, Segmentation

SEPARATOR = "-copy-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Of one pass over all fields."""

    fields_per_s: float
    cpu_s_a_field: float


@dataclass(frozen=True, slots=True)
class FreeUNet(UNet):
    """The U-Net whose maps were made before; by the field, less what makes it a copy."""

    maps: dict[str, Any] = field(default_factory=dict)

    def see(self, field: Field) -> Any:
        """The field's name, and the images, which cost what they cost."""
        return (field.field_id.split(SEPARATOR)[0], UNet.see(self, field))

    def infer(self, seen: Sequence[Any]) -> list[Any]:
        """The maps of each."""
        return [self.maps[name] for name, _ in seen]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of fields")
    parser.add_argument("--copies", type=int, default=16, help="of each field (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="threads (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--original", type=Path, help="checkout with hpacellseg/ and pytorch_zoo/")
    arguments = parser.parse_args()
    models = load_models("shipped")
    segmenter = UNet(device="cpu")
    segmenter.prepare()
    with tempfile.TemporaryDirectory() as folder:
        originals = find_fields(arguments.fields)
        sources = copies_of(originals, arguments.copies, Path(folder) / "fields")
        free = FreeUNet(device="cpu", maps=maps_of(segmenter, originals))
        whole, costless, decoding = [], [], []
        times, times_of_free = StageTimes(), StageTimes()
        for turn in range(arguments.repeats):
            out = Path(folder) / f"run-{turn}"
            decoding.append(decode_all(sources, arguments.workers))
            whole.append(predict_all(sources, segmenter, models, out, arguments.workers, times))
            with free_embedding(models.members[0].model):
                costless.append(
                    predict_all(
                        sources, free, models, out.with_suffix(".free"), arguments.workers, times_of_free
                    )
                )
        seconds_of_original = time_original(arguments.original, originals, segmenter, models)
    show(whole, costless, decoding, seconds_of_original, arguments.workers)
    show_stages(times, arguments.repeats * len(sources))


def copies_of(originals: Sequence[FieldSource], number: int, folder: Path) -> list[FieldSource]:
    """Links to the files of each field under so many names."""
    folder.mkdir()
    for source in originals:
        for copy in range(number):
            for file in source.files.values():
                name = file.path.name.replace(source.field_id, f"{source.field_id}{SEPARATOR}{copy:03d}", 1)
                (folder / name).symlink_to(file.path.resolve())
    return find_fields(folder)


def maps_of(segmenter: UNet, sources: Sequence[FieldSource]) -> dict[str, Any]:
    fields = [read_field(source) for source in sources]
    return {each.field_id: segmenter.infer([segmenter.see(each)])[0] for each in fields}


@contextmanager
def free_embedding(model: CellClassifier) -> Iterator[None]:
    """Embeddings of zeros, for nothing."""
    size = model.embedding_size
    model.embed = lambda images, *_: torch.zeros(len(images), size)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.embed


@contextmanager
def one_core_a_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def decode_all(sources: Sequence[FieldSource], workers: int) -> Speed:
    def decode(source: FieldSource) -> None:
        for file in source.files.values():
            decode_image(file.read_bytes())

    start, start_cpu = time.perf_counter(), time.process_time()
    with one_core_a_thread(), ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, sources))
    return speed_since(start, start_cpu, len(sources))


def predict_all(
    sources: Sequence[FieldSource],
    segmenter: UNet,
    models: Ensemble,
    out: Path,
    workers: int,
    times: StageTimes,
) -> Speed:
    start, start_cpu = time.perf_counter(), time.process_time()
    provenance = Provenance(version="0", class_set="hpa2021", source="model")
    with TableWriter(out, provenance=provenance) as writer:
        for outcome in predict_fields(
            sources,
            segmenter=segmenter,
            models=models,
            writer=writer,
            settings=PredictionSettings(),
            runner=LocalRunner(workers=workers),
            times=times,
        ):
            assert not isinstance(outcome, Failure), outcome
    return speed_since(start, start_cpu, len(sources))


def speed_since(start: float, start_cpu: float, num_fields: int) -> Speed:
    return Speed(
        fields_per_s=num_fields / (time.perf_counter() - start),
        cpu_s_a_field=(time.process_time() - start_cpu) / num_fields,
    )


def time_original(
    checkout: Path | None, sources: Sequence[FieldSource], segmenter: UNet, models: Ensemble
) -> dict[str, float]:
    """Median seconds a field of each part of the original pipeline; none without a checkout."""
    if checkout is None:
        return {}
    import hpacellseg_labels
    import hpacellseg_networks

    code = hpacellseg_networks.Original(checkout)
    segmentator = code.segmentator(code.network("nuclei"), code.network("cells"), padding=True)
    utils = hpacellseg_labels.load_original(checkout, overflows=True)
    rows: dict[str, list[float]] = {"reading": [], "networks": [], "label_cell": [], "masks": [], "crops": []}
    for source in sources:
        with timing(rows["reading"]):
            field = read_field(source)
        [found] = segmenter.segment([field])
        red, blue, yellow = (
            field.image[each] for each in (Channel.MICROTUBULES, Channel.NUCLEUS, Channel.ER)
        )
        with timing(rows["networks"]):
            segmentator.pred_nuclei([blue])
            segmentator.pred_cells([[red], [yellow], [blue]])
        [(of_nuclei, of_cells)] = hpacellseg_labels.from_labels([found.cells])
        large = [
            cv2.resize(each, found.cells.shape[::-1], interpolation=cv2.INTER_AREA)
            for each in (of_nuclei, of_cells)
        ]
        with warnings.catch_warnings(), timing(rows["label_cell"]):
            warnings.simplefilter("ignore")
            utils.label_cell(*large)
        with timing(rows["masks"]):
            for labels in (found.cells, found.nuclei):
                for cell_id in found.cell_ids:
                    coco.encode(np.asfortranarray(labels == cell_id).astype(np.uint8))
        with timing(rows["crops"]):
            score_one_by_one(field, found, models)
    return {name: statistics.median(seconds) for name, seconds in rows.items()}


@torch.inference_mode()
def score_one_by_one(field: Field, found: Segmentation, models: Ensemble) -> None:
    model = models.members[0].model
    for image in crop_cells(field, found, CropSettings(**models.crop_settings)).images:
        model.embed(model_input(image[None]))


@contextmanager
def timing(seconds: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - start)


def show(
    whole: Sequence[Speed],
    costless: Sequence[Speed],
    decoding: Sequence[Speed],
    original: dict[str, float],
    workers: int,
) -> None:
    table = Table(title=f"Fields to rows, {workers} threads, medians", title_justify="left")
    for column in ("", "fields/s", "of decoding alone", "CPU s a field"):
        table.add_column(column, justify="left" if not column else "right")
    of_decoding = statistics.median(each.fields_per_s for each in decoding)
    for name, speeds in (
        ("whole pipeline", whole),
        ("networks that cost nothing", costless),
        ("decoding alone", decoding),
    ):
        fields_per_s = statistics.median(each.fields_per_s for each in speeds)
        cpu_s = statistics.median(each.cpu_s_a_field for each in speeds)
        table.add_row(name, f"{fields_per_s:.2f}", f"{fields_per_s / of_decoding:.2f}", f"{cpu_s:.3f}")
    if original:
        table.add_row("the original", f"{1 / sum(original.values()):.3f}", "", "")
    Console().print(table)
    if original:
        times = statistics.median(each.fields_per_s for each in whole) * sum(original.values())
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in original.items())
        Console().print(f"{times:.1f} times the original, whose seconds a field are: {parts}")


def show_stages(times: StageTimes, num_fields: int) -> None:
    table = Table(title="Stages of the whole pipeline, a field", title_justify="left")
    for column in ("", "s of a thread", "CPU s", "share"):
        table.add_column(column, justify="left" if not column else "right")
    together = sum(each.cpu_s for each in times.values())
    for name, each in times.items():
        row = (each.wall_s / num_fields, each.cpu_s / num_fields)
        table.add_row(name, *(f"{seconds:.3f}" for seconds in row), f"{each.cpu_s / together:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
