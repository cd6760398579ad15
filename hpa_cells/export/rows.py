"""Rows of a submission, one at a time: a file of many gigabytes is never held as a whole."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hpa_cells.export.problem import Problem, shortened

__all__ = ["Row", "read_rows"]

# A field of 112 cells with 19 classes each is a value of some megabytes; the csv module stops at 128 KiB
# unless told. The largest value that every platform's C long can hold.
_LONGEST_VALUE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes
    ----------
    line
        Its line in the file, from 1 (the header).
    values
        As many as the header has.
    """

    line: int
    values: list[str]


def read_rows(path: Path, header: tuple[str, ...], problems: list[Problem]) -> Iterator[Row]:
    """Yield the well-formed rows of a UTF-8 CSV file; what is wrong with the others is added to `problems`.

    Empty lines are passed over. Nothing is yielded after a wrong header, since no value could be told from
    another.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    with path.open("rb") as file, _long_values():
        reader = csv.reader(_decoded_lines(file, problems), strict=True)
        header_is_due = True
        while True:
            try:
                values = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                problems.append(Problem(reader.line_num, "", "", f"The line is not CSV: {error}."))
                continue
            if header_is_due:
                header_is_due = False
                if tuple(values) != header:
                    problems.append(_wrong_header(values, header))
                    return
            elif values and _is_well_formed(values, reader.line_num, header, problems):
                yield Row(reader.line_num, values)
        if header_is_due and not problems:
            problems.append(
                Problem(None, "", "", f"The file is empty: its first line must be {','.join(header)}.")
            )


@contextmanager
def _long_values() -> Iterator[None]:
    """Let the csv module read values of any length; its limit holds for the process, so it is put back."""
    before = csv.field_size_limit(_LONGEST_VALUE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _decoded_lines(file: BinaryIO, problems: list[Problem]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 become lone surrogates, so that their row can be named."""
    for number, line in enumerate(file):
        if number == 0:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                problems.append(Problem(1, "", "", "The file is UTF-16: save it as UTF-8."))
                return
            if line.startswith(codecs.BOM_UTF8):
                problems.append(
                    Problem(1, "", "", "The file starts with a byte order mark: save it as plain UTF-8.")
                )
                line = line.removeprefix(codecs.BOM_UTF8)
        yield line.decode("utf-8", errors="surrogateescape")


def _wrong_header(values: list[str], header: tuple[str, ...]) -> Problem:
    return Problem(
        1, "", shortened(",".join(values)), f"The first line is not the header {','.join(header)}."
    )


def _is_well_formed(values: list[str], line: int, header: tuple[str, ...], problems: list[Problem]) -> bool:
    field_id = shortened(values[0])
    for value in values:
        if not value.isascii() and any("\udc80" <= character <= "\udcff" for character in value):
            problems.append(
                Problem(line, field_id, shortened(value), "The value is not UTF-8: save the file as UTF-8.")
            )
            return False
    if len(values) != len(header):
        message = f"The row has {len(values)} columns, expected {len(header)}: {','.join(header)}."
        problems.append(Problem(line, field_id, "", message))
        return False
    return True
