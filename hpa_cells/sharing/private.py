"""What is nobody else's business: where things lie on the machine of who trained, and secrets in addresses."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

from hpa_cells.shown import redacted_settings

__all__ = ["without_places"]

# A whole path of one system or the other.
_WHOLE: Final = re.compile(r"(/[^/]|~|[A-Za-z]:[\\/]|\\\\).*", re.DOTALL)


def without_places(config: str, card: str) -> tuple[str, str]:
    r"""The text of a ``checkpoint.json`` and its card without folders and secrets of the machine of its training.

    A path from the root or the home becomes its last part, and what is secret in an address ``***``. Where there is
    nothing of it, both stay as they are, to the byte.

    Examples
    --------
    >>> without_places('{"root": "/home/ann/data/plate 1", "share": 0.5}', "from /home/ann/data/plate 1")
    ('{\n  "root": "plate 1",\n  "share": 0.5\n}\n', 'from plate 1')
    """
    read = json.loads(config)
    places: dict[str, str] = {}
    told = _told(redacted_settings(read), places)
    if told == read:
        return config, card
    # The longest first: one may begin with another.
    for place in sorted(places, key=len, reverse=True):
        card = card.replace(place, places[place])
    return json.dumps(told, indent=2, allow_nan=False, ensure_ascii=True) + "\n", card


def _told(value: Any, places: dict[str, str]) -> Any:
    """The value with names for paths, which `places` collects."""
    if isinstance(value, dict):
        return {name: _told(each, places) for name, each in value.items()}
    if isinstance(value, list):
        return [_told(each, places) for each in value]
    if not isinstance(value, str) or _WHOLE.fullmatch(value) is None:
        return value
    kind = PurePosixPath if value[0] in "/~" else PureWindowsPath
    places[value] = kind(value).name or "."
    return places[value]
