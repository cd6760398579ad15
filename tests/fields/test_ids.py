from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.fields import check_field_id


@pytest.mark.parametrize(
    "field_id", ["57_F11_1", "000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0", "Å b", "console", "a.b"]
)
def test_common_ids_are_safe(field_id: str) -> None:
    assert check_field_id(field_id) == field_id


@pytest.mark.parametrize(
    ("field_id", "reason"),
    [
        ("", "is empty"),
        ("../x", "holds '/'"),
        ("/etc/x", "holds '/'"),
        (r"..\x", r"holds '\\'"),
        ("C:x", "holds ':'"),
        ("a\0b", r"holds '\x00'"),
        ("a\nb", r"holds '\n'"),
        ("a\ud800", "holds"),
        ("..", "starts with a dot"),
        (".hidden", "starts with a dot"),
        ("x.", "ends with a dot or a space"),
        ("x ", "ends with a dot or a space"),
        ("nul", "device on Windows"),
        ("COM1.a", "device on Windows"),
        ("ä" * 101, "has 202 bytes"),
    ],
)
def test_unsafe_ids_are_refused_with_the_reason(field_id: str, reason: str) -> None:
    with pytest.raises(ValueError, match="rename the field") as caught:
        check_field_id(field_id)
    assert reason in str(caught.value)


@given(st.text(max_size=30))
def test_a_safe_id_never_leaves_its_folder(text: str) -> None:
    try:
        check_field_id(text)
    except ValueError:
        return
    folder = Path("/out")
    assert (folder / f"{text}_red.png").parent == folder
    assert PureWindowsPath(f"{text}_red.png").name == f"{text}_red.png"
