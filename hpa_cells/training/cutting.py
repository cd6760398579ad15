"""Cutting the cells of all training fields: read, segment, crop, store; several processes, resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import Progress, track

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.segmentation import Segmenter
from hpa_cells.training.crop_store import CropStore, ShardPaths, open_store, write_shard
from hpa_cells.types import CellCrops

__all__ = ["CuttingSettings", "cut_fields"]

log = logging.getLogger(__name__)

_FIELDS_PER_SHARD = 16
_NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class CuttingSettings:
    """How fields become crops.

    Attributes
    ----------
    segmenter
        What finds the cells.
    segmenter_settings
        The same in words: part of the store's name.
    crops
        How cells are cut.
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
    crops: CropSettings
    pixel_size_um: float | None
    broken: str
    workers: int


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


def cut_fields(folder: Path, sources: Sequence[FieldSource], settings: CuttingSettings) -> CropStore:
    """Cut the cells of these fields, or find them already cut.

    Parameters
    ----------
    folder
        The store; may hold crops of other fields and settings too.
    sources
        The fields.
    settings
        How to cut.

    Returns
    -------
    CropStore
        Of all fields in which there is a cell.

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
        _Job(sources=chunk, folder=folder, name=_chunk_name(chunk), settings=settings) for chunk in chunks
    ]
    missing = [job for job in jobs if job.find() is None]
    if missing:
        settings.segmenter.prepare()
        problems = list(_run(missing, settings.workers))
        _tell(problems, settings.broken, num_fields=len(ordered))
    # Of a shard whose fields are all broken, and dropped, nothing is written.
    store = open_store([paths for job in jobs if (paths := job.find()) is not None])
    num_empty = len(ordered) - store.cells["field_id"].nunique()
    if num_empty:
        reason = "in which no cell was found" + (
            "" if settings.broken == "refuse" else ", or that are broken"
        )
        log.warning("Left out %d of %d fields, %s.", num_empty, len(ordered), reason)
    return store


def _run(jobs: list[_Job], workers: int) -> Iterator[str]:
    """Cut the shards; yields a line for each broken field."""
    console = Console(stderr=True)
    if workers <= 1:
        for job in track(jobs, "Cutting cells", console=console):
            yield from _cut_shard(job)
        return
    # A forked copy of a process in which torch has run its threads can hang: start afresh.
    context = multiprocessing.get_context("spawn")
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent) as pool,
    ):
        task = progress.add_task("Cutting cells", total=len(jobs))
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
    crops: list[CellCrops] = []
    problems: list[str] = []
    for source in job.sources:
        try:
            field = read_field(source, pixel_size_um=job.settings.pixel_size_um)
            [segmentation] = job.settings.segmenter.segment([field])
            crops.append(crop_cells(field, segmentation, job.settings.crops))
        except (ValueError, TypeError, OSError) as error:
            problems.append(str(error))
    if crops and (not problems or job.settings.broken == "drop"):
        write_shard(job.rest if problems else job.whole, crops)
    return problems


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
        "segmenter": settings.segmenter_settings,
        "crops": asdict(settings.crops),
        "pixel_size_um": settings.pixel_size_um,
    }
    name = _hash(description)
    with replaced_on_success(folder / name / "settings.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return name


def _chunk_name(chunk: Sequence[FieldSource]) -> str:
    """Name of the shard of these fields: another one as soon as one of their files has changed."""
    files = [
        [source.field_id, channel.color, str(file), file.path.stat().st_size, file.path.stat().st_mtime_ns]
        for source in chunk
        for channel, file in sorted(source.files.items())
    ]
    return _hash(files)


def _hash(description: object) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
