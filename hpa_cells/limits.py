"""How large the things may be that a file only claims to hold.

A few kilobytes can promise gigabytes: a header of any size, zeros that unpack a thousandfold, a piece of a file that
is used again and again. Whoever reads a file asks here before memory is taken.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_FILE_BYTES", "MAX_SIDE_PX", "check_side", "check_unpacked", "is_bomb", "unpacked_limit"]

# Of an image: sixteen fields of the Atlas side by side, and what OpenCV takes.
MAX_SIDE_PX: Final = 32_768

# Of one image file of a field, with all its channels.
MAX_FILE_BYTES: Final = 1 << 32

# Black planes of usual fields pack a thousandfold, and are honest. Noise of a camera does not: what is larger than
# this shows at least some of it.
_FREE_BYTES: Final = 1 << 28
_MOST_TIMES: Final = 100


def check_side(height_px: int, width_px: int) -> None:
    """Refuse an image whose header or row promises an absurd size, before memory is taken for it.

    Raises
    ------
    ValueError
        If a side is longer than `MAX_SIDE_PX`. The message goes on a sentence that names the file.
    """
    if max(height_px, width_px) > MAX_SIDE_PX:
        raise ValueError(
            f"its header says {height_px} x {width_px} px, more than {MAX_SIDE_PX} px a side: cut it into parts"
        )


def unpacked_limit(packed_bytes: int) -> int:
    """How many bytes a file, or a part of one, of so many bytes may unpack to: 256 MiB, or 100 times as many.

    Examples
    --------
    >>> unpacked_limit(10) == 2**28
    True
    >>> unpacked_limit(2**26) == 100 * 2**26
    True
    """
    return max(_FREE_BYTES, _MOST_TIMES * packed_bytes)


def is_bomb(unpacked_bytes: int, packed_bytes: int) -> bool:
    """Whether so much out of so little is made to fill the memory."""
    return unpacked_bytes > unpacked_limit(packed_bytes)


def check_unpacked(unpacked_bytes: int, packed_bytes: int) -> None:
    """Refuse what is far larger than the file that it is in.

    Raises
    ------
    ValueError
        If `is_bomb`. The message goes on a sentence that names the file.
    """
    if is_bomb(unpacked_bytes, packed_bytes):
        raise ValueError(
            f"it unpacks from {packed_bytes:,} to {unpacked_bytes:,} bytes, more than an honest image does: "
            "cut it into parts, or save it without compression"
        )
