"""Texts as people may see them: without the secrets of addresses, and without what moves a terminal.

Addresses with a password or a signature in them come from users, control characters from the names of strangers' files.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bar_console", "printable", "redacted", "redacted_settings", "shown"]

_HIDDEN: Final = "***"
# A slash may have got lost. What follows up to the next blank or address belongs to it.
_ADDRESS: Final = re.compile(
    r"([A-Za-z][\w+.-]{1,30})(:/{1,2})((?:(?![A-Za-z][\w+.-]{1,30}://)\S)+)", re.ASCII
)
# Where digits behind a colon are no port; and, of Azure, where a name in front of @ is that of a container.
_WITHOUT_PORTS: Final = frozenset(
    ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs", "az", "adl", "hf")
)
_WITH_CONTAINERS: Final = frozenset(("abfs", "abfss", "wasb", "wasbs", "az"))
# What ends a query may be of the text around.
_AROUND: Final = "'\"<>()[]{}.,:;"


def redacted(text: str) -> str:
    """The text with ``***`` for what may be secret in the addresses in it: names, passwords, tokens and queries.

    Examples
    --------
    >>> redacted("s3://key:sec/ret@bucket/run and https://host:8080/f.png?sig=abc&x=1: gone")
    's3://***@bucket/run and https://host:8080/f.png?***: gone'
    >>> redacted("abfs://container@account.dfs.core.windows.net/run")
    'abfs://container@account.dfs.core.windows.net/run'
    """
    return _ADDRESS.sub(_without_secrets, text)


def _without_secrets(address: re.Match[str]) -> str:
    scheme, slashes, rest = address.groups()
    place, mark, query = rest.partition("?")
    # Signatures and tokens of the web have as many names as there are stores.
    secret = query.rstrip(_AROUND)
    query = _HIDDEN + query[len(secret) :] if secret else query
    return f"{scheme}{slashes}{_without_user(scheme.lower(), place)}{mark}{query}"


def _without_user(scheme: str, place: str) -> str:
    authority = place.partition("/")[0]
    user, at, _ = authority.rpartition("@")
    if at:
        is_container = scheme in _WITH_CONTAINERS and ":" not in user
        return place if is_container else f"{_HIDDEN}@{place[len(user) + 1 :]}"
    # A password may hold slashes.
    _, colon, port = authority.partition(":")
    if colon and "@" in place and not (port.isdigit() and scheme not in _WITHOUT_PORTS):
        return f"{_HIDDEN}@{place.rpartition('@')[2]}"
    return place


def redacted_settings(value: Any) -> Any:
    """The same settings, lists and dictionaries of plain values, with all their texts `redacted`."""
    if isinstance(value, dict):
        return {name: redacted_settings(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redacted_settings(each) for each in value)
    return redacted(value) if isinstance(value, str) else value


def printable(text: str) -> str:
    r"""The text with an escape for each character that a terminal would obey or not show; line breaks, too.

    Examples
    --------
    >>> printable("grün\x1b[31m\n")
    'grün\\x1b[31m\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def shown(text: str) -> str:
    """The text as it may be written to a terminal: `redacted`, and `printable` but for its line breaks."""
    return "\n".join(map(printable, redacted(text).split("\n")))


def bar_console() -> Console:
    """Standard error for bars: moving where it is a terminal; else, as in a notebook, their last state."""
    from rich.console import Console

    # A notebook asks for colours, which rich takes for a terminal; its own way there asks for ipywidgets.
    return Console(stderr=True, force_jupyter=False, force_terminal=sys.stderr.isatty())
