"""Hydra's grammar of overrides, and the paths that a user types without knowing of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["is_path_setting", "is_swept", "numbered_runs", "paths_as_typed", "quoted", "single_runs"]

# The last word of every setting that is a path or a list of them.
_PATHS: Final = frozenset(
    {
        *("out", "fields", "model", "table", "truth", "labels", "check", "sample_submission"),
        *("root", "groups_file", "cell_labels", "crop_store", "folder", "nuclei_folder", "file", "review"),
        *("embedding_store", "teacher", "teacher_store"),
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


def is_path_setting(name: str) -> bool:
    """Whether the setting of this name, with its dots, is a path or a list of them."""
    return name.rpartition(".")[2] in _PATHS


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


def is_swept(override: str) -> bool:
    """Whether the override gives several values, as in ``tta=d4,flips`` or ``optimizer.lr=interval(1e-4,1e-2)``.

    Examples
    --------
    >>> [is_swept(each) for each in ("tta=d4,flips", "seed=range(3)", "tta=d4", "data.labels=[a,b]")]
    [True, True, False, False]
    """
    parsed = _parse(override)
    return parsed is not None and bool(parsed.is_sweep_override())


def single_runs(overrides: Sequence[str]) -> list[list[str]]:
    """Overrides of single runs that together have every value of every sweep, each beside first values of the others.

    Of numbers only the first value comes, and of a sweep by pattern none: they name no setting and no choice that
    could be misspelt.

    Examples
    --------
    >>> single_runs(["out=a", "tta=d4,flips", "fusion=cell,mean"])
    [['out=a', 'tta=d4', 'fusion=cell'], ['out=a', 'tta=flips', 'fusion=cell'], ['out=a', 'tta=d4', 'fusion=mean']]
    """
    values = [_values(override) for override in overrides]
    runs = [_first(values)]
    for position, each in enumerate(values):
        before, after = _first(values[:position]), _first(values[position + 1 :])
        runs += [[*before, value, *after] for value in each[1:]]
    return runs


def numbered_runs(overrides: Sequence[str]) -> list[list[str]]:
    """Overrides of every run of a sweep, in the order in which Hydra numbers them; none where that is not known before.

    It is not where values are shuffled, matched by a pattern or drawn from an interval.

    Examples
    --------
    >>> numbered_runs(["out=a", "tta=d4,flips", "seed=range(2)"])[1:3]
    [['out=a', 'tta=d4', 'seed=1'], ['out=a', 'tta=flips', 'seed=0']]
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        parsed = _parse(override)
        if parsed is None or not parsed.is_sweep_override():
            # The last of several is the one that counts.
            values[override if parsed is None else parsed.get_key_element()] = [override]
        elif parsed.is_discrete_sweep() and not _is_open(parsed.value()):
            key = parsed.get_key_element()
            values[key] = [f"{key}={value}" for value in parsed.sweep_string_iterator()]
        else:
            return []
    return [list(each) for each in itertools.product(*values.values())]


def _is_open(sweep: Any) -> bool:
    """Whether only the sweep itself knows its values and their order."""
    from hydra.core.override_parser.types import Glob

    return isinstance(sweep, Glob) or bool(sweep.shuffle)


def _first(values: Sequence[Sequence[str]]) -> list[str]:
    return [each[0] for each in values if each]


def _values(override: str) -> list[str]:
    """The override with each of its values."""
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    parsed = _parse(override)
    if parsed is None or not parsed.is_sweep_override():
        return [override]
    key, read = parsed.get_key_element(), parsed.value()
    if isinstance(read, RangeSweep | IntervalSweep):
        return [f"{key}={read.start}"]
    return [f"{key}={value}" for value in parsed.sweep_string_iterator()] if parsed.is_choice_sweep() else []


def _parse(override: str) -> Any:
    """The override in Hydra's words; None where it is not in Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _as_typed(verb: str, override: str, *, multirun: bool) -> str:
    name, equals, value = override.partition("=")
    is_number = verb == "simulate" and name == "fields"
    if not equals or is_number or not is_path_setting(name):
        return override
    return f"{name}={quoted(_with_home(value))}" if _is_misread(value, multirun=multirun) else override


def _is_misread(value: str, *, multirun: bool) -> bool:
    """Whether Hydra reads the value of a path as something else than the path or paths it says."""
    from hydra.core.override_parser.types import QuotedString

    override = _parse(f"path={value}")
    if override is None:
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
