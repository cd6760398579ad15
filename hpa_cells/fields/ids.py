"""Which names a field may have: an id becomes a file name on every system."""

from __future__ import annotations

import re

__all__ = ["check_field_id"]

# Most file systems hold names of 255 bytes; what is written for a field adds a suffix such as `_nuclei.png`
# and, while it is being written, a process number.
_MAX_ID_BYTES = 200
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*\ud800-\udfff]')
_RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def check_field_id(field_id: str) -> str:
    r"""The id itself, when it can be a file name that stays inside its folder on Linux, macOS and Windows.

    Parameters
    ----------
    field_id
        The name of a field, without colour and suffix.

    Returns
    -------
    `field_id`, unchanged.

    Raises
    ------
    ValueError
        If it is empty or too long, holds a separator (``/``, ``\``), a control character or one of
        ``<>:"|?*``, starts with a dot (hidden, or ``..``), ends with a dot or a space, or is a device name of
        Windows (``NUL``).

    Examples
    --------
    >>> check_field_id("57_F11_1")
    '57_F11_1'
    >>> check_field_id("../x")
    Traceback (most recent call last):
    ...
    ValueError: Field id '../x' holds '/', so it cannot be a file name everywhere: rename the field.
    """
    reason = _why_unsafe(field_id)
    if reason:
        raise ValueError(
            f"Field id {field_id!r} {reason}, so it cannot be a file name everywhere: rename the field."
        )
    return field_id


def _why_unsafe(field_id: str) -> str:
    unsafe = _UNSAFE.search(field_id)
    if not field_id:
        return "is empty"
    if unsafe:
        return f"holds {unsafe.group()!r}"
    if field_id.startswith("."):
        return "starts with a dot"
    if field_id.endswith((".", " ")):
        return "ends with a dot or a space"
    if _RESERVED_ON_WINDOWS.fullmatch(field_id):
        return "is the name of a device on Windows"
    if len(field_id.encode()) > _MAX_ID_BYTES:
        return f"has {len(field_id.encode())} bytes (at most {_MAX_ID_BYTES})"
    return ""
