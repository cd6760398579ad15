"""The bar that long work shows on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hpa_cells.shown import bar_console, shown

__all__ = ["FieldProgress", "field_progress"]


class FieldProgress:
    """What a command tells while it goes through its fields."""

    def __init__(self, progress: Progress, description: str, num_fields: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=num_fields, limit="")

    def advance(self, *, limit: str | None = None) -> None:
        """Count one more field, and name the stage that holds up the others, where one is known to."""
        self._progress.update(self._task, advance=1, limit=f"limit: {limit}" if limit else "")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(shown(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def field_progress(description: str, num_fields: int) -> Iterator[FieldProgress]:
    """Show a bar for `num_fields` fields, if any; where standard error is no terminal, its last state."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _FieldsPerSecond(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[limit]}"),
    )
    with Progress(*columns, console=bar_console(), disable=num_fields == 0) as progress:
        yield FieldProgress(progress, description, num_fields)


class _FieldsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        # Over the whole run: fields come out in batches, and a speed of the last few would jump.
        elapsed_s = task.finished_time or task.elapsed
        speed = task.completed / elapsed_s if elapsed_s else 0
        return Text(f"{speed:.2f} fields/s" if speed else "", style="progress.data.speed")
