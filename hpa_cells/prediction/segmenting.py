"""The stages between a field's files and its cells, for a runner to join.

    FieldSource -> read -> segment -> outline -> what is made of a field and its cells

What a stage hands on is small where many wait: pixels go as soon as they have been seen. On a CPU every field goes
through a network alone, so that its cells are the same, to the last bit, whatever other fields there are; on a GPU as
many together as wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hpa_cells.fields import FieldSource, read_field
from hpa_cells.prediction.conveyor import Ended, Stage
from hpa_cells.prediction.failures import Attempt, Failure, OfField, at_stage
from hpa_cells.prediction.reading_marks import FatalFieldError, ReadingMarks
from hpa_cells.prediction.stage_times import StageTimes
from hpa_cells.segmentation import NetworkSegmenter, Segmenter
from hpa_cells.types import Field, Segmentation

__all__ = ["make_stage", "segmentation_stages"]

T = TypeVar("T", bound=OfField)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Image:
    """A field, with what a segmenter's network sees of it, or has found in it."""

    field: Field
    of_network: Any = None

    @property
    def field_id(self) -> str:
        return self.field.field_id


def segmentation_stages(
    segmenter: Segmenter,
    finish: Callable[[Field, Segmentation], R],
    *,
    pixel_size_um: float | None,
    num_fields: int,
    marks: ReadingMarks | None = None,
    num_threads: int,
    times: StageTimes,
) -> list[Stage]:
    """From `FieldSource` to what `finish` makes of a field and its cells.

    Parameters
    ----------
    segmenter
        Finds the cells.
    finish
        Called from several threads; its errors are faults of the program, but for those `at_stage`.
    pixel_size_um
        Side of a pixel where a file does not say, in um; None for the rule of `hpa_cells.fields.read_field`.
    num_fields
        Number of fields a network on a GPU sees at once.
    marks
        Where is marked what is being read.
    num_threads
        Threads of a stage that works on a CPU.
    times
        Where the stages count.
    """
    add = partial(make_stage, times=times, num_threads=num_threads)
    marked: Callable[[FieldSource], AbstractContextManager[None]] = (
        _unmarked if marks is None else marks.reader()
    )
    read = partial(_read, pixel_size_um=pixel_size_um, marked=marked)
    if not isinstance(segmenter, NetworkSegmenter):
        return [
            add("read", partial(read, see=_nothing)),
            add(
                "outline",
                partial(_outline, find=partial(_segment, segmenter), finish=finish),
                prepare=segmenter.prepare,
            ),
        ]
    return [
        add("read", partial(read, see=segmenter.see)),
        add(
            "segment",
            partial(_infer, segmenter.infer),
            prepare=segmenter.prepare,
            is_network=True,
            gpu_batch=num_fields if segmenter.is_on_gpu else None,
        ),
        add("outline", partial(_outline, find=segmenter.find, finish=finish)),
    ]


def make_stage(
    name: str,
    function: Callable[[Sequence[T]], Sequence[R]],
    *,
    times: StageTimes,
    num_threads: int,
    prepare: Callable[[], object] = lambda: None,
    is_network: bool = False,
    gpu_batch: int | None = None,
    size_of: Callable[[T], int] = lambda _: 1,
) -> Stage:
    """Stage in which guilty fields end as a `Failure`; on a GPU one batch at a time, on a CPU single fields."""
    num_threads = num_threads if gpu_batch is None else 1
    return Stage(
        name=name,
        work=partial(_attempted, Attempt(function)),
        num_threads=num_threads,
        batch_size=gpu_batch or 1,
        size_of=size_of,
        time=times.of(name, num_threads),
        prepare=prepare,
        is_network=is_network,
    )


def _attempted(attempt: Attempt[T, R], items: Sequence[T]) -> list[R | Ended]:
    return [Ended(each) if isinstance(each, Failure) else each for each in attempt(items)]


def _read(
    sources: Sequence[FieldSource],
    *,
    pixel_size_um: float | None,
    marked: Callable[[FieldSource], AbstractContextManager[None]],
    see: Callable[[Field], Any],
) -> list[_Image]:
    images = []
    for source in sources:
        with at_stage("survive", (FatalFieldError,)), marked(source), at_stage("read"):
            field = read_field(source, pixel_size_um=pixel_size_um)
        with at_stage("segment"):
            images.append(_Image(field, see(field)))
    return images


def _unmarked(_: FieldSource) -> AbstractContextManager[None]:
    return nullcontext()


def _nothing(_: Field) -> None:
    """What is seen by no network."""


def _infer(infer: Callable[[Sequence[Any]], list[Any]], images: Sequence[_Image]) -> list[_Image]:
    with at_stage("segment"):
        found = infer([image.of_network for image in images])
    return [_Image(image.field, each) for image, each in zip(images, found, strict=True)]


def _outline(
    images: Sequence[_Image],
    *,
    find: Callable[[Field, Any], Segmentation],
    finish: Callable[[Field, Segmentation], R],
) -> list[R]:
    outlined = []
    for image in images:
        with at_stage("segment"):
            segmentation = find(image.field, image.of_network)
        outlined.append(finish(image.field, segmentation))
    return outlined


def _segment(segmenter: Segmenter, field: Field, _: None) -> Segmentation:
    [segmentation] = segmenter.segment([field])
    return segmentation
