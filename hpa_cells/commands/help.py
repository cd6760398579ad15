"""What ``hpa-cells VERB --help`` prints: the verb's own groups and settings, and no other verb's."""

from __future__ import annotations

from omegaconf import OmegaConf

from hpa_cells.commands.settings import compose_with_choices, conf_folder

__all__ = ["help_text"]


def help_text(verb: str, summary: str, overrides: list[str]) -> str:
    """Usage, groups with their choices, and settings with the values they have under `overrides`."""
    config, choices = compose_with_choices(verb, overrides)
    groups = "\n".join(
        f"  {group}={'|'.join(_options(group))}  (now {chosen})" for group, chosen in sorted(choices.items())
    )
    settings = "\n".join(f"  {line}" for line in OmegaConf.to_yaml(config).splitlines())
    return (
        f"hpa-cells {verb}: {summary}\n\n"
        f"usage: hpa-cells {verb} [name=value ...] [--multirun]\n\n"
        + (f"Choices, each a file in conf/:\n{groups}\n\n" if choices else "")
        + f"Settings and their values; ??? must be given:\n{settings}\n\n"
        "A nested setting is given as group.name=value. --multirun runs each value of name=a,b,c.\n"
    )


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
