"""Addresses of models on a hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpa_cells.shown import redacted

__all__ = ["HubModel", "is_on_hub"]

_PROTOCOL: Final = re.compile(r"hf:/", re.IGNORECASE)
_PART: Final = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_ADDRESS: Final = re.compile(rf"hf://({_PART})/({_PART})(?:@([\w.][\w./+-]*))?/?", re.ASCII | re.IGNORECASE)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
# Owners that are none: in other addresses these words tell what kind of repository follows.
_KINDS: Final = frozenset(("datasets", "spaces", "models", "buckets", "kernels"))


@dataclass(frozen=True, kw_only=True, slots=True)
class HubModel:
    """The repository of a model, ``hf://owner/name`` or ``hf://owner/name@revision``; as a text it is this address.

    Attributes
    ----------
    repository
        ``owner/name``.
    revision
        A branch, a tag or a commit; None is the branch ``main``.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubModel:
        """The repository that an address names.

        Raises
        ------
        ValueError
            If it is no such address.

        Examples
        --------
        >>> HubModel.parse("hf://lab/cells@v1.0")
        HubModel(repository='lab/cells', revision='v1.0')
        """
        found = _ADDRESS.fullmatch(text)
        is_plain = found is not None and not any(part in text for part in ("..", "--", "@/", "/./"))
        if found is None or not is_plain or found[1].lower() in _KINDS:
            raise ValueError(
                f"{redacted(text)} names no model on a hub: write hf://owner/name, or hf://owner/name@revision with a "
                "branch, a tag or a commit; as a text and no path of Python."
            )
        revision = found[3].rstrip("/") if found[3] else None
        return cls(repository=f"{found[1]}/{found[2]}", revision=revision)

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_pinned(self) -> bool:
        """Whether its revision is a commit, which never changes."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None


def is_on_hub(place: object) -> bool:
    """Whether a setting names a place on a hub; also one that has lost a slash.

    Examples
    --------
    >>> [is_on_hub(each) for each in ("hf://lab/cells", "runs/a", "s3://bucket/a")]
    [True, False, False]
    """
    return isinstance(place, str | Path) and _PROTOCOL.match(str(place)) is not None
