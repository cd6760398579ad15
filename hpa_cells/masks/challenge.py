"""The mask string of the 2021 challenge: base64 over zlib over COCO's compressed run lengths."""

from __future__ import annotations

import base64
import zlib

__all__ = ["MAX_COUNTS_BYTES", "from_challenge_string", "to_challenge_string"]

# A cell's counts have a few thousand bytes. The limit keeps forged kilobytes from unpacking to gigabytes.
MAX_COUNTS_BYTES = 1 << 22


def to_challenge_string(counts: bytes) -> str:
    """The text that stands for a mask in a submission of the 2021 challenge.

    Examples
    --------
    >>> to_challenge_string(b"121")
    'eNozNDIEAAErAJU='
    """
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode("ascii")


def from_challenge_string(text: str, *, max_bytes: int = MAX_COUNTS_BYTES) -> bytes:
    """COCO's compressed counts from the text of a submission.

    Parameters
    ----------
    text
        Base64 without line breaks.
    max_bytes
        Longest counts that are accepted.

    Raises
    ------
    ValueError
        If the text is not base64, its bytes are not one whole zlib stream, or it unpacks to more than
        `max_bytes`.

    Examples
    --------
    >>> from_challenge_string("eNozNDIEAAErAJU=")
    b'121'
    """
    try:
        packed = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"Mask {_shown(text)} is not base64 ({error}).") from error
    unpacker = zlib.decompressobj()
    try:
        counts = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"Mask {_shown(text)} is not compressed with zlib ({error}).") from error
    if len(counts) > max_bytes:
        raise ValueError(f"Mask {_shown(text)} is overlong: it unpacks to more than {max_bytes} bytes.")
    if not unpacker.eof:
        raise ValueError(f"Mask {_shown(text)} is cut off: its zlib stream has no end.")
    if unpacker.unused_data:
        raise ValueError(f"Mask {_shown(text)} has {len(unpacker.unused_data)} bytes after its zlib stream.")
    return counts


def _shown(text: str) -> str:
    return repr(text if len(text) <= 24 else f"{text[:24]}...")
