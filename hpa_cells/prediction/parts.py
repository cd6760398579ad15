"""Parts of a prediction, each made by a machine of its own, and their way back together."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from hpa_cells.atomic import replaced_on_success
from hpa_cells.parquet import read_parquet
from hpa_cells.places import Place
from hpa_cells.provenance import Provenance, read_provenance
from hpa_cells.table import Column, cells_beside, field_shards

__all__ = ["Part", "finished_parts", "merged_rows", "provenance_of"]

_DONE_FILE = "part.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of the fields.

    Attributes
    ----------
    number
        From 1 to `of`.
    of
        How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that a text such as ``2/8`` names.

        Raises
        ------
        ValueError
            If it names none.

        Examples
        --------
        >>> Part.parse("2/8")
        Part(number=2, of=8)
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"part is {text!r}: give its number and how many there are, such as 2/8.")
        return cls(int(found[1]), int(found[2]))

    def has(self, field_id: str) -> bool:
        """Whether a field is of this part: of one part always, whatever other fields there are."""
        return zlib.crc32(field_id.encode()) % self.of == self.number - 1

    def folder(self, out: Place) -> Place:
        """Where its table is, below that of all."""
        return out / f"part-{self.number}-of-{self.of}"

    def begin(self, out: Place) -> None:
        """Take back that all were tried: there may be more of them than before."""
        (self.folder(out) / _DONE_FILE).unlink(missing_ok=True)

    def finish(self, out: Place) -> None:
        """Put on record that all its fields were tried."""
        with replaced_on_success(self.folder(out) / _DONE_FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def finished_parts(out: Place) -> list[Part]:
    """All parts of a folder.

    Raises
    ------
    FileNotFoundError
        If there is none, one is missing or not at its end.
    ValueError
        If they are of several divisions.
    """
    folders = [each for each in out.glob("part-*-of-*") if re.fullmatch(r"part-\d+-of-\d+", each.name)]
    found = {Part(*map(int, re.findall(r"\d+", each.name))) for each in folders}
    if not found:
        raise FileNotFoundError(
            f"{out} has no parts: make them with `hpa-cells predict part=1/8 out={out}` ..."
        )
    divisions = sorted({each.of for each in found})
    if len(divisions) > 1:
        raise ValueError(
            f"{out} has parts of {' and of '.join(map(str, divisions))}: move those away that do not count."
        )
    parts = [Part(number, divisions[0]) for number in range(1, divisions[0] + 1)]
    unfinished = [
        f"{each.number}/{each.of}" for each in parts if not (each.folder(out) / _DONE_FILE).is_file()
    ]
    if unfinished:
        raise FileNotFoundError(
            f"{len(unfinished)} of the {divisions[0]} parts in {out} are missing or not at their end: run "
            f"`hpa-cells predict` with part={unfinished[0]}"
            + (f", and with {', '.join(unfinished[1:])}." if unfinished[1:] else ".")
        )
    return parts


def provenance_of(folders: Sequence[Place]) -> Provenance | None:
    """The provenance of tables that are parts of one; None where no field is finished.

    Raises
    ------
    ValueError
        If two differ.
    """
    shards = [shard for folder in folders for shard in field_shards(folder)[:1]]
    if not shards:
        return None
    first = read_provenance(shards[0])
    for shard in shards[1:]:
        if differences := first.differences(read_provenance(shard)):
            raise ValueError(
                f"{shard.parent} was made with other settings than {shards[0].parent} ({'; '.join(differences)}): run "
                "it again with those of the others."
            )
    return first


def merged_rows(folders: Sequence[Place]) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """Cells and row of each field of several tables, by field id; one shard of each table is in memory."""
    places = [
        (field_id, number, path)
        for number, folder in enumerate(folders)
        for path in field_shards(folder)
        for field_id in read_parquet(path, columns=[Column.FIELD_ID])[Column.FIELD_ID]
    ]
    # Of each table the shard that was read last: the next field is most often there, too.
    at_hand: dict[int, tuple[Place, dict[str, tuple[pd.DataFrame, dict[str, Any]]]]] = {}
    for field_id, number, path in sorted(places, key=lambda each: each[:2]):
        if number not in at_hand or at_hand[number][0] != path:
            at_hand[number] = (path, _rows_of(path))
        yield at_hand[number][1][field_id]


def _rows_of(path: Place) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Field id -> its cells and its row, of a shard."""
    cells = read_parquet(cells_beside(path))
    positions = cells.groupby(Column.FIELD_ID).indices
    rows = [
        {str(name): value for name, value in row.items()} for row in read_parquet(path).to_dict("records")
    ]
    return {row[Column.FIELD_ID]: (cells.iloc[positions.get(row[Column.FIELD_ID], [])], row) for row in rows}
