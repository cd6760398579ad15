from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.masks import from_challenge_string, to_challenge_string


@given(st.binary(max_size=300))
def test_counts_come_back(counts: bytes) -> None:
    text = to_challenge_string(counts)
    assert from_challenge_string(text) == counts
    assert zlib.decompress(base64.b64decode(text)) == counts


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not base64!", r"Mask 'not base64!' is not base64"),
        ("abcdef", r"is not base64 \(Incorrect padding\)"),
        ("äöü", r"is not base64"),
        ("", r"Mask '' is cut off"),
        (packed(b"121"), r"is not compressed with zlib"),
        (packed(zlib.compress(b"121")[:-2]), r"is cut off: its zlib stream has no end"),
        (packed(zlib.compress(b"121") + b"xy"), r"has 2 bytes after its zlib stream"),
        (
            packed(zlib.compress(bytes(40), 0)),
            r"Mask '\S{24}\.\.\.' is overlong: it unpacks to more than 32 bytes",
        ),
    ],
)
def test_what_is_no_mask_string_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_challenge_string(text, max_bytes=32)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = packed(zlib.compress(bytes(1 << 26)))
    with pytest.raises(ValueError, match="overlong: it unpacks to more than 4194304 bytes"):
        from_challenge_string(bomb)


def test_counts_of_exactly_the_limit_are_accepted() -> None:
    assert from_challenge_string(to_challenge_string(b"1" * 32), max_bytes=32) == b"1" * 32
