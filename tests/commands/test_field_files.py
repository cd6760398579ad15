"""What is on record of the files of a cross-fit's fields, and when it is no longer true."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hpa_cells.commands.field_files import FIELD_FILES, changed_fields, note_files
from hpa_cells.fields import FieldSource, find_fields
from hpa_cells.prediction import Failure, write_failures
from hpa_cells.types import Channel


@pytest.fixture
def fields(drawn: Any, tmp_path: Path) -> Path:
    """Ten fields, copied with their times."""
    shutil.copytree(drawn.root / "train", tmp_path / "train")
    return tmp_path / "train"


@pytest.fixture
def table(fields: Path, tmp_path: Path) -> Path:
    """Where they are on record."""
    folder = tmp_path / "round" / "out_of_fold"
    note_files(folder, find_fields(fields), is_begun=False)
    return folder


def other_time(fields: Path) -> None:
    os.utime(fields / "f03_green.png", ns=(1, 1))


def other_size(fields: Path) -> None:
    stat = (fields / "f03_red.png").stat()
    with (fields / "f03_red.png").open("ab") as file:
        file.write(b"more")
    os.utime(fields / "f03_red.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))


def other_name(fields: Path) -> None:
    (fields / "f03_blue.png").rename(fields / "f03_blue.tif")


@pytest.mark.parametrize("change", [other_time, other_size, other_name])
def test_a_changed_file_is_noticed(fields: Path, table: Path, change: Callable[[Path], None]) -> None:
    before = (table / FIELD_FILES).read_bytes()
    assert changed_fields(table, find_fields(fields)) == []
    change(fields)
    assert changed_fields(table, find_fields(fields)) == ["f03"]
    with pytest.raises(
        ValueError, match=r"The files of 1 of 10 fields have changed since .*round was begun \(f03\)"
    ):
        note_files(table, find_fields(fields), is_begun=True)
    assert (table / FIELD_FILES).read_bytes() == before
    # No model has learned from them.
    note_files(table, find_fields(fields), is_begun=False)
    assert changed_fields(table, find_fields(fields)) == []


def test_a_copy_is_the_same(fields: Path, table: Path, tmp_path: Path) -> None:
    shutil.copytree(fields, tmp_path / "elsewhere" / "copy")
    written = (table / FIELD_FILES).stat().st_mtime_ns
    note_files(table, find_fields(tmp_path / "elsewhere" / "copy"), is_begun=True)
    assert (table / FIELD_FILES).stat().st_mtime_ns == written
    assert changed_fields(table, find_fields(tmp_path / "elsewhere" / "copy")[:3]) == []


def without_last(sources: list[FieldSource]) -> list[FieldSource]:
    return sources[:-1]


def with_another(sources: list[FieldSource]) -> list[FieldSource]:
    return [*sources, FieldSource(field_id="g00", files=sources[0].files)]


@pytest.mark.parametrize(("change", "told"), [(without_last, "f09"), (with_another, "g00")])
def test_fields_that_come_or_go_are_told(
    fields: Path, table: Path, change: Callable[[list[FieldSource]], list[FieldSource]], told: str
) -> None:
    sources = change(find_fields(fields))
    with pytest.raises(ValueError, match=rf"1 labelled fields have come or gone .* \({told}\), so that"):
        note_files(table, sources, is_begun=True)
    # Whoever learns from some of the fields asks about those alone.
    assert changed_fields(table, sources) == ([told] if told == "g00" else [])


def test_a_field_that_failed_may_be_mended(fields: Path, table: Path) -> None:
    write_failures(table, [Failure(field_id="f03", stage="read", error="damaged")])
    other_time(fields)
    assert changed_fields(table, find_fields(fields)) == []
    note_files(table, find_fields(fields), is_begun=True)
    # From now on it is as it is.
    write_failures(table, [])
    note_files(table, find_fields(fields), is_begun=True)
    os.utime(fields / "f03_green.png", ns=(2, 2))
    with pytest.raises(ValueError, match=r"\(f03\)"):
        note_files(table, find_fields(fields), is_begun=True)


def test_the_same_file_for_another_channel_is_noticed(fields: Path, table: Path) -> None:
    """As in a CSV of paths, where the channel is the column."""
    file = find_fields(fields)[0].files[Channel.ER]
    one, other = (
        [FieldSource(field_id="f00", files={channel: file})] for channel in (Channel.ER, Channel.MICROTUBULES)
    )
    note_files(table, one, is_begun=False)
    assert changed_fields(table, one) == []
    assert changed_fields(table, other) == ["f00"]


def test_without_a_record_nothing_is_known(fields: Path, table: Path) -> None:
    (table / FIELD_FILES).unlink()
    assert changed_fields(table, find_fields(fields)) is None
    note_files(table, find_fields(fields), is_begun=True)
    ids = pd.read_csv(table / FIELD_FILES)["field_id"]
    assert ids.tolist() == [f"f{index:02d}" for index in range(10)]


def test_ids_that_look_like_numbers_or_nothing(fields: Path, table: Path) -> None:
    files = find_fields(fields)[0].files
    sources = [FieldSource(field_id=field_id, files=files) for field_id in ("007", "NA", "1e3", "true")]
    note_files(table, sources, is_begun=False)
    assert changed_fields(table, sources) == []
