"""Reading a CSV so that whatever is wrong can be told with its line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import IO

from hpa_cells.places import Address, Place

__all__ = ["Rows", "read_rows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The content of a CSV.

    Attributes
    ----------
    path
        Where it was read from.
    header
        Names of the columns.
    lines
        Line number of each row, counted from 1, the header's.
    cells
        The texts of each row, as many as the header has.
    """

    path: Place
    header: list[str]
    lines: list[int]
    cells: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The texts of a column."""
        position = self.header.index(name)
        return [cells[position] for cells in self.cells]

    def unique(self, name: str) -> list[str]:
        """The texts of a column in which none may be empty or twice.

        Raises
        ------
        ValueError
            With file, line and text.
        """
        line_of_text: dict[str, int] = {}
        for line, text in zip(self.lines, self.column(name), strict=True):
            if not text:
                raise ValueError(f"{self.path}, line {line}: {name} is empty.")
            if text in line_of_text:
                first = line_of_text[text]
                raise ValueError(
                    f"{self.path}, line {line}: {name} {text!r} is in line {first} too: keep one."
                )
            line_of_text[text] = line
        return list(line_of_text)


def read_rows(path: Place) -> Rows:
    """Read a CSV with a header; empty lines are left out.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If it is not UTF-8 text, not a CSV, or a row has more or fewer cells than the header.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, expected a CSV.")
    rows = Rows(path=path, header=[], lines=[], cells=[])
    try:
        with _opened(path) as stream:
            reader = csv.reader(stream)
            rows.header.extend(next(reader, []))
            for cells in filter(None, reader):
                rows.lines.append(reader.line_num)
                rows.cells.append(cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV in UTF-8 ({error}): save it again as one.") from error
    for line, cells in zip(rows.lines, rows.cells, strict=True):
        if len(cells) != len(rows.header):
            raise ValueError(
                f"{path}, line {line}: found {len(cells)} columns, expected {len(rows.header)} "
                f"({', '.join(rows.header)})."
            )
    return rows


def _opened(path: Place) -> IO[str]:
    if isinstance(path, Address):
        return io.TextIOWrapper(io.BytesIO(path.read_bytes()), newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")
