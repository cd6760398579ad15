"""The check of a submission of 2021: every kind of mistake is found, named and placed."""

from __future__ import annotations

import base64
import csv
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpa_cells.export import (
    FieldSize,
    expected_fields,
    kaggle2021_rows,
    read_kaggle2021,
    validate_kaggle2021,
    write_kaggle2021,
)
from hpa_cells.masks import encode_labels, runs_to_counts, to_challenge_string

HEADER = "ID,ImageWidth,ImageHeight,PredictionString"


def mask_of(counts: bytes) -> str:
    return to_challenge_string(counts)


def square_mask(height: int = 6, width: int = 4) -> str:
    labels = np.zeros((height, width), np.int32)
    labels[1:3, 1:3] = 1
    return mask_of(encode_labels(labels)[1][0])


@pytest.fixture
def problems_of(tmp_path: Path):
    """Problems of a file of one row for field `a`, 4 px wide and 6 px high, or of a whole text."""

    def check(prediction: str = "", *, text: str | bytes | None = None, size: str = "4,6", expected=None):
        path = tmp_path / "submission.csv"
        content = f"{HEADER}\na,{size},{prediction}\n" if text is None else text
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return validate_kaggle2021(path, expected)

    return check


def test_a_right_row_has_no_problem(problems_of) -> None:
    assert problems_of(f"0 0.5 {square_mask()} 18 1e-3 {square_mask()}") == []
    assert problems_of("") == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("19", "Class is not in hpa2021: expected 0 to 18."),
        ("-1", "Class is not a whole number"),
        ("1.0", "Class is not a whole number"),
        ("nucleoli", "Class is not a whole number"),
        ("٣", "Class is not a whole number"),
        ("1" * 5000, "Class is not a whole number"),
    ],
)
def test_class(problems_of, token: str, message: str) -> None:
    (problem,) = problems_of(f"0 0.5 {square_mask()} {token} 0.5 {square_mask()}")
    assert (problem.line, problem.field_id) == (2, "a")
    assert problem.token.startswith(token[:40])
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("nan", "not finite"),
        ("inf", "not finite"),
        ("-Infinity", "not finite"),
        ("1e999", "not finite in 32 bit"),
        ("1e39", "not finite in 32 bit"),
        ("0,5", "not a number"),
        ("1_0", "not a number"),
        ("0x1p3", "not a number"),
    ],
)
def test_confidence(problems_of, token: str, message: str) -> None:
    (problem,) = problems_of(text=f'{HEADER}\na,4,6,"7 {token} {square_mask()}"\n')
    assert (problem.line, problem.field_id, problem.token) == (2, "a", token)
    assert message in problem.message


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("####", "not base64"),
        (base64.b64encode(b"not zlib").decode(), "not compressed with zlib"),
        (base64.b64encode(zlib.compress(b"121")[:-3]).decode(), "cut off"),
        (base64.b64encode(zlib.compress(b"0" * 2**23)).decode(), "overlong"),
        (mask_of(b"\x01\x02"), "character"),
        (mask_of(b"P"), "cut off"),
        (mask_of(b"1O"), "negative length"),
        (mask_of(b"55"), "covers 10 px, but its image has 24"),
        (mask_of(b"PP1"), "24"),
        (mask_of(b"h0"), "empty"),
    ],
)
def test_mask(problems_of, mask: str, message: str) -> None:
    (problem,) = problems_of(f"7 0.5 {mask} 8 0.5 {mask}")
    assert (problem.line, problem.field_id) == (2, "a")
    assert problem.token.startswith(mask[:40])
    assert message in problem.message


def test_overlong_mask_names_its_triple(problems_of) -> None:
    (problem,) = problems_of(f"7 0.5 {square_mask()} 8 0.5 {square_mask(9, 9)}")
    assert problem.message.startswith("Mask of triple 2 covers 81 px, but its image has 24")


def test_token_count(problems_of) -> None:
    (problem,) = problems_of(f"7 0.5 {square_mask()} 8")
    assert problem.token == "8"
    assert problem.message.startswith("4 tokens are no triples of `class confidence mask`: 1 are left over")


@pytest.mark.parametrize("size", ["4.0,6", "0,6", "-4,6", "4,", ",", "1e3,6", "4,9999999", "²,6"])
def test_unreadable_size(problems_of, size: str) -> None:
    (problem,) = problems_of(size=size)
    assert problem.token == size
    assert "whole numbers from 1 to 999999" in problem.message


def test_ids_and_sizes(problems_of) -> None:
    expected = {each: FieldSize(4, 6) for each in ("a", "b", "c", "d")}
    text = f"{HEADER}\na,4,6,\na,4,6,\nx,4,6,\nb,6,4,\nc,5,6,\n,4,6,\n"
    found = problems_of(text=text, expected=expected)
    assert [(each.line, each.field_id) for each in found] == [
        (3, "a"), (4, "x"), (5, "b"), (6, "c"), (7, ""), (None, "d"),
    ]  # fmt: skip
    assert found[0].message == "Id was on line 2 already: keep one row a field."
    assert found[1].message == "Id is not one of the expected fields: remove the row."
    assert found[2].message.startswith("Width and height are swapped: the field is 4 x 6")
    assert found[2].token == "6,4"
    assert found[3].message == "Size is 5 x 6, but the field is 4 x 6 (width x height)."
    assert found[5].message.startswith("The field has no row")
    assert str(found[5]) == f"file, field d: {found[5].message}"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"", None, "The file is empty"),
        (b"Id,Predicted\na,1\n", 1, "The first line is not the header ID,ImageWidth"),
        (b"\xef\xbb\xbf" + HEADER.encode() + b"\na,4,6,\n", 1, "byte order mark"),
        (HEADER.encode("utf-16"), 1, "The file is UTF-16"),
        (HEADER.encode() + b"\na\xff,4,6,\n", 2, "not UTF-8"),
        (HEADER.encode() + b"\na,4,6\n", 2, "The row has 3 columns, expected 4"),
        (HEADER.encode() + b'\n"a"b,4,6,\n', 2, "The line is not CSV"),
        (HEADER.encode() + b'\n"a,4,6,\n', 2, "The line is not CSV"),
        (HEADER.encode() + b"\na,4,6,\r\rb,4,6,\n", 2, "The line is not CSV"),
    ],
)
def test_file(problems_of, text: bytes, line: int | None, message: str) -> None:
    (problem,) = problems_of(text=text)
    assert problem.line == line
    assert message in problem.message


def test_reading_goes_on_after_a_bad_line(problems_of) -> None:
    found = problems_of(text=HEADER.encode() + b'\n"a"b,4,6,\nc,4\n\nd,4,6,1\n')
    assert [each.line for each in found] == [2, 3, 5]


def test_windows_line_ends_and_quotes_are_right(problems_of) -> None:
    assert problems_of(text=f'{HEADER}\r\n"a","4","6","7 0.5 {square_mask()}"\r\n') == []


def test_a_value_of_megabytes(problems_of) -> None:
    assert problems_of(" ".join([f"7 0.5 {square_mask()}"] * 60_000)) == []


def test_the_search_ends(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text(HEADER + "\n" + "a,4,6,\n" * 5000)
    assert len(validate_kaggle2021(path)) == 1000
    assert len(validate_kaggle2021(path, max_problems=3)) == 3


def test_long_tokens_and_control_characters_do_not_break_the_message(problems_of) -> None:
    (problem,) = problems_of(text=f'{HEADER}\n"a\x1b[31m\nb",4,6,7\n')
    assert "\n" not in str(problem)
    assert "\x1b" not in str(problem)


PIECES = st.one_of(
    st.sampled_from(
        ["7", "0.5", square_mask(), "nan", "-1", "19", "", ",", '"', "\n", "\r", "\x00", "1e400", "é"]
    ),
    st.text(max_size=6),
    st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode()),
    st.binary(max_size=12).map(mask_of),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=9), raw=st.binary(max_size=20))
def test_mangled_rows_never_crash_and_never_pass_by(tmp_path: Path, pieces: list[str], raw: bytes) -> None:
    path = tmp_path / "s.csv"
    row = " ".join(pieces).encode("utf-8", errors="surrogatepass")
    path.write_bytes(HEADER.encode() + b"\na,4,6," + row + b"\n" + raw)
    if not validate_kaggle2021(path):
        read_kaggle2021(path)
    else:
        with pytest.raises(ValueError, match="cannot be read"):
            read_kaggle2021(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_right_file_with_some_bytes_changed(small_table, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "s.csv"
    write_kaggle2021(small_table, path, cell_ids=False, max_classes=2)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path.write_bytes(bytes(content))
    for problem in validate_kaggle2021(path, expected_fields(small_table)):
        assert problem.message
        assert problem.line is None or problem.line >= 1


def test_the_limit_of_the_csv_module_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = tmp_path / "submission.csv"
    path.write_text(f"ID,ImageWidth,ImageHeight,PredictionString\na,4,4,{'x' * 2 * before}\n")
    assert len(validate_kaggle2021(path)) == 1
    assert csv.field_size_limit() == before


def test_masks_of_a_row_that_together_fill_the_memory(problems_of, monkeypatch: pytest.MonkeyPatch) -> None:
    # Runs of no pixel make whole masks as long as one likes, of which zlib leaves next to nothing.
    lengths = (np.append(np.zeros(50_001 + 2 * index, np.int64), 512 * 512) for index in range(6))
    masks = [mask_of(runs_to_counts(each, np.array([len(each)]))[0]) for each in lengths]
    row = " ".join(f"0 0.5 {mask}" for mask in masks)
    assert len(row) < 5000
    assert problems_of(row, size="512,512") == []
    monkeypatch.setattr(kaggle2021_rows, "_MOST_COUNTS_BYTES", 1 << 18)
    (problem,) = problems_of(row, size="512,512")
    assert "The masks of the row unpack to more than 262,144 bytes" in problem.message


def test_a_mask_is_unpacked_as_far_as_its_field_is_large(problems_of) -> None:
    (problem,) = problems_of(f"0 0.5 {mask_of(b'0' * 3_000_000)}")
    assert "overlong: it unpacks to more than 65536 bytes" in problem.message


def test_a_field_with_an_absurd_header_is_named(tmp_path: Path) -> None:
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    png = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big") + bytes(40)
    for color in ("red", "green", "blue", "yellow"):
        (tmp_path / f"f_{color}.png").write_bytes(png)
    with pytest.raises(ValueError, match=r"Field f: .*f_red\.png cannot be used"):
        expected_fields(tmp_path)
