"""The part of ``hpa-cells explore`` that writes what training shall make of its findings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.commands.tables import print_table
from hpa_cells.explore import REASON_COLUMNS, Doubt, weights_of_fields
from hpa_cells.fields import LabelTable
from hpa_cells.spreadsheet import guarded

__all__ = ["write_field_weights"]

log = logging.getLogger(__name__)

_FILE, _OTHER_FILE = "field_weights.csv", "field_weights.proposed.csv"


def write_field_weights(doubts: Sequence[Doubt], labels: LabelTable | None, out: Path) -> None:
    """Write ``field_weights.csv``, the setting ``data.review`` of a training, and print the gist.

    What a person made of an earlier proposal is never lost.

    Raises
    ------
    FileExistsError
        If other weights are in `out`; what is proposed is then beside them.
    """
    rows = weights_of_fields(doubts, None if labels is None else labels.field_ids)
    num_unlabelled = len({doubt.field_id for doubt in doubts} - set(rows["field_id"]))
    if num_unlabelled:
        log.info("%d fields with findings have no label: no weight is proposed for them.", num_unlabelled)
    text = guarded(rows).to_csv(index=False)
    path = out / _FILE
    if path.exists() and path.read_text(encoding="utf-8") != text:
        _write(text, out / _OTHER_FILE)
        raise FileExistsError(
            f"{path} holds other weights than this run proposes, edited ones or those of another run: they are kept, "
            f"and the new ones are in {_OTHER_FILE}. Bring both together, move the old ones elsewhere, or choose "
            "another `out`."
        )
    _write(text, path)
    _print_gist(rows, path)


def _write(text: str, path: Path) -> None:
    with replaced_on_success(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _print_gist(rows: pd.DataFrame, path: Path) -> None:
    if rows.empty:
        log.info("No field is in doubt: %s has no rows.", path)
        return
    found = [rows[rows[column] != ""] for column in REASON_COLUMNS]
    print_table(
        f"{len(rows):,} fields to look at: {path} (data.review of train)",
        pd.DataFrame(
            {
                "reason": [column.replace("_", " ") for column in REASON_COLUMNS],
                "fields": [len(each) for each in found],
                "left out": [int((each["weight"] == 0).sum()) for each in found],
                "drawn less often": [
                    int(each["weight"].between(0, 1, inclusive="neither").sum()) for each in found
                ],
            }
        ),
    )
