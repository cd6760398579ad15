"""On a cluster of two nodes, each a scheduler on this machine with processes of its own."""

import functools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem

import hpa_cells
from hpa_cells.fields import find_fields
from hpa_cells.models import load_models
from hpa_cells.places import place
from hpa_cells.prediction import (
    Failure,
    LocalRunner,
    PredictionSettings,
    RayRunner,
    ReadingMarks,
    StageTimes,
    predict_fields,
    ray_runner,
    segmentation_stages,
)
from hpa_cells.prediction.conveyor import Ended, Stage
from hpa_cells.prediction.stages import prediction_stages
from hpa_cells.segmentation import Precomputed
from hpa_cells.table import Column, Provenance, TableWriter

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'hpa-cells[distributed]'")

# Ray warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:::ray[.]", "ignore::ResourceWarning")

PROVENANCE = Provenance(version="1", class_set="hpa2021", source="model")
# A dead node is noticed sooner than by default.
NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node of one core, and of a GPU that is none, to which this process is connected."""
    from ray.cluster_utils import Cluster

    # The processes of the nodes do not find this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    node = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"_system_config": NOTICE})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def second_node(cluster: Any) -> Iterator[Any]:
    node = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


def odd(number: int) -> Failure:
    return Failure(field_id=str(number), stage="double", error="odd")


def arithmetic(
    *, num_threads: int, times: StageTimes, worst: Callable[[], Exception] | None = None
) -> list[Stage]:
    """Double, add 1, and say which process did; odd numbers end, and 6 raises the worst."""

    def end_odd(items: list[int]) -> list[Any]:
        return [Ended(odd(item)) if item % 2 else 2 * item for item in items]

    def add_one(items: list[int]) -> list[Any]:
        if worst is not None and 12 in items:
            raise worst()
        return [(item + 1, os.getpid()) for item in items]

    return [
        Stage(name="double", work=end_odd, num_threads=num_threads, time=times.of("double", num_threads)),
        Stage(name="add", work=add_one, batch_size=3, time=times.of("add", 1), is_network=True),
        Stage(name="look", work=list, time=times.of("look", num_threads)),
    ]


def numbers(outcomes: list[Any]) -> list[Any]:
    return [int(each.field_id) if isinstance(each, Failure) else each[0] for each in outcomes]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("gpus", "fields_a_task"), [(0, 1), (0, 5), (None, 5)])
def test_outcomes_come_in_order(gpus: int | None, fields_a_task: int) -> None:
    times = StageTimes()
    runner = RayRunner(gpus=gpus, fields_a_task=fields_a_task)
    outcomes = list(runner.run(range(17), arithmetic, times=times))
    assert numbers(outcomes) == [number if number % 2 else 2 * number + 1 for number in range(17)]
    assert os.getpid() not in {pid for _, pid in outcomes[::2]}
    assert [(name, each.num_items) for name, each in times.items()] == [
        ("double", 17),
        ("add", 9),
        ("look", 9),
    ]


class StrangeError(Exception):
    """One that cannot be sent."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("gpus", "worst", "expected"),
    [
        (
            None,
            functools.partial(OSError, 28, "No space left on device"),
            (OSError, "No space left on device"),
        ),
        (
            0,
            functools.partial(StrangeError, "out of", "order"),
            (RuntimeError, "StrangeError: out of order"),
        ),
    ],
)
def test_an_error_comes_in_its_turn(
    gpus: int | None, worst: Callable[[], Exception], expected: tuple[type, str]
) -> None:
    way = functools.partial(arithmetic, worst=worst)
    outcomes = RayRunner(gpus=gpus).run(range(12), way, times=StageTimes())
    # A batch of the network's may hold others too.
    seen: list[Any] = []
    with pytest.raises(expected[0], match=expected[1]):
        seen.extend(outcomes)
    assert numbers(seen) == [1, 1, 5, 3, 9, 5][: len(seen)]


@pytest.fixture(scope="module")
def many_fields(small_world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twenty-five fields, of which two are broken, and their masks."""
    root = tmp_path_factory.mktemp("many")
    fields, masks = root / "fields", root / "masks"
    for number in range(5):
        for path in [*small_world.fields.iterdir(), *small_world.masks.iterdir()]:
            place = fields if path.parent == small_world.fields else masks
            place.mkdir(exist_ok=True)
            shutil.copy(path, place / path.name.replace("f", f"f{number}", 1))
    (fields / "f02_red.png").write_bytes(b"no image")
    (masks / "f31_cells.png").unlink()
    return fields, masks


@pytest.fixture
def predict(
    many_fields: tuple[Path, Path], small_world: Any, tmp_path: Path
) -> Callable[..., tuple[list[Any], dict[str, bytes]]]:
    """Predict them: outcomes, and the files of the table."""

    def run(name: str, **changes: Any) -> tuple[list[Any], dict[str, bytes]]:
        fields, masks = many_fields
        watch = changes.pop("watch", lambda _: None)
        with TableWriter(tmp_path / name, provenance=PROVENANCE, shard_fields=4) as writer:
            arguments = {
                "segmenter": Precomputed(folder=masks),
                "models": load_models(small_world.model),
                "settings": PredictionSettings(device="cpu"),
                "runner": RayRunner(fields_a_task=1),
            } | changes
            outcomes = []
            for outcome in predict_fields(find_fields(fields), writer=writer, **arguments):
                outcomes.append(outcome)
                watch(outcomes)
        return outcomes, {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    return run


# Without a GPU, on two nodes: see the one that is killed.
@pytest.mark.usefixtures("cluster")
def test_the_table_is_the_local_one_to_the_byte_also_by_way_of_a_gpu(predict: Any) -> None:
    outcomes, files = predict("ray")
    assert (outcomes, files) == predict("local", runner=LocalRunner())
    assert [(each.field_id, each.stage) for each in outcomes if isinstance(each, Failure)] == [
        ("f02", "read"),
        ("f31", "segment"),
    ]
    assert len(files) == 13


@dataclass(frozen=True, kw_only=True)
class Slow(Precomputed):
    """Takes its time, and tells where each field was seen."""

    seen: Path

    def segment(self, fields: Any) -> Any:
        where = ray.get_runtime_context().get_node_id()
        (self.seen / f"{fields[0].field_id}-{where}").touch()
        time.sleep(0.4)
        return Precomputed.segment(self, fields)


def test_a_node_that_is_killed_in_the_middle(
    predict: Any, cluster: Any, second_node: Any, many_fields: tuple[Path, Path], tmp_path: Path
) -> None:
    slow = Slow(folder=many_fields[1], seen=tmp_path / "seen")
    slow.seen.mkdir()

    def seen_there() -> set[str]:
        return {path.name.split("-")[0] for path in slow.seen.glob(f"*-{second_node.node_id}")}

    def kill(outcomes: list[Any]) -> None:
        if seen_there() and second_node in cluster.list_all_nodes():
            cluster.remove_node(second_node, allow_graceful=False)

    outcomes, files = predict("ray", segmenter=slow, runner=RayRunner(gpus=0, fields_a_task=1), watch=kill)
    assert second_node not in cluster.list_all_nodes()
    assert 0 < len(seen_there()) < 20
    assert (outcomes, files) == predict("local", runner=LocalRunner())


def register_shared_store() -> None:
    """In this process: the disk of this machine as a store, at ``shared://``."""

    class SharedStore(LocalFileSystem):
        protocol = "shared"

        def __init__(self, **options: Any) -> None:
            super().__init__(auto_mkdir=True, **options)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(LocalFileSystem._strip_protocol(path.removeprefix("shared://")))

    fsspec.register_implementation("shared", SharedStore, clobber=True)


def deadly_for_f2(*, num_threads: int, times: StageTimes, stages: Any) -> list[Stage]:
    """Stages in a process where to read f2 is fatal."""
    from hpa_cells.prediction import reading_marks, segmenting

    def read(source: Any, **settings: Any) -> Any:
        if source.field_id == "f2":
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(source, **settings)

    register_shared_store()
    plain = getattr(segmenting.read_field, "plain", segmenting.read_field)
    read.plain = plain  # type: ignore[attr-defined]
    if ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
        segmenting.read_field = read  # type: ignore[assignment]
        end = reading_marks._end_of_reading
        reading_marks._end_of_reading = lambda source: "ends it" if source.field_id == "f2" else end(source)
    return stages(num_threads=num_threads, times=times)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("cluster")
def test_a_field_that_ends_its_process(small_world: Any, tmp_path: Path) -> None:
    register_shared_store()
    with ReadingMarks(place(f"shared://{tmp_path}")) as marks:
        # One that was being read when a machine went down, and is well.
        (tmp_path / ".reading").mkdir(exist_ok=True)
        (tmp_path / ".reading" / "f0").touch()
        stages = functools.partial(
            segmentation_stages,
            Precomputed(folder=small_world.masks),
            lambda field, _: field.field_id,
            pixel_size_um=None,
            num_fields=1,
            marks=marks,
        )
        way = functools.partial(deadly_for_f2, stages=stages)
        outcomes = list(
            RayRunner(gpus=0, fields_a_task=2).run(find_fields(small_world.fields), way, times=StageTimes())
        )
    assert [each for each in outcomes if isinstance(each, str)] == ["f0", "f1", "f3", "f4"]
    assert (outcomes[2].field_id, outcomes[2].stage) == ("f2", "survive")
    assert [path.name for path in (tmp_path / ".reading").iterdir()] == ["f2"]


@pytest.mark.usefixtures("cluster")
def test_by_its_name_and_from_a_relative_path(
    small_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_world.fields.parent)
    settings = {
        "fields": small_world.fields.name,
        "segmenter": "precomputed",
        "segmenter.folder": small_world.masks,
    }
    for runner, more in (("local", {}), ("ray", {"runner.gpus": 0})):
        chosen = settings | {"runner": runner} | more
        hpa_cells.predict(out=tmp_path / runner, model=small_world.model, **chosen)
        hpa_cells.segment(out=tmp_path / f"{runner}-masks", **chosen)
    for folder in ("{}", "{}-masks"):
        local, on_ray = (tmp_path / folder.format(runner) for runner in ("local", "ray"))
        assert {path.name: path.read_bytes() for path in local.iterdir()} == {
            path.name: path.read_bytes() for path in on_ray.iterdir()
        }
    assert len(list(on_ray.iterdir())) > 10


_SIGTERM = """
import signal
from hpa_cells.prediction.ray_cluster import connected

handler = lambda *_: None
signal.signal(signal.SIGTERM, handler)
with connected(None):
    import ray
    assert signal.getsignal(signal.SIGTERM) is handler
    print(len(ray.nodes()), ray.cluster_resources().get("GPU"))
"""


@pytest.mark.usefixtures("cluster")
def test_without_an_address_a_cluster_that_is_there_is_left_alone_and_sigterm_too() -> None:
    ended = subprocess.run([sys.executable, "-c", _SIGTERM], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["1", "None"], ended.stderr


def test_where_no_cluster_is_nobody_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("It would wait for a minute."))
    with socket.socket() as free:
        free.bind(("", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    caplog.set_level("INFO")
    with pytest.raises(
        ConnectionError, match=f"No Ray cluster answers at {address} .*: check runner.address"
    ):
        list(RayRunner(address=address).run([1], arithmetic, times=StageTimes()))
    assert f"Connecting to the Ray cluster at {address}" in caplog.text
    with pytest.raises(ValueError, match=r"runner.address is host:x: give auto, or host and port"):
        list(RayRunner(address="host:x").run([1], arithmetic, times=StageTimes()))


def remembering(*, num_threads: int, times: StageTimes) -> list[Stage]:
    """A network that warns at its first batch of how small the memory is; gives what it was called with so far."""
    seen: list[int] = []

    def infer(items: list[int]) -> list[Any]:
        if not seen:
            logging.getLogger("hpa_cells.prediction.memory").warning("The memory is too small.")
        seen.extend(items)
        return [len(seen)] * len(items)

    return [Stage(name="infer", work=infer, time=times.of("infer", num_threads), is_network=True)]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("gpus", [None, 0])
def test_a_process_on_a_gpu_keeps_what_it_has_learned_and_tells_it_once(
    caplog: pytest.LogCaptureFixture, gpus: int | None
) -> None:
    times = StageTimes()
    found = list(RayRunner(gpus=gpus, fields_a_task=3).run(range(9), remembering, times=times))
    assert max(found) == (9 if gpus is None else 3)
    assert [each.getMessage() for each in caplog.records] == ["On the cluster: The memory is too small."]
    assert times["infer"].num_items == 9


def with_its_gpus(*, num_threads: int, times: StageTimes, stages: Any) -> list[Stage]:
    """Stages in processes of which those with a GPU take the CPU for it."""
    from hpa_cells.prediction import stages as module

    plain = getattr(module.pick_device, "plain", module.pick_device)

    def pick_device(name: str) -> Any:
        return plain("cpu" if ray.get_gpu_ids() else name)

    pick_device.plain = plain  # type: ignore[attr-defined]
    module.pick_device = pick_device
    return stages(num_threads=num_threads, times=times)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_the_gpu_is_asked_for_where_it_is(small_world: Any) -> None:
    settings = PredictionSettings(device="cuda")
    segmenter = Precomputed(folder=small_world.masks)
    way = functools.partial(prediction_stages, segmenter, load_models(small_world.model), settings)
    sources = find_fields(small_world.fields)
    faked = functools.partial(with_its_gpus, stages=way)
    outcomes = list(RayRunner().run(sources, faked, times=StageTimes()))
    assert [each.field[Column.FIELD_ID] for each in outcomes] == [each.field_id for each in sources]
    # Where no machine has one, that is said.
    with pytest.raises(ValueError, match=r"Device 'cuda' is not there"):
        list(RayRunner(gpus=0).run(sources, way, times=StageTimes()))


def test_what_ray_says_is_told_in_a_line() -> None:
    class Lost:
        def iter_rows(self) -> Iterator[Any]:
            yield {"parcel": b"1"}
            raise ray.exceptions.RaySystemError("\n head is gone \n and more")

    rows = ray_runner._rows(Lost())
    assert next(rows) == b"1"
    with pytest.raises(ConnectionError, match=r"^Ray cannot go on \(RaySystemError: .*: see its logs\.$"):
        next(rows)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hpa-cells\[distributed\]'"):
        list(RayRunner().run([1], arithmetic, times=StageTimes()))


@pytest.mark.parametrize(("name", "number"), [("gpus", -1), ("fields_a_task", 0)])
def test_numbers_make_sense(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"runner.{name} is {number}: give"):
        RayRunner(**{name: number})
