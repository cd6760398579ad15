"""``hpa-cells merge``: one cell table of the parts that several machines made."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from hpa_cells.commands.outcomes import refuse_failures
from hpa_cells.commands.progress import field_progress
from hpa_cells.places import place
from hpa_cells.prediction import write_failures
from hpa_cells.prediction.failures import read_failures
from hpa_cells.prediction.parts import finished_parts, merged_rows, provenance_of
from hpa_cells.table import Column, TableWriter, check_whole, count_fields

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write the cell table of all parts in `out`, and their failures; the parts stay.

    Raises
    ------
    FieldsFailedError
        If fields failed in a part; all others are in the table.
    FileNotFoundError, ValueError
        If a part is missing, not at its end, or was made with other settings.
    """
    out = place(cfg.out)
    folders = [part.folder(out) for part in finished_parts(out)]
    failures = [failure for folder in folders for failure in read_failures(folder)]
    failures.sort(key=lambda failure: failure.field_id)
    counts = [count_fields(folder) for folder in folders]
    for folder, number in zip(folders, counts, strict=True):
        check_whole(folder, num_fields=number)
    num_fields = sum(counts)
    provenance = provenance_of(folders)
    if provenance is not None:
        with (
            TableWriter(out, provenance=provenance, shard_fields=cfg.shard_fields) as writer,
            field_progress("merge", num_fields) as progress,
        ):
            for cells, row in merged_rows(folders):
                if row[Column.FIELD_ID] not in writer.finished:
                    writer.add(cells=cells, field_row=row)
                progress.advance()
    write_failures(out, failures)
    refuse_failures(
        out,
        failures,
        num_fields=num_fields + len(failures),
        cure="That is `hpa-cells predict` with the same `part`, then `hpa-cells merge` again.",
    )
    log.info("%s: %d fields of %d parts", out, num_fields, len(folders))
