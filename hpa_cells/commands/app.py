"""The console program ``hpa-cells``: picks the verb, lets Hydra read settings, puts errors in plain words."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from hpa_cells import __version__
from hpa_cells.commands.grammar import paths_as_typed
from hpa_cells.commands.help import help_text
from hpa_cells.commands.settings import conf_folder, refuse_misspelt, refuse_useless_out

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["VERBS", "FieldsFailedError", "main", "run_verb"]

VERBS = {
    "simulate": "make fields, field labels and the truth per cell",
    "segment": "write the label images of cells and nuclei",
    "train": "learn single-cell locations from field labels",
    "predict": "write the cell table: masks and probabilities of every cell",
    "evaluate": "score a cell table against a truth",
    "export": "turn a cell table into a submission or another format",
    "report": "make one HTML page and overlays of a run",
    "explore": "look at label tables and fields before training",
}
_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130


class FieldsFailedError(RuntimeError):
    """Some fields failed while the others were finished and kept."""


def main() -> NoReturn:
    """Run ``hpa-cells VERB [settings]`` and end with status 0, 1 (failed), 2 (misused) or 130 (stopped)."""
    # Threads of torch that wait by spinning slow each other down severalfold where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _dispatch(sys.argv[1:])
    except KeyboardInterrupt:
        _stop("Stopped. Finished work is kept: the same command goes on from there.", _INTERRUPTED)
    sys.exit(0)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_usage())
        sys.exit(0 if arguments else _MISUSED)
    if arguments[0] == "--version":
        sys.stdout.write(f"hpa-cells {__version__}\n")
        sys.exit(0)
    verb = arguments[0]
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        _stop(f"`{verb}` is not a command of hpa-cells.{hint} See `hpa-cells --help`.", _MISUSED)
    flags = [argument for argument in arguments[1:] if argument.startswith("-")]
    overrides = [argument for argument in arguments[1:] if not argument.startswith("-")]
    overrides = paths_as_typed(verb, overrides, multirun=bool({"-m", "--multirun"} & set(flags)))
    try:
        if {"-h", "--help"} & set(flags):
            sys.stdout.write(help_text(verb, VERBS[verb], overrides))
            sys.exit(0)
        if not flags:
            refuse_misspelt(verb, overrides)
    except ValueError as error:
        _stop(str(error), _MISUSED)
    sys.argv = [f"hpa-cells {verb}", *flags, *overrides]
    run_verb(verb)


def run_verb(verb: str) -> None:
    """Let Hydra compose the settings of `verb` from ``sys.argv`` and run it."""
    import hydra

    @hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=verb)
    def task(cfg: DictConfig) -> None:
        _run_in_plain_words(verb, cfg)

    task()


def _run_in_plain_words(verb: str, cfg: DictConfig) -> None:
    """Run the verb; an error of the user's becomes one line, with ``HYDRA_FULL_ERROR=1`` the whole trace."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException, InstantiationException
    from hydra.types import RunMode
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    users_errors = (OSError, ValueError, TypeError, FieldsFailedError, HydraException, OmegaConfBaseException)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        cfg.out = f"{cfg.out}/{HydraConfig.get().job.num}"
    module = import_module(f"hpa_cells.commands.{verb}")
    try:
        refuse_useless_out(cfg)
        module.run(cfg)
    except MissingMandatoryValue as error:
        name = error.full_key or str(error).rsplit(" ", 1)[-1]
        _stop(f"Setting `{name}` is required: {name}=… (see `hpa-cells {verb} --help`).", _MISUSED)
    except users_errors as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        # Hydra wraps what a thing said while it was built; the user wants the thing's own words.
        built = isinstance(error, InstantiationException) and error.__cause__
        _stop(str(built or error), _FAILED)


def _stop(message: str, status: int) -> NoReturn:
    logging.shutdown()
    sys.stderr.write(f"hpa-cells: {message}\n")
    sys.exit(status)


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items())
    return (
        "Reads where proteins are in single human cells.\n\n"
        "usage: hpa-cells VERB [name=value ...] [--multirun]\n\n"
        f"{verbs}\n\n"
        "`hpa-cells VERB --help` lists the settings of a verb and the choices for each.\n"
    )
