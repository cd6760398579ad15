"""Errors of files as a user reads them: which file, what is wrong, what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from hpa_cells.atomic import folder_replaced_on_success, replaced_on_success
from hpa_cells.commands.system_errors import told_by_system

Program = Callable[..., Any]
# A folder in which nothing can be made, not even by root.
NOWHERE = Path("/proc/nowhere")
pytestmark = pytest.mark.skipif(not NOWHERE.parent.is_dir(), reason="No /proc here.")


def told(write: Callable[[], object], out: Path) -> str:
    with pytest.raises(OSError) as raised:  # noqa: PT011, its words are what is tested
        write()
    return told_by_system(raised.value, str(out))


def write_file(path: Path) -> None:
    with replaced_on_success(path) as temporary:
        temporary.write_text("x")


def write_hdf5(path: Path) -> None:
    with replaced_on_success(path) as temporary, h5py.File(temporary, "w"):
        pass


def write_folder(path: Path) -> None:
    with folder_replaced_on_success(path, marks=["a"]) as temporary:
        temporary.mkdir()


@pytest.mark.parametrize("write", [write_file, write_hdf5, write_folder])
@pytest.mark.parametrize("parent", [NOWHERE, NOWHERE.parent])
def test_a_place_where_nothing_can_be_made(write: Callable[[Path], None], parent: Path) -> None:
    out = parent / "cells.x"
    message = told(lambda: write(out), out)
    # By its own name and not the temporary one; of a missing folder, the folder is told.
    shown = next(path for path in (str(out.resolve()), str(out), str(parent)) if message.startswith(path))
    assert message == (f"{shown} cannot be written there (No such file or directory): choose another `out`.")


def test_what_is_to_be_read_is_told_from_what_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(lambda: Path("a.csv").read_text(), tmp_path / "out") == (
        f"a.csv cannot be read (No such file or directory): check the path; it starts from {tmp_path}."
    )
    assert told(lambda: (tmp_path / "out" / "b.csv").read_text(), tmp_path / "out").startswith(
        f"{tmp_path / 'out' / 'b.csv'} cannot be written there"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(number: int) -> None:
    for error in (OSError(number, "full"), OSError(number, "full", "/d/.c.0a1b2c3d.tmp.zarr/images/0")):
        assert told_by_system(error, "/d/c.zarr").startswith(
            "The disk has no room for /d/c.zarr (full): make room"
        )
    assert told_by_system(OSError(number, "full", "/d/.c.0a1b2c3d.tmp.zarr/0"), None).startswith(
        "The disk has no room for /d/c.zarr/0 (full)"
    )


def test_what_may_not_be_done() -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/d/.c.0a1b2c3d.tmp.csv")
    assert told_by_system(denied, "/d/c.csv") == (
        "/d/c.csv cannot be written there (Permission denied): choose another `out`, or have that allowed."
    )
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/d/a.png")
    assert told_by_system(denied, "/e") == "/d/a.png cannot be read (Permission denied): have that allowed."


def test_words_of_ours_stay_as_they_are() -> None:
    assert told_by_system(FileNotFoundError("x does not exist: give another."), "o") == (
        "x does not exist: give another."
    )
    assert told_by_system(OSError(errno.EIO, "Input/output error"), "o") == "[Errno 5] Input/output error"


def test_a_command_tells_so(hpa_cells: Program) -> None:
    ended = hpa_cells("export", "check=no such.csv")
    assert ended.status == 1
    assert ended.stderr.startswith(
        "hpa-cells: no such.csv cannot be read (No such file or directory): check the path"
    )
