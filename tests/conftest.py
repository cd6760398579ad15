"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import hypothesis
import numpy as np
import pytest

from hpa_cells.places import place

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("hpa_cells", deadline=None)
hypothesis.settings.load_profile("hpa_cells")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real HPA fields, masks and labels, where the environment variable names one."""
    folder = os.environ.get("HPA_CELLS_REAL_DATA")
    if not folder:
        pytest.skip("HPA_CELLS_REAL_DATA is unset: it names the folder of real HPA fields")
    return Path(folder).resolve()


class NoCredentialsError(Exception):
    """As the packages of stores have them: of no family with OSError."""


class Bucket(fsspec.AbstractFileSystem):
    """What all object stores have in common, and no more: no folders, no locks, and objects that appear whole.

    There is one bucket, called ``bucket``, and one called ``locked``. Listings are kept until they are asked to be
    anew, as stores do.
    """

    protocol = "s3"
    objects: dict[str, bytes]
    requests: list[tuple[str, str]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.objects, self.requests = {}, []

    def _asked(self, verb: str, path: str) -> str:
        path = self._strip_protocol(path)
        self.requests.append((verb, path))
        if path.split("/")[0] == "locked":
            raise NoCredentialsError("Unable to locate credentials")
        if path.split("/")[0] != "bucket":
            raise FileNotFoundError("The specified bucket does not exist")
        return path

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        assert detail
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = self._listing(self._asked("LIST", path))
        if not self.dircache[path]:
            raise FileNotFoundError(path)
        return self.dircache[path]

    def _listing(self, path: str) -> list[dict[str, Any]]:
        if path in self.objects:
            return [{"name": path, "size": len(self.objects[path]), "type": "file"}]
        below = [each[len(path) + 1 :] for each in self.objects if each.startswith(f"{path}/")]
        folders = {each.split("/")[0] for each in below if "/" in each}
        return [
            {"name": f"{path}/{each}", "size": len(self.objects[f"{path}/{each}"]), "type": "file"}
            for each in below
            if "/" not in each
        ] + [{"name": f"{path}/{each}", "size": 0, "type": "directory"} for each in folders]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        for each in self.dircache.get(self._parent(path), []):
            if each["name"] == path:
                return dict(each)
        listed = self._listing(self._asked("HEAD", path))
        if not listed:
            raise FileNotFoundError(path)
        is_file = listed[0]["name"] == path
        return dict(listed[0]) if is_file else {"name": path, "size": 0, "type": "directory"}

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.pop(path, None)
        self.dircache.pop(self._parent(path or ""), None)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path = self._asked("GET", path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path][start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        path = self._asked("PUT", path)
        self.invalidate_cache(path)
        self.objects[path] = value

    def rm_file(self, path: str) -> None:
        path = self._asked("DELETE", path)
        self.invalidate_cache(path)
        self.objects.pop(path, None)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        raise AssertionError("this would make a bucket of each misspelt one")

    makedirs = mkdir


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An object store at ``s3://``, in the memory of this process; empty but for its buckets."""
    from hpa_cells import addresses

    known = fsspec.get_filesystem_class
    monkeypatch.setattr(fsspec, "get_filesystem_class", lambda name: Bucket if name == "s3" else known(name))
    caches = (addresses.file_system, addresses._connected)
    for cache in caches:
        cache.cache_clear()
    yield addresses._connected(addresses.file_system("s3"), frozenset(), os.getpid())
    for cache in caches:
        cache.cache_clear()
    Bucket.clear_instance_cache()


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """The file system of fsspec at ``memory://``, which is one for the whole process; empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(params=["s3://bucket", "memory://bucket"])
def far(request: pytest.FixtureRequest) -> Far:
    """Each of both stores."""
    request.getfixturevalue("bucket" if request.param.startswith("s3") else "memory")
    return Far(request.param)


@dataclass(frozen=True, slots=True)
class Far:
    """A place of files that is not on this machine."""

    url: str

    def put(self, folder: Path, name: str) -> str:
        """Put up the files of a folder; the address of their new one."""
        for path in folder.iterdir():
            if path.is_file():
                place(f"{self.url}/{name}/{path.name}").write_bytes(path.read_bytes())
        return f"{self.url}/{name}"

    def files(self, name: str) -> dict[str, bytes]:
        """The files in a folder by name."""
        return {file.name: file.read_bytes() for file in place(f"{self.url}/{name}").files()}


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallWorld:
    """A few small fields on disk, their cells, and a model that was never trained."""

    fields: Path
    masks: Path
    model: Path
    num_cells: dict[str, int]


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Five fields of 48 x 72 px with 0 to 7 square cells, whose ids have gaps and go beyond 8 and 16 bit."""
    import torch

    from hpa_cells.classes import get_class_set
    from hpa_cells.fields import write_field
    from hpa_cells.models import CellClassifier, Checkpoint, ClassifierSettings, save_checkpoint
    from hpa_cells.segmentation import write_segmentation
    from hpa_cells.types import Field, Segmentation

    root = tmp_path_factory.mktemp("small_world")
    num_cells = {"f0": 3, "f1": 0, "f2": 7, "f3": 1, "f4": 5}
    for index, (field_id, number) in enumerate(num_cells.items()):
        cells = np.zeros((48, 72), dtype=np.int32)
        for cell in range(number):
            top, left = 16 * (cell % 3), 24 * (cell // 3)
            cells[top : top + 12, left : left + 18] = 7 + 293 * cell + 70_000 * (index == 4)
        nuclei = np.where(np.roll(cells, (3, 4), axis=(0, 1)) == cells, cells, 0)
        image = np.random.default_rng(index).integers(0, 200, (4, 48, 72), dtype=np.uint8)
        image[2] = np.where(nuclei > 0, 250, 5)
        write_field(Field(field_id=field_id, image=image, pixel_size_um=0.5), root / "fields")
        write_segmentation(
            Segmentation(field_id=field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5), root / "masks"
        )
    torch.manual_seed(0)
    encoder_options = {"channels": [8, 8, 8, 8], "stem_width": 8}
    model = CellClassifier(
        ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=encoder_options)
    ).eval()
    for head in (model.cell_head, model.field_head):
        # Random heads say 0.5 of everything: these say something of each cell.
        torch.nn.init.normal_(head.weight, std=3.0)
    save_checkpoint(
        root / "model",
        Checkpoint(
            model=model,
            class_set=get_class_set("hpa2021"),
            crop_settings={"size_px": 32, "masked": True, "um_per_px": None, "margin": 0.03},
            thresholds=np.linspace(0.1, 0.9, 19, dtype=np.float32),
        ),
    )
    return SmallWorld(fields=root / "fields", masks=root / "masks", model=root / "model", num_cells=num_cells)
