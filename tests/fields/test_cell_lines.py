from __future__ import annotations

from pathlib import Path

import pytest

from hpa_cells.fields import cell_lines_of, read_cell_lines, read_label_table


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "header", ["ID,cell_line", "Id,Cell line", "field_id,CellLine", "Image,Cellline", "image_id,cell-line"]
)
def test_the_columns_are_known_by_their_names(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "lines.csv", f"gene,{header}", "ABC,f0, U-2 OS ", "DEF,f1,", "'=x,'=f2,'=A")
    assert read_cell_lines(path) == {"f0": "U-2 OS", "=f2": "=A"}


def test_a_missing_column_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "lines.csv", "ID,line", "f0,BJ")
    with pytest.raises(
        ValueError, match=r"line 1: columns are ID, line, expected one of fields \(ID\) and one of cell"
    ):
        read_cell_lines(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_cell_lines(tmp_path / "no.csv")


def test_a_field_with_two_lines_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "lines.csv", "ID,cell_line", "f0,BJ", "f0,PC-3")
    with pytest.raises(ValueError, match=r"line 3: ID 'f0' is in line 2 too"):
        read_cell_lines(path)


def test_a_label_table_may_tell_the_cell_line(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path / "a.csv", "ID,Label,cell_line", "f0,0,BJ", "f1,2,"))
    assert cell_lines_of(table) == {"f0": "BJ"}
    assert cell_lines_of(read_label_table(write(tmp_path / "b.csv", "ID,Label,gene", "f0,0,X"))) == {}


def test_the_real_table_of_labelled_cells_tells_cell_lines(real_data: Path, tmp_path: Path) -> None:
    """One row a cell, which is no table of fields: said, and not the last one taken."""
    with pytest.raises(ValueError, match=r"is in line \d+ too|columns are"):
        read_cell_lines(real_data / "cell_labels" / "cell_labels.csv")
