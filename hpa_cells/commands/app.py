"""The console program ``hpa-cells``: picks the verb, lets Hydra read settings, puts errors in plain words."""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
import threading
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from hpa_cells import __version__
from hpa_cells.commands.addresses import refuse_addresses
from hpa_cells.commands.grammar import paths_as_typed
from hpa_cells.commands.help import help_text
from hpa_cells.commands.hub_models import pin_models
from hpa_cells.commands.settings import compose_checked, conf_folder, refuse_useless_out
from hpa_cells.commands.system_errors import told_by_system
from hpa_cells.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from omegaconf import DictConfig

__all__ = ["VERBS", "FieldsFailedError", "main", "run_verb"]

log = logging.getLogger(__name__)

VERBS = {
    "simulate": "make fields, field labels and the truth per cell",
    "segment": "write the label images of cells and nuclei",
    "train": "learn single-cell locations from field labels",
    "predict": "write the cell table: masks and probabilities of every cell",
    "merge": "join the parts of a prediction that several machines made",
    "evaluate": "score a cell table against a truth",
    "calibrate": "learn from a cell table and a truth what its scores mean",
    "export": "turn a cell table into a submission or another format",
    "report": "make one HTML page and overlays of a run",
    "explore": "look at label tables and fields before training",
    "push": "put a model up on a hub, for others to use",
    "pull": "bring a model of a hub into a folder",
    "onnx": "write a model as ONNX, which other programs run",
}
_FAILED, _MISUSED = 1, 2
_GOES_ON = "Finished work is kept: the same command goes on from there."
# Of a shell: more by the number of the signal.
_STOPPED = 128


class FieldsFailedError(RuntimeError):
    """Some fields failed while the others were finished and kept."""


def main() -> NoReturn:
    """Run ``hpa-cells VERB [settings]`` and end with status 0, 1 (failed), 2 (misused), 130 or 143 (stopped).

    SIGTERM, by which clusters end a job, is taken as Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # Threads of torch that wait by spinning slow each other down severalfold where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _dispatch(sys.argv[1:])
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        # A second one came while threads ended, and Python cannot end with one of them inside a library in C.
        if any(thread.name.startswith("hpa-cells ") for thread in threading.enumerate()):
            sys.stderr.write(f"hpa-cells: Stopped at once. {_GOES_ON}\n")
            sys.stderr.flush()
            os._exit(_STOPPED + number)
        _stop(f"Stopped. {_GOES_ON}", _STOPPED + number)
    sys.exit(0)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(number)


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
    multirun = bool({"-m", "--multirun"} & set(flags))
    overrides = paths_as_typed(verb, overrides, multirun=multirun)
    try:
        if {"-h", "--help"} & set(flags):
            sys.stdout.write(help_text(verb, VERBS[verb], overrides))
            sys.exit(0)
        if multirun:
            _refuse_misspelt_sweep(verb, overrides)
        composed = None if flags else compose_checked(verb, overrides)
    except ValueError as error:
        _stop(str(error), _MISUSED)
    if composed is None or any(override.lstrip("+~").startswith("hydra") for override in overrides):
        sys.argv = [f"hpa-cells {verb}", *flags, *overrides]
        run_verb(verb)
    else:
        _run_once(verb, *composed)


def _refuse_misspelt_sweep(verb: str, overrides: list[str]) -> None:
    from hpa_cells.commands.grammar import single_runs
    from hpa_cells.commands.sweep import refuse_sweep

    refuse_sweep(overrides)
    for each in single_runs(overrides):
        compose_checked(verb, each)
    if verb == "train":
        from hpa_cells.commands.sweep_folders import refuse_taken_folders

        refuse_taken_folders(overrides)


def run_verb(verb: str) -> None:
    """Let Hydra compose the settings of `verb` from ``sys.argv`` and run it, or several of it after another.

    What a verb returns is the score that a sweeper of Hydra's may search by.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    failed: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=verb)
    def task(cfg: DictConfig) -> float | None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return _one_of_several(verb, cfg, failed)
        return _run_in_plain_words(verb, cfg)

    if {"-m", "--multirun"} & set(sys.argv):
        _run_all(task, failed)
    else:
        task()


def _run_once(verb: str, cfg: DictConfig, of_hydra: DictConfig) -> None:
    """Run the verb as Hydra would, which composes the settings twice more before it does."""
    from hydra.core.utils import configure_log

    configure_log(of_hydra.job_logging, of_hydra.verbose)
    try:
        _run_in_plain_words(verb, cfg)
    except Exception:
        traceback.print_exc()
        sys.exit(_FAILED)


def _run_in_plain_words(verb: str, cfg: DictConfig) -> float | None:
    """Run the verb; an error of the user's becomes one line, with ``HYDRA_FULL_ERROR=1`` the whole trace."""
    try:
        return _run(verb, cfg)
    except _users_errors() as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        _stop(*_in_plain_words(verb, error, cfg))


def _run(verb: str, cfg: DictConfig) -> float | None:
    module = import_module(f"hpa_cells.commands.{verb}")
    refuse_addresses(verb, cfg)
    refuse_useless_out(cfg)
    pin_models(verb, cfg)
    score: float | None = module.run(cfg)
    return score


def _users_errors() -> tuple[type[Exception], ...]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return (OSError, ValueError, TypeError, FieldsFailedError, HydraException, OmegaConfBaseException)


def _in_plain_words(verb: str, error: Exception, cfg: DictConfig) -> tuple[str, int]:
    """What is told of an error, and the status."""
    from hydra.errors import InstantiationException
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    if isinstance(error, MissingMandatoryValue):
        name = error.full_key or str(error).rsplit(" ", 1)[-1]
        return f"Setting `{name}` is required: {name}=… (see `hpa-cells {verb} --help`).", _MISUSED
    # Hydra wraps what a thing said while it was built; the user wants the thing's own words.
    said = (isinstance(error, InstantiationException) and error.__cause__) or error
    if isinstance(said, OSError):
        out = None if OmegaConf.is_missing(cfg, "out") or cfg.out is None else str(cfg.out)
        return told_by_system(said, out), _FAILED
    return str(said), _FAILED


def _one_of_several(verb: str, cfg: DictConfig, failed: list[int]) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    from hpa_cells.commands.sweep import RunFailedError, let_go, run_numbered

    number = HydraConfig.get().job.num

    def run(cfg: DictConfig) -> float | None:
        try:
            return _run(verb, cfg)
        except _users_errors() as error:
            let_go(error)
            raise RunFailedError(_in_plain_words(verb, error, cfg)[0]) from error
        except Exception as error:
            # A fault of the program, or no memory left: the other runs may be spared it.
            log.exception("Run %d failed.", number)
            let_go(error)
            raise RunFailedError(f"{type(error).__name__}: {error}") from error

    try:
        return run_numbered(run, cfg, number=number, settings=list(HydraConfig.get().overrides.task))
    except RunFailedError:
        failed.append(number)
        raise


def _run_all(task: Callable[[], None], failed: list[int]) -> None:
    """Run a sweep to its end; it fails as a whole if any of its runs did."""
    from hpa_cells.commands.sweep import RUNS_FILE, RunFailedError, errors_left_to_us

    whole_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        with errors_left_to_us():
            task()
    except Exception as error:
        # A search of which every run failed has no best one, and says so in its own way.
        if whole_trace or not (failed or isinstance(error, (RunFailedError, *_users_errors()))):
            raise
        if not failed:
            _stop(str(error), _FAILED)
    if failed:
        numbers = ", ".join(map(str, failed))
        _stop(
            f"Runs {numbers} of the sweep failed, see above; {RUNS_FILE} in its folder has all results.",
            _FAILED,
        )


def _stop(message: str, status: int) -> NoReturn:
    logging.shutdown()
    sys.stderr.write(f"hpa-cells: {shown(message)}\n")
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
