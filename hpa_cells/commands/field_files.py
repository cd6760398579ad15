"""The files of the fields of a cross-fit, on record beside its table: what its models have seen is what is there.

ROUND/out_of_fold/field_files.csv    field_id, fingerprint: as they were when the first model began
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.fields import FieldSource
from hpa_cells.prediction import FAILURES_FILE
from hpa_cells.spreadsheet import guarded, plain_text
from hpa_cells.table import Column

__all__ = ["FIELD_FILES", "changed_fields", "failed_fields", "named", "note_files"]

FIELD_FILES: Final = "field_files.csv"
_FINGERPRINT: Final = "fingerprint"
_NUM_SHOWN: Final = 5


def note_files(table: Path, sources: Sequence[FieldSource], *, is_begun: bool) -> None:
    """Put the files of all labelled fields on record.

    Parameters
    ----------
    table
        Folder of the table ``out_of_fold``.
    sources
        The fields.
    is_begun
        Whether models have learned from them before: then these must be the fields and files on record, but for
        fields that failed.

    Raises
    ------
    ValueError
        If they are not.
    """
    now = {each.field_id: _fingerprint(each) for each in sources}
    then = _read(table)
    if then == now:
        # Not written again: for who cuts cells by this table, new files are new masks.
        return
    if is_begun and then is not None:
        _refuse_others(table, then, now)
    rows = pd.DataFrame({Column.FIELD_ID: list(now), _FINGERPRINT: list(now.values())})
    with replaced_on_success(table / FIELD_FILES) as temporary:
        guarded(rows).to_csv(temporary, index=False)


def changed_fields(table: Path, sources: Sequence[FieldSource]) -> list[str] | None:
    """Ids of the fields whose files are others than on record; None without a record.

    Other is what has another name, size or time of its last change, wherever it lies. Fields that failed are left
    out: the table says nothing of them.
    """
    then = _read(table)
    if then is None:
        return None
    failed = failed_fields(table)
    answered = [each for each in sources if each.field_id not in failed]
    return [each.field_id for each in answered if then.get(each.field_id) != _fingerprint(each)]


def failed_fields(table: Path) -> frozenset[str]:
    """Ids of the fields that the table lacks because they failed."""
    path = table / FAILURES_FILE
    if not path.exists():
        return frozenset()
    return frozenset(map(plain_text, pd.read_csv(path, dtype=str, keep_default_na=False)[Column.FIELD_ID]))


def named(field_ids: Sequence[str]) -> str:
    """The first few, and whether there are more."""
    return ", ".join(field_ids[:_NUM_SHOWN]) + (" ..." if len(field_ids) > _NUM_SHOWN else "")


def _refuse_others(table: Path, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    since = f"since {table.parent} was begun"
    if moved := sorted(then.keys() ^ now.keys()):
        raise ValueError(
            f"{len(moved)} labelled fields have come or gone {since} ({named(moved)}), so that models would be asked "
            "about fields that they have learned from: restore the fields, or start anew with resume=false."
        )
    failed = failed_fields(table)
    changed = [each for each in now if now[each] != then[each] and each not in failed]
    if changed:
        raise ValueError(
            f"The files of {len(changed)} of {len(now)} fields have changed {since} ({named(changed)}), and its models "
            "have learned from them as they were: start anew with resume=false, or, if the images are the same and "
            f"only names or times of their files are not, remove {table / FIELD_FILES} to go on."
        )


def _fingerprint(source: FieldSource) -> str:
    """A name for the files of a field, wherever they lie: another one as soon as one of them has changed."""
    files = []
    for channel, file in sorted(source.files.items()):
        # A training refuses addresses.
        assert isinstance(file.path, Path)
        stat = file.path.stat()
        files.append([channel.color, file.name, stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def _read(table: Path) -> dict[str, str] | None:
    path = table / FIELD_FILES
    if not path.exists():
        return None
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(map(plain_text, rows[Column.FIELD_ID]), rows[_FINGERPRINT], strict=True))
