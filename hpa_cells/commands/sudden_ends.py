"""What a run does about the sudden end of an earlier one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hpa_cells.fields import FieldSource
from hpa_cells.places import Address, Place
from hpa_cells.prediction import Failure, ReadingMarks, read_apart, suspects

__all__ = ["marked_while_read"]

log = logging.getLogger(__name__)


@contextmanager
def marked_while_read(
    out: Place, sources: Sequence[FieldSource], failures: list[Failure]
) -> Iterator[tuple[list[FieldSource], ReadingMarks | None]]:
    """Give the fields whose files no process will die of, and the marks for what is being read.

    Parameters
    ----------
    out
        Folder of the run, there already; of one writer. At an address nothing is marked.
    sources
        Fields to read.
    failures
        Those are added here whose files end the process that reads them.
    """
    found = suspects(out)
    doubtful = [source for source in sources if source.field_id in found]
    if doubtful:
        names = ", ".join(source.field_id for source in doubtful)
        log.info("An earlier run ended while it read %s: these are read apart first.", names)
    fatal = read_apart(doubtful)
    failures += fatal
    lost = {each.field_id for each in fatal}
    readable = [source for source in sources if source.field_id not in lost]
    if isinstance(out, Address):
        yield readable, None
        return
    with ReadingMarks(out) as marks:
        yield readable, marks
