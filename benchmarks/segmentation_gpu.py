"""How many fields a second `unet` does on a GPU: the network alone, then from fields and from files to label images.

python benchmarks/segmentation_gpu.py [--fields DIR] [--batch 16] [--device cuda] [--compile]

The network alone sees random inputs that lie on the device already, in float32 (torch's own: on recent GPUs
convolutions round to TF32), bfloat16 and, on a GPU, float16. Whole fields go through `UNet.segment` a batch at a
time, in one process, float32 and `half`; reading is that of `read_field`. Without --fields, four simulated fields
are repeated, as large at the network's scale as its random inputs. All times are medians, after a warm-up, and end
when the device has done its work. Ends with 1 where there is no such device.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import FieldSource, find_fields, read_field, write_field
from hpa_cells.segmentation import UNet
from hpa_cells.segmentation.devices import chosen_device
from hpa_cells.segmentation.network import CellUNet, read_network
from hpa_cells.segmentation.network_input import NETWORK_CHANNELS
from hpa_cells.segmentation.unet import PACKAGED_WEIGHTS
from hpa_cells.simulation import Recipe, simulate_field

NUM_SIMULATED, SIMULATED_UM_PER_PX = 4, 0.08
NETWORK_WARM_UP, FIELDS_WARM_UP = 5, 1

# What is measured: its name and seconds a batch.
Row = tuple[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=Path, help="folder of fields (default: simulated ones)")
    parser.add_argument("--batch", type=int, default=16, help="fields at a time (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (default: %(default)s)")
    parser.add_argument(
        "--side", type=int, default=512, help="of the random inputs, px (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=20, help="batches measured (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    arguments = parser.parse_args()
    try:
        device = chosen_device(arguments.device)
    except ValueError as error:
        print(error)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        sources = sources_of(arguments, Path(folder))
        rows = [*time_network(arguments, device), *time_fields(arguments, device, sources)]
    table = Table("", "fields/s", "ms a field", title=title_of(arguments, device), title_justify="left")
    for name, batch_s in rows:
        table.add_row(name, f"{arguments.batch / batch_s:.1f}", f"{1000 * batch_s / arguments.batch:.2f}")
    Console(width=110).print(table)
    return 0


def title_of(arguments: argparse.Namespace, device: torch.device) -> str:
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else device.type
    return (
        f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, batches of {arguments.batch}"
    )


def sources_of(arguments: argparse.Namespace, folder: Path) -> list[FieldSource]:
    """As many as a batch; few fields are repeated."""
    if arguments.fields is None:
        um_per_px = read_network(PACKAGED_WEIGHTS)[0].settings.um_per_px
        side_px = round(arguments.side * um_per_px / SIMULATED_UM_PER_PX)
        recipe = Recipe(height_px=side_px, width_px=side_px, pixel_size_um=SIMULATED_UM_PER_PX)
        for index in range(min(NUM_SIMULATED, arguments.batch)):
            write_field(simulate_field(recipe, index).field, folder)
    found = list(find_fields(arguments.fields or folder))
    return list(itertools.islice(itertools.cycle(found), arguments.batch))


def time_network(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    planes = torch.rand(arguments.batch, len(NETWORK_CHANNELS), arguments.side, arguments.side, device=device)
    last = torch.channels_last
    variants: list[tuple[str, torch.dtype, torch.memory_format, bool]] = [
        ("float32", torch.float32, torch.contiguous_format, False),
        ("float32, channels last", torch.float32, last, False),
        ("bfloat16, channels last", torch.bfloat16, last, False),
    ]
    fastest = torch.bfloat16
    if device.type == "cuda":
        fastest = torch.float16
        variants += [
            ("float16", fastest, torch.contiguous_format, False),
            ("float16, channels last", fastest, last, False),
        ]
    if arguments.compile:
        name = str(fastest).removeprefix("torch.")
        variants.append((f"{name}, channels last, compiled", fastest, last, True))
    rows = []
    for name, dtype, memory, is_compiled in variants:
        network = read_network(PACKAGED_WEIGHTS)[0].to(device).to(memory_format=memory)
        if is_compiled:
            network.compile()
        run = step_of(network, planes.contiguous(memory_format=memory), dtype)
        batch_s = median_s(run, device, repeats=arguments.repeats, warm_up=NETWORK_WARM_UP)
        rows.append((f"network alone, {name}", batch_s))
    return rows


def step_of(network: CellUNet, planes: torch.Tensor, dtype: torch.dtype) -> Callable[[], object]:
    def step() -> object:
        is_half = dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(planes.device.type, dtype if is_half else None, enabled=is_half),
        ):
            return network.read_off(planes)

    return step


def time_fields(
    arguments: argparse.Namespace, device: torch.device, sources: Sequence[FieldSource]
) -> list[Row]:
    fields = [read_field(source) for source in sources]
    # Most of it is not the network's: fewer batches say as much.
    repeats = max(1, arguments.repeats // 4)
    rows = []
    for half in (False, True):
        segmenter = UNet(device=str(device), half=half)
        name = "half" if half else "float32"
        runs: dict[str, Callable[[], object]] = {
            f"UNet.segment, {name}, fields in memory": lambda of=segmenter: of.segment(fields),
            f"UNet.segment, {name}, with reading": lambda of=segmenter: of.segment(
                [read_field(source) for source in sources]
            ),
        }
        rows += [
            (what, median_s(run, device, repeats=repeats, warm_up=FIELDS_WARM_UP))
            for what, run in runs.items()
        ]
    return rows


def median_s(run: Callable[[], object], device: torch.device, *, repeats: int, warm_up: int) -> float:
    for _ in range(warm_up):
        run()
    seconds = []
    for _ in range(repeats):
        wait_for(device)
        start = time.perf_counter()
        run()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    raise SystemExit(main())
