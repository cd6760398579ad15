"""How prediction grows with threads and with machines of a Ray cluster, and a plan for a thousand of them.

python benchmarks/scaling.py FIELDS                 # each field copied until there are 48
python benchmarks/scaling.py FIELDS --number 256

The nodes of the cluster are schedulers on this machine with processes of their own, each kept to a core of its own; the
process that asks and writes is on whichever is free. A speed is that of the fields by which a long run differs from one
a quarter as long, so that neither start nor end counts. The plan multiplies what was measured here: it is arithmetic,
not an experiment. Linux only.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpa_cells.fields import FieldSource, find_fields
from hpa_cells.models import load_models
from hpa_cells.prediction import (
    LocalRunner,
    PredictionSettings,
    RayRunner,
    Runner,
    StageTimes,
    predict_fields,
)
from hpa_cells.prediction.stages import FieldRows, prediction_stages
from hpa_cells.segmentation import UNet
from hpa_cells.table import Provenance, TableWriter

PROVENANCE = Provenance(version="benchmark", class_set="hpa2021", source="model")
PLAN_NODES, PLAN_CORES, PLAN_FIELDS = 1_000, 16, 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Of a field, measured here."""

    read_bytes: float
    written_bytes: float
    source_bytes: float
    rows_bytes: float
    # Of one core that predicts, and of the process that writes the rows of all.
    fields_per_s_a_core: float
    fields_per_s_written: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder of fields")
    parser.add_argument("--number", type=int, default=48, help="of fields (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    sources = copies(find_fields(arguments.fields), arguments.number)
    ways = {
        "one core": partial(local, num_cores=1),
        "two cores": partial(local, num_cores=2),
        "Ray, one node of one core": partial(on_ray, num_nodes=1),
        "Ray, two nodes of one core": partial(on_ray, num_nodes=2),
    }
    # In turn, since the machine has better and worse minutes.
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            with way() as runner:
                seconds[name].append(seconds_a_field(sources, runner))
            Console(stderr=True).print(f"{name}: {1 / seconds[name][-1]:.2f} fields/s")
    speeds = {name: 1 / statistics.median(each) for name, each in seconds.items()}

    table = Table(title=f"{len(sources)} fields, medians of {arguments.repeats}", title_justify="left")
    for column in ("", "fields/s", "times one core", "times one node"):
        table.add_column(column, justify="right" if column else "left")
    for name, speed in speeds.items():
        of_core, of_node = speed / speeds["one core"], speed / speeds["Ray, one node of one core"]
        table.add_row(name, f"{speed:.2f}", f"{of_core:.2f}", f"{of_node:.2f}")
    Console().print(table)
    Console().print(plan(costs(sources, speeds["Ray, one node of one core"])))


def copies(sources: list[FieldSource], number: int) -> list[FieldSource]:
    """The same files under many names."""
    numbered = zip(range(number), cycle(sources), strict=False)
    return [
        FieldSource(field_id=f"{index:06d}-{source.field_id}", files=source.files)
        for index, source in numbered
    ]


@contextmanager
def local(num_cores: int) -> Iterator[Runner]:
    """Threads of this process."""
    with kept_to(range(num_cores)):
        yield LocalRunner(workers=num_cores)


@contextmanager
def on_ray(num_nodes: int) -> Iterator[Runner]:
    """A cluster of nodes of one core."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    # What a node starts stays where the node is.
    with kept_to([0]):
        cluster = Cluster(initialize_head=True, head_node_args=node)
    for core in range(1, num_nodes):
        with kept_to([core]):
            cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    try:
        yield RayRunner(fields_a_task=4)
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def kept_to(cores: Iterable[int]) -> Iterator[None]:
    """All threads of this process, and all that they start, on these cores."""
    all_cores = os.sched_getaffinity(0)
    _keep_to(set(cores))
    try:
        yield
    finally:
        _keep_to(all_cores)


def _keep_to(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        # It may be gone by now.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def seconds_a_field(sources: list[FieldSource], runner: Runner) -> float:
    """Of the fields by which a long run differs from a short one."""
    few = sources[: len(sources) // 4]
    return (seconds_of(sources, runner) - seconds_of(few, runner)) / (len(sources) - len(few))


def seconds_of(sources: list[FieldSource], runner: Runner) -> float:
    models = load_models("shipped")
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        TableWriter(Path(folder), provenance=PROVENANCE) as writer,
    ):
        for _ in predict_fields(
            sources,
            segmenter=UNet(),
            models=models,
            writer=writer,
            settings=PredictionSettings(),
            runner=runner,
        ):
            pass
    return time.perf_counter() - start


def costs(sources: list[FieldSource], fields_per_s_a_core: float) -> Costs:
    """What the plan is made of."""
    few = sources[:8]
    way = partial(prediction_stages, UNet(), load_models("shipped"), PredictionSettings())
    rows: list[FieldRows] = list(LocalRunner(workers=1).run(few, way, times=StageTimes()))
    packed = [pickle.dumps(each) for each in rows]
    num_rounds = 50
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with TableWriter(Path(folder), provenance=PROVENANCE) as writer:
            for _ in range(num_rounds):
                for each in packed:
                    unpacked: FieldRows = pickle.loads(each)
                    writer.add(cells=unpacked.cells, field_row=unpacked.field)
        seconds = time.perf_counter() - start
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    num_written = num_rounds * len(packed)
    return Costs(
        read_bytes=sum(file.path.stat().st_size for each in few for file in each.files.values()) / len(few),
        written_bytes=written / num_written,
        source_bytes=sum(len(pickle.dumps(each)) for each in few) / len(few),
        rows_bytes=sum(map(len, packed)) / len(packed),
        fields_per_s_a_core=fields_per_s_a_core,
        fields_per_s_written=num_written / seconds,
    )


def plan(costs: Costs) -> Table:
    """What a thousand nodes would need."""
    speed = PLAN_NODES * PLAN_CORES * costs.fields_per_s_a_core
    nodes_a_writer = costs.fields_per_s_written / (PLAN_CORES * costs.fields_per_s_a_core)
    rows = {
        "fields a second": f"{speed:,.0f}",
        f"hours for {PLAN_FIELDS:,} fields": f"{PLAN_FIELDS / speed / 3600:.2f}",
        "read, GB/s": f"{speed * costs.read_bytes / 1e9:.1f}",
        "files opened a second": f"{4 * speed:,.0f}",
        "written, MB/s": f"{speed * costs.written_bytes / 1e6:.1f}",
        "table, GB": f"{PLAN_FIELDS * costs.written_bytes / 1e9:.0f}",
        "rows sent to the writing process, MB/s": f"{speed * costs.rows_bytes / 1e6:.0f}",
        "fields a second that one process writes": f"{costs.fields_per_s_written:,.0f}",
        "nodes that one process can write for": f"{nodes_a_writer:,.0f}",
        "list of fields in that process, MB": f"{PLAN_FIELDS * costs.source_bytes / 1e6:,.0f}",
    }
    table = Table(
        title=f"Plan: {PLAN_NODES:,} nodes of {PLAN_CORES} cores, by what was measured here",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    main()
