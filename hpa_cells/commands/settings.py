"""From the files in ``conf/`` to checked settings."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from omegaconf import DictConfig, OmegaConf, open_dict

from hpa_cells.commands.addresses import refuse_useless_address
from hpa_cells.hub import is_on_hub
from hpa_cells.places import Address, place

__all__ = [
    "compose",
    "compose_checked",
    "compose_with_choices",
    "conf_folder",
    "refuse_useless_out",
    "to_settings",
]

T = TypeVar("T")


def conf_folder() -> Path:
    """The folder of the configuration: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def compose(verb: str, overrides: list[str]) -> DictConfig:
    """The configuration of a command; overrides are in Hydra's grammar: ``["out=runs/a", "tta=flips"]``."""
    import hydra

    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose(verb, overrides)


def compose_with_choices(verb: str, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
    """The same configuration, and which file was chosen in each group of the verb."""
    config, of_hydra = _compose_with_hydras(verb, overrides)
    chosen = of_hydra.runtime.choices.items()
    return config, {group: str(choice) for group, choice in chosen if not group.startswith("hydra/")}


def _compose_with_hydras(verb: str, overrides: list[str]) -> tuple[DictConfig, DictConfig]:
    """The configuration of a command, and that of Hydra itself."""
    import hydra

    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = hydra.compose(verb, overrides, return_hydra_config=True)
    of_hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return config, of_hydra


def compose_checked(verb: str, overrides: list[str]) -> tuple[DictConfig, DictConfig]:
    """The configuration of a command, of overrides that are checked first, and that of Hydra itself.

    Raises
    ------
    ValueError
        For a setting or choice that the verb does not have, also one added with ``+``; it names close ones.
    """
    from hydra.errors import HydraException

    loose = [override for override in overrides if "=" not in override and not override.startswith("~")]
    if loose:
        raise ValueError(f"`{loose[0]}` is not a setting with its value: write name=value.")
    try:
        config, of_hydra = _compose_with_hydras(verb, overrides)
    except HydraException as error:
        raise ValueError(_in_plain_words(verb, str(error), overrides)) from error
    if any(override.startswith("+") for override in overrides):
        known = {*compose(verb, [])}
        if added := [str(name) for name in config if name not in known]:
            raise ValueError(_unknown_setting(verb, added[0], overrides))
    return config, of_hydra


def refuse_useless_out(config: DictConfig) -> None:
    """Check that `out` can be written to, before any work is done that would be lost.

    Raises
    ------
    ValueError
        If `out` is empty, which would be the folder that the user happens to be in.
    OSError
        If a file is where a folder is needed, or the folder may not be written to.
    """
    if OmegaConf.is_missing(config, "out"):
        return  # The verb asks for it, unless it does without.
    if not str(config.out or "").strip():
        raise ValueError("`out` is empty: give a place to write to, or out=. for the folder you are in.")
    if is_on_hub(config.out) and "private" in config:
        return  # Of the one verb that puts models up: the hub says itself whether it takes one.
    out = place(config.out)
    if isinstance(out, Address):
        refuse_useless_address(out)
        return
    # A file that is there already is replaced, by the verbs that write one.
    folder = out.parent if out.suffix and ("format" in config or "opset" in config) else out
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file where out={out} needs a folder: choose another `out`.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{there} may not be written to: choose another `out`, or have that allowed.")


def _in_plain_words(verb: str, message: str, overrides: Sequence[str]) -> str:
    """Hydra's message, or a shorter one with a suggestion where a name was not found."""
    match = re.match(r"Could not override '([^']+)'", message)
    return (
        _unknown_setting(verb, match.group(1), overrides)
        if match
        else message.split("\nConfig search path")[0]
    )


def _unknown_setting(verb: str, name: str, overrides: Sequence[str]) -> str:
    # Settings depend on what was chosen: those of format=csv are others than those of format=coco.
    choices = [each for each in overrides if (conf_folder() / each.partition("=")[0]).is_dir()]
    known = _setting_names(compose(verb, choices))
    close = difflib.get_close_matches(name, known, n=3)
    hint = f" Did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""
    return f"`{name}` is not a setting of {verb}.{hint} See `hpa-cells {verb} --help`."


def _setting_names(config: DictConfig, prefix: str = "") -> list[str]:
    """Names of all settings, nested ones with dots."""
    names = []
    for name in map(str, config):
        full_name = f"{prefix}{name}"
        names.append(full_name)
        if not OmegaConf.is_missing(config, name) and OmegaConf.is_dict(config._get_node(name)):
            names += _setting_names(config[name], f"{full_name}.")
    return names


def to_settings(kind: type[T], node: DictConfig) -> T:
    """The flat dataclass `kind` filled from `node`.

    Raises
    ------
    omegaconf.errors.ConfigKeyError, omegaconf.errors.ValidationError
        For a key that `kind` lacks, or a value of another type.
    """
    return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), node)))
