"""The package huggingface-hub, and what it raises in our words."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Final

from hpa_cells.hub.address import HubModel
from hpa_cells.shown import redacted

__all__ = ["api_of", "in_plain_words", "is_among", "package", "quiet", "status_of"]

_PLAIN_NAME: Final = re.compile(r"[\w./-]+", re.ASCII)
_LOG_IN: Final = "log in by `hf auth login`, or set HF_TOKEN"


def package(wanted_by: str) -> Any:
    """huggingface_hub; it takes a moment to load, and is not always there."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f'{wanted_by} needs the package huggingface-hub, which is not installed: pip install "hpa-cells[hub]".'
        ) from error
    return huggingface_hub


def api_of(hub: Any) -> Any:
    """The functions of the package, which tell the hub what program asks."""
    from hpa_cells import __version__

    return hub.HfApi(library_name="hpa-cells", library_version=__version__)


def is_among(name: str, wanted: Sequence[str]) -> bool:
    """Whether a file of a repository is one of the wanted; never one whose name could lead elsewhere."""
    if _PLAIN_NAME.fullmatch(name) is None or ".." in name:
        return False
    return any(name.count("/") == each.count("/") and fnmatchcase(name, each) for each in wanted)


@contextmanager
def quiet(hub: Any) -> Iterator[None]:
    """Let the package draw its bars on a terminal only, and leave its warnings to our errors.

    They tell of each attempt to go on, with addresses in which signatures stand.
    """
    utils, log = hub.utils, logging.getLogger("huggingface_hub")
    has_bars = not (sys.stderr.isatty() or utils.are_progress_bars_disabled())
    level = log.level
    # Who wants to hear more of it has said so, HF_HUB_VERBOSITY=debug.
    if log.getEffectiveLevel() == logging.WARNING:
        log.setLevel(logging.ERROR)
    if has_bars:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if has_bars:
            utils.enable_progress_bars()


def status_of(error: BaseException) -> int | None:
    """What a hub has answered; None where nothing has."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


@contextmanager
def in_plain_words(model: HubModel) -> Iterator[None]:
    """Turn what the package raises into an OSError that names the address and says what to do, and holds no secret."""
    try:
        yield
    # Each version of the package has another one below it, whose errors have no more in common than this.
    except Exception as error:
        is_its_own = type(error).__module__ != "builtins"
        if not (is_its_own or isinstance(error, ConnectionError | RuntimeError | TimeoutError)):
            raise
        # Those it comes from may show signed addresses.
        raise _told(model, error) from None


def _first(error: BaseException) -> BaseException:
    """The error that this one comes from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _told(model: HubModel, error: Exception) -> OSError:
    """The error in our words. Those of the package may hold signed addresses, and tell of its own functions."""
    from huggingface_hub import errors

    first = _first(error)
    status = status_of(first)
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(f"{model} is gated: ask for access on its page, and {_LOG_IN}.")
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(f"{model} does not exist: the repository has no revision {model.revision}.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileNotFoundError(
            f"hf://{model.repository} does not exist, or is private and you may not see it: check its spelling, or "
            f"{_LOG_IN}."
        )
    if status in (401, 403):
        return PermissionError(
            f"The hub refuses hf://{model.repository} ({status}): {_LOG_IN}, with a token that has the right to it."
        )
    if status is not None:
        return OSError(
            f"The hub does not give or take hf://{model.repository} (it answers {status}): try again later."
        )
    reason = redacted(str(first)).strip().split("\n")[0]
    return OSError(
        f"{model} cannot be reached, or not all of it has come ({type(first).__name__}: {reason}): check the "
        "network and HF_ENDPOINT, and repeat the command, which goes on from there."
    )
