"""Making all training fields ready: read, segment, crop or resize, store; several processes, resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
from rich.progress import Progress, track

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import (
    CropSettings,
    FieldViewSettings,
    SquareSettings,
    crop_cells,
    cut_squares,
    view_field,
)
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.segmentation import Segmenter
from hpa_cells.shown import bar_console
from hpa_cells.training.crop_store import ShardPaths, open_store, write_shard
from hpa_cells.training.field_store import CellStore, open_field_store, write_field_shard
from hpa_cells.types import CellCrops, Field, FieldView

__all__ = ["CuttingSettings", "cut_fields", "fields_fingerprint", "masks_fingerprint"]

log = logging.getLogger(__name__)

_FIELDS_PER_SHARD = 16
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Way:
    """What is done for one kind of view: for a shard, and at the end."""

    write: Callable[..., None]
    open: Callable[[Sequence[ShardPaths]], CellStore]
    # Of the view in the description of a store.
    name: str


_WAYS: Final[dict[type, _Way]] = {
    CropSettings: _Way(write_shard, open_store, "crops"),
    FieldViewSettings: _Way(write_field_shard, open_field_store, "field_view"),
    SquareSettings: _Way(write_shard, open_store, "squares"),
}


@dataclass(frozen=True, kw_only=True)
class CuttingSettings:
    """How fields become what a network sees.

    Attributes
    ----------
    segmenter
        What finds the cells; squares do without.
    segmenter_settings
        The same in words: part of the store's name, but for squares.
    view
        How cells are cut, how whole fields are shown, or how these are cut into squares.
    pixel_size_um
        Side of a pixel where the files do not say, in um; None for the usual assumption.
    broken
        What becomes of a field that cannot be read or segmented: ``refuse`` raises after all others are cut,
        ``drop`` leaves it out and says so.
    workers
        Number of processes.
    """

    segmenter: Segmenter
    segmenter_settings: dict[str, Any]
    view: CropSettings | FieldViewSettings | SquareSettings
    pixel_size_um: float | None
    broken: str
    workers: int

    @property
    def finds_cells(self) -> bool:
        """Whether the view is one of cells."""
        return not isinstance(self.view, SquareSettings)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One shard to cut."""

    sources: Sequence[FieldSource]
    folder: Path
    name: str
    settings: CuttingSettings

    @property
    def whole(self) -> ShardPaths:
        """Where the cells of all its fields are."""
        return ShardPaths.of(self.folder, self.name)

    @property
    def rest(self) -> ShardPaths:
        """Where the cells of the others are, should fields be broken and dropped."""
        return ShardPaths.of(self.folder, f"{self.name}_rest")

    def find(self) -> ShardPaths | None:
        """What was cut before, as far as it will do."""
        good_enough = [self.whole] if self.settings.broken == "refuse" else [self.whole, self.rest]
        return next((paths for paths in good_enough if paths.is_written), None)


def cut_fields(folder: Path, sources: Sequence[FieldSource], settings: CuttingSettings) -> CellStore:
    """Make these fields ready, or find what was made before.

    Parameters
    ----------
    folder
        The store; may hold crops and views of other fields and settings too.
    sources
        The fields.
    settings
        How to cut.

    Returns
    -------
    CropStore or FieldStore
        Of all fields in which there is a cell, as `settings.view` says; of squares, of all that are not broken.

    Raises
    ------
    ValueError
        If a field is broken and ``settings.broken`` is ``refuse``, or no field has a cell.
    ValueError, OSError
        If the segmenter lacks what it needs for any field.
    """
    folder = folder / _describe(folder, settings)
    ordered = sorted(sources, key=lambda source: source.field_id)
    chunks = [
        ordered[start : start + _FIELDS_PER_SHARD] for start in range(0, len(ordered), _FIELDS_PER_SHARD)
    ]
    jobs = [
        _Job(sources=chunk, folder=folder, name=fields_fingerprint(chunk), settings=settings)
        for chunk in chunks
    ]
    missing = [job for job in jobs if job.find() is None]
    if missing:
        if settings.finds_cells:
            settings.segmenter.prepare()
        problems = list(_run(missing, settings.workers))
        _tell(problems, settings.broken, num_fields=len(ordered))
    # Of a shard whose fields are all broken, and dropped, nothing is written.
    found = [paths for job in jobs if (paths := job.find()) is not None]
    store = _WAYS[type(settings.view)].open(found)
    num_empty = len(ordered) - store.cells["field_id"].nunique()
    if num_empty:
        reasons = ["in which no cell was found"] if settings.finds_cells else []
        reasons += ["that are broken"] if settings.broken == "drop" else []
        log.warning("Left out %d of %d fields, %s.", num_empty, len(ordered), ", or ".join(reasons))
    return store


def _run(jobs: list[_Job], workers: int) -> Iterator[str]:
    """Cut the shards; yields a line for each broken field."""
    console = bar_console()
    title = "Cutting cells" if jobs[0].settings.finds_cells else "Cutting squares"
    if workers <= 1:
        for job in track(jobs, title, console=console):
            yield from _cut_shard(job)
        return
    # A forked copy of a process in which torch has run its threads can hang: start afresh.
    context = multiprocessing.get_context("spawn")
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent) as pool,
    ):
        task = progress.add_task(title, total=len(jobs))
        try:
            for done in as_completed([pool.submit(_cut_shard, job) for job in jobs]):
                yield from done.result()
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cut_shard(job: _Job) -> list[str]:
    """Cut and write one shard, unless a field of it is broken and that is refused."""
    # The processes already share the cores.
    cv2.setNumThreads(1)
    cut: list[CellCrops | FieldView] = []
    problems: list[str] = []
    for source in job.sources:
        try:
            field = read_field(source, pixel_size_um=job.settings.pixel_size_um)
            cut.append(_cut_field(field, job.settings))
        except (ValueError, TypeError, OSError) as error:
            problems.append(str(error))
    if cut and (not problems or job.settings.broken == "drop"):
        _WAYS[type(job.settings.view)].write(job.rest if problems else job.whole, cut)
    return problems


def _cut_field(field: Field, settings: CuttingSettings) -> CellCrops | FieldView:
    view = settings.view
    if isinstance(view, SquareSettings):
        return cut_squares(field, view, num=view.num_training)
    [segmentation] = settings.segmenter.segment([field])
    if isinstance(view, FieldViewSettings):
        return view_field(field, segmentation, view)
    return crop_cells(field, segmentation, view)


def _tell(problems: list[str], broken: str, *, num_fields: int) -> None:
    if not problems:
        return
    shown = " ".join(problems[:_NUM_SHOWN]) + (" ..." if len(problems) > _NUM_SHOWN else "")
    text = f"{len(problems)} of {num_fields} fields are broken: {shown}"
    if broken == "refuse":
        raise ValueError(f"{text} Mend or remove them, or leave them out with data.broken=drop.")
    log.warning("%s They are left out.", text)


def _describe(folder: Path, settings: CuttingSettings) -> str:
    """Name of the folder for these settings; they are written into it for whoever looks."""
    description = {
        "version": __version__,
        **(_segmenter(settings.segmenter_settings) if settings.finds_cells else {}),
        _WAYS[type(settings.view)].name: asdict(settings.view),
        "pixel_size_um": settings.pixel_size_um,
    }
    name = _hash(description)
    with replaced_on_success(folder / name / "settings.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return name


def _segmenter(settings: dict[str, Any]) -> dict[str, Any]:
    masks = masks_fingerprint(settings)
    return {"segmenter": settings} | ({} if masks is None else {"masks": masks})


def masks_fingerprint(segmenter: Mapping[str, Any]) -> str | None:
    """A name for the masks that a segmenter reads: another one as soon as a file has changed; None if it reads none."""
    if "folder" not in segmenter:
        return None
    found = [(each.name, each.stat()) for each in Path(segmenter["folder"]).glob("*") if each.is_file()]
    return _hash(sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in found))


def fields_fingerprint(fields: Sequence[FieldSource]) -> str:
    """A name for these fields, in this order: another one as soon as one of their files has changed."""
    files = []
    for source in fields:
        for channel, file in sorted(source.files.items()):
            # A training refuses addresses.
            assert isinstance(file.path, Path)
            stat = file.path.stat()
            files.append([source.field_id, channel.color, str(file), stat.st_size, stat.st_mtime_ns])
    return _hash(files)


def _hash(description: object) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
