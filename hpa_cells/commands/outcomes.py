"""What became of the fields of a command: a progress bar while it runs, and an honest end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.progress import field_progress
from hpa_cells.places import Place
from hpa_cells.prediction import FAILURES_FILE, Failure, StageTimes

__all__ = ["follow", "refuse_failures"]

log = logging.getLogger(__name__)


def follow(
    verb: str,
    outcomes: Iterable[object],
    failures: list[Failure],
    *,
    num_fields: int,
    times: StageTimes | None = None,
) -> None:
    """Run to the end, collecting failures as they come, so that they are on record also after a stop.

    Where the stages are timed, the bar names the one that holds up the others.
    """
    with field_progress(verb, num_fields) as progress:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                failures.append(outcome)
                progress.note(f"{outcome.field_id} failed to {outcome.stage}: {outcome.error}")
            progress.advance(limit=times.limit if times is not None else None)
    if times:
        log.info("Time by stage: %s.", times.summary())


def refuse_failures(out: Place, failures: Sequence[Failure], *, num_fields: int, cure: str = "") -> None:
    """End a command of which some fields failed; `cure` is a further sentence on what may be done.

    Raises
    ------
    FieldsFailedError
        If there are failures; it names their file and the first of them.
    """
    if failures:
        raise FieldsFailedError(
            f"{len(failures)} of {num_fields} fields failed; see {out / FAILURES_FILE}. "
            f"The first: {failures[0].error} The same command keeps the others and tries these again."
            f"{cure and ' '}{cure}"
        )
