"""Hydra's grammar of overrides, and the paths that a user types without knowing of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["paths_as_typed", "quoted"]

# The last word of every setting that is a path or a list of them.
_PATHS: Final = frozenset(
    {
        *("out", "fields", "model", "table", "truth", "labels", "check", "sample_submission"),
        *("root", "groups_file", "cell_labels", "crop_store", "folder", "nuclei_folder"),
    }
)


def quoted(text: str) -> str:
    r"""A string in Hydra's grammar that comes out as it went in, whatever it holds.

    Examples
    --------
    >>> quoted("it's a=b, c")
    "'it\\'s a=b, c'"
    """
    # OmegaConf reads ${…} as a reference and Hydra ends the string at a quote: a backslash takes the meaning
    # from both, and the backslashes already before one are doubled to stay what they are.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", text) + "'"


def paths_as_typed(verb: str, overrides: Sequence[str], *, multirun: bool) -> list[str]:
    """The overrides, with each path quoted that Hydra would refuse or take for a number, a list or a sweep.

    A path is left alone where Hydra reads it as a string, where it is quoted already, a list of things that
    are not one file, ``null``, or, with `multirun`, a sweep. A leading ``~`` is the home folder, which not
    every shell fills in after a ``=``.

    Examples
    --------
    >>> paths_as_typed("predict", ["fields=day=1, plate=2", "out=2021", "tta=d4"], multirun=False)
    ["fields='day=1, plate=2'", "out='2021'", 'tta=d4']
    >>> paths_as_typed("evaluate", ["table=[a,b]", "out=runs/a"], multirun=False)
    ['table=[a,b]', 'out=runs/a']
    """
    return [_as_typed(verb, override, multirun=multirun) for override in overrides]


def _as_typed(verb: str, override: str, *, multirun: bool) -> str:
    name, equals, value = override.partition("=")
    is_number = verb == "simulate" and name == "fields"
    if not equals or is_number or name.rsplit(".", 1)[-1] not in _PATHS:
        return override
    return f"{name}={quoted(_with_home(value))}" if _is_misread(value, multirun=multirun) else override


def _is_misread(value: str, *, multirun: bool) -> bool:
    """Whether Hydra reads the value of a path as something else than the path or paths it says."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"path={value}")
    except HydraException:
        return True
    read: Any = override.value()
    if override.is_sweep_override():
        return not multirun
    if isinstance(read, str | QuotedString):
        return False
    if read is None or isinstance(read, list):
        return Path(value).exists()
    return True


def _with_home(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~") else path
