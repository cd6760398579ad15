"""Which settings may be addresses, such as ``s3://bucket/run``; all others are refused before any work."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from hpa_cells.commands.grammar import is_path_setting
from hpa_cells.commands.hub_models import hub_settings
from hpa_cells.hub import HubModel, is_on_hub
from hpa_cells.places import Address, is_address, place
from hpa_cells.shown import redacted

__all__ = ["refuse_addresses", "refuse_useless_address"]

_FIELDS_AND_MASKS: Final = frozenset({"fields", "segmenter.folder", "segmenter.nuclei_folder"})
_TAKEN: Final = {
    "predict": _FIELDS_AND_MASKS | {"out"},
    "segment": _FIELDS_AND_MASKS | {"out"},
    "merge": frozenset({"out"}),
    "evaluate": frozenset({"table"}),
    "export": frozenset({"fields", "table"}),
    "report": frozenset({"fields", "table"}),
    "explore": _FIELDS_AND_MASKS,
}
_READ_ONLY: Final = ("http", "https")


def refuse_addresses(verb: str, config: DictConfig) -> None:
    """Check the addresses among the settings of a verb.

    Raises
    ------
    ValueError
        If a setting takes none, or one is of a protocol that is not known or whose package is missing.
    """
    for name, text in _paths(OmegaConf.to_container(config, resolve=False)):
        if not is_address(text):
            continue
        if is_on_hub(text) and name in hub_settings(verb):
            HubModel.parse(text)
            continue
        if name not in _TAKEN.get(verb, frozenset()):
            takers = ", ".join(f"`{each}`" for each in sorted(_TAKEN.get(verb, ())))
            raise ValueError(
                f"`{name}` of {verb} is {redacted(text)}, and takes a path of this machine: copy the files, or mount "
                "the store."
                + (f" Addresses are taken by {takers}." if takers else "")
                + (" Of a hub it takes hf://owner/name." if name in hub_settings(verb) else "")
            )
        place(text)


def refuse_useless_address(out: Address) -> None:
    """Check that files may be put at an address, by putting up an empty one and removing it.

    Raises
    ------
    OSError
        If they may not, or there is a file already.
    """
    if out.protocol in _READ_ONLY:
        raise PermissionError(f"out={out} is on a web server, which takes no files: choose another `out`.")
    if out.is_file():
        raise NotADirectoryError(f"{out} is a file where out={out} needs a folder: choose another `out`.")
    probe = out / f".hpa-cells-{secrets.token_hex(4)}"
    probe.write_bytes(b"")
    probe.unlink(missing_ok=True)


def _paths(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a setting that is a path or a list of them, by its name with dots."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _paths(value, name)
    elif isinstance(node, str) and is_path_setting(name):
        yield name, node
