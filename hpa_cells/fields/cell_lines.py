"""Which cell line each field shows, from a table of its own or from a column of a label table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpa_cells.fields.labels import LabelTable
from hpa_cells.fields.rows import read_rows
from hpa_cells.spreadsheet import plain_text

__all__ = ["cell_lines_of", "read_cell_lines"]

# As tables of the Human Protein Atlas, of the challenges and of `hpa-cells simulate` spell them, in small letters and
# without what joins their words.
_ID_NAMES = ("id", "fieldid", "image", "imageid", "filename")
_LINE_NAMES = ("cellline", "celllinename", "atlasname")


def read_cell_lines(path: Path | str) -> dict[str, str]:
    r"""The cell line of each field of a table.

    Parameters
    ----------
    path
        A CSV in UTF-8 with a column of fields (``ID``, ``Id``, ``field_id`` or ``Image``) and one of cell lines
        (``cell_line``, ``Cell line`` or ``Cellline``); other columns are left aside. Where a field's cell line is
        empty, it is not known.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, or an id is empty or there twice. The message names file and line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "lines.csv").write_text("ID,cell_line\nf0,U-2 OS\nf1,\n")
    ...     read_cell_lines(Path(folder) / "lines.csv")
    {'f0': 'U-2 OS'}
    """
    rows = read_rows(Path(path))
    id_column, line_column = _named(rows.header, _ID_NAMES), _named(rows.header, _LINE_NAMES)
    if id_column is None or line_column is None:
        raise ValueError(
            f"{path}, line 1: columns are {', '.join(rows.header) or 'none'}, expected one of fields (ID) and one of "
            "cell lines (cell_line)."
        )
    lines = (line.strip() for line in rows.column(line_column))
    return {
        plain_text(field_id): plain_text(line)
        for field_id, line in zip(rows.unique(id_column), lines, strict=True)
        if line
    }


def cell_lines_of(table: LabelTable) -> dict[str, str]:
    """The cell line of each field that a label table tells one of; none where it has no such column."""
    column = _named(list(table.groups), _LINE_NAMES)
    if column is None:
        return {}
    lines = (line.strip() for line in table.groups[column])
    return {field_id: line for field_id, line in zip(table.field_ids, lines, strict=True) if line}


def _named(header: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column of one of these names, however it is spelt."""
    return next((name for name in header if "".join(filter(str.isalnum, name.lower())) in names), None)
