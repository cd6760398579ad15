from __future__ import annotations

from pathlib import Path

import pytest

from hpa_cells.fields.rows import read_rows


def write(folder: Path, content: bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content)
    return path


def test_rows_keep_their_line_numbers(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, b'\xef\xbb\xbfa,b\r\n1,2\r\n\r\n"3",4\r\n'))
    assert rows.header == ["a", "b"]
    assert rows.lines == [2, 4]
    assert rows.column("b") == ["2", "4"]


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, b""))
    assert (rows.header, rows.cells) == ([], [])


def test_what_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 3: found 1 columns, expected 2"):
        read_rows(write(tmp_path, b"a,b\n1,2\n3\n"))
    with pytest.raises(ValueError, match="line 4: a 'x' is in line 2 too"):
        read_rows(write(tmp_path, b"a\nx\ny\nx\n")).unique("a")
    with pytest.raises(ValueError, match="line 3: a is empty"):
        read_rows(write(tmp_path, b"a,b\nx,1\n,2\n")).unique("a")


@pytest.mark.parametrize("content", [b"a,b\n\xff\xfe,1\n", b"a\n" + b"x" * 200_000])
def test_what_is_no_csv_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"table\.csv is not a CSV in UTF-8"):
        read_rows(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_rows(tmp_path / "nowhere.csv")
