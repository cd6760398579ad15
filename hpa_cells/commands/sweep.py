"""Several runs of a verb, as ``--multirun`` asks for: a folder for each and one table of what became of them.

OUT/0/, OUT/1/ ...     what the runs wrote
OUT/runs.csv           run, score, error, settings
OUT/multirun.yaml      Hydra's own record
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pandas as pd
from omegaconf import DictConfig

from hpa_cells.atomic import replaced_on_success
from hpa_cells.commands.grammar import is_swept
from hpa_cells.places import is_address
from hpa_cells.shown import shown
from hpa_cells.spreadsheet import guarded_text, plain_text

__all__ = [
    "RUNS_FILE",
    "RunFailedError",
    "errors_left_to_us",
    "let_go",
    "refuse_sweep",
    "run_numbered",
]

RUNS_FILE = "runs.csv"
# Of what costs much and is the same for runs that ask for the same.
_STORES: Final = ("crop_store", "embedding_store", "teacher_store")
_COLUMNS = ("run", "score", "error", "settings")
_FULL_ERROR = "HYDRA_FULL_ERROR"


class RunFailedError(RuntimeError):
    """One of several runs failed; it was told, and the others go on."""


def refuse_sweep(overrides: Sequence[str]) -> None:
    """Check what a sweep needs beside settings that are spelt well.

    Raises
    ------
    ValueError
        If no `out` is given or several are, it is an address, or the sweeper's package is missing.
    """
    outs = [override for override in overrides if override.startswith("out=")]
    if not outs:
        raise ValueError("Setting `out` is required: out=…, in which every run gets a folder of its own.")
    if any(map(is_swept, outs)):
        raise ValueError(f"`{outs[0]}` gives several folders: give one, in which every run gets its own.")
    if any(is_address(each.removeprefix("out=").strip("'\"")) for each in outs):
        raise ValueError(
            f"`{outs[0]}` is an address, and a sweep keeps its record on this machine: give a path."
        )
    if "hydra/sweeper=search" in overrides and find_spec("optuna") is None:
        raise ValueError("hydra/sweeper=search is a search by Optuna: install hpa-cells[sweep].")


def run_numbered(
    run: Callable[[DictConfig], float | None], cfg: DictConfig, *, number: int, settings: Sequence[str]
) -> float | None:
    """Run a verb in a folder of its own and put the outcome on record.

    A run that fails leaves on record what an earlier one of another command, or with a score, has finished in the same
    folder: that is still there, unless it was to begin anew.

    Parameters
    ----------
    run
        The verb; what it returns is the score.
    cfg
        The settings of this run, with the `out` of all.
    number
        Of this run.
    settings
        The same as overrides.

    Raises
    ------
    RunFailedError
        As `run` does.
    """
    out = Path(cfg.out)
    for store in _STORES:
        if store in cfg:
            # Where it repeats `out` it does so of that of all: what is in it is made once.
            cfg[store] = str(cfg[store])
    cfg.out = str(out / str(number))
    row = {"run": number, "settings": " ".join(each for each in settings if not each.startswith("out="))}
    is_kept = Path(cfg.out).exists() and _holds_more(_read(out), row)
    try:
        score = run(cfg)
    except RunFailedError as error:
        sys.stderr.write(f"hpa-cells: run {number} ({row['settings']}) failed: {shown(str(error))}\n")
        if is_kept and not ("resume" in cfg and cfg.resume is False):
            sys.stderr.write(
                f"hpa-cells: {out / RUNS_FILE} still tells of run {number} as it was finished before.\n"
            )
        else:
            _record(out, {**row, "error": str(error)})
        raise
    _record(out, {**row, "score": score})
    return score


@contextmanager
def errors_left_to_us() -> Iterator[None]:
    """Let Hydra raise errors where it would print them in words of its own and end the program."""
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        del os.environ[_FULL_ERROR]
        if before is not None:
            os.environ[_FULL_ERROR] = before


def let_go(error: BaseException) -> None:
    """Empty the frames of an error that is kept: the network of a run that failed would take the room of the next."""
    while True:
        traceback.clear_frames(error.__traceback__)
        before = error.__cause__ or error.__context__
        if before is None:
            return
        error = before


def _holds_more(rows: pd.DataFrame, row: dict[str, object]) -> bool:
    """Whether the table knows something of a run that a failure with these settings does not undo."""
    finished = rows[(rows["run"] == row["run"]) & rows["error"].isna()]
    return bool((finished["score"].notna() | (finished["settings"].fillna("") != row["settings"])).any())


def _record(out: Path, row: dict[str, object]) -> None:
    """Put a run into the table, in place of what was known of it."""
    rows = _read(out)
    others = rows[rows["run"] != row["run"]].to_dict("records")
    with replaced_on_success(out / RUNS_FILE) as temporary:
        table = pd.DataFrame([*others, row], columns=list(_COLUMNS))
        _texts(table.sort_values("run"), guarded_text).to_csv(temporary, index=False)


def _read(out: Path) -> pd.DataFrame:
    path = out / RUNS_FILE
    if not path.exists():
        return pd.DataFrame(columns=list(_COLUMNS))
    # Scores as they are written: read as numbers they might lose their last digit each time.
    return _texts(pd.read_csv(path, dtype={"score": str}), plain_text)


def _texts(rows: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The rows with other texts; the scores are texts too, and stay."""
    return rows.assign(**{name: rows[name].map(change, na_action="ignore") for name in ("settings", "error")})
