"""From the files in ``conf/`` to checked settings."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

from omegaconf import DictConfig, OmegaConf

__all__ = ["compose", "conf_folder", "to_settings"]

T = TypeVar("T")


def conf_folder() -> Path:
    """The folder of the configuration: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def compose(verb: str, overrides: list[str]) -> DictConfig:
    """The configuration of a command with overrides in Hydra's grammar, e.g. ``["out=runs/a", "tta=flips"]``."""
    import hydra

    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose(verb, overrides)


def to_settings(kind: type[T], node: DictConfig) -> T:
    """The flat dataclass `kind` filled from `node`.

    Raises
    ------
    omegaconf.errors.ConfigKeyError, omegaconf.errors.ValidationError
        For a key that `kind` lacks, or a value of another type.
    """
    return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), node)))
