"""``hpa-cells push``: a model on a hub, with a card that the hub reads, and nothing of its training."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.settings import to_settings
from hpa_cells.hub import HubModel, push
from hpa_cells.sharing.card import classifier_facts, cross_fit_card, hub_card, segmenter_facts
from hpa_cells.sharing.folder import FILES_ON_HUB, SharedModel, find_model
from hpa_cells.sharing.private import without_places

__all__ = ["files_to_push", "run"]

log = logging.getLogger(__name__)

_CARD, _CONFIG = "README.md", "checkpoint.json"
_WHAT: Final = {
    "classifier": "cell classifier",
    "cross_fit": "cell classifiers",
    "segmenter": "cell segmenter",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _PushSettings:
    """The settings of ``conf/push.yaml`` that are no places, for their types to be checked."""

    private: bool
    license: str | None
    message: str | None


def run(cfg: DictConfig) -> None:
    """Put the model up in one commit.

    Raises
    ------
    OSError, ValueError
        If there is no model, it does not load, or the hub does not take it.
    """
    out = HubModel.parse(str(cfg.out))
    settings = to_settings(_PushSettings, OmegaConf.masked_copy(cfg, list(_PushSettings.__slots__)))
    model = find_model(str(cfg.model))
    files = files_to_push(model, out, license_=settings.license)
    pushed = push(
        out,
        files,
        replaced=FILES_ON_HUB,
        private=settings.private,
        message=settings.message or f"A {_WHAT[model.kind]} of hpa_cells {__version__}",
    )
    log.info("%s: %s", pushed, ", ".join(sorted(files)))


def files_to_push(model: SharedModel, out: HubModel, *, license_: str | None) -> dict[str, bytes]:
    """Name -> content of what is put up: weights as they are, settings and cards without places of this machine."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in model.files.items() if _is_text(name)}
    configs = [name for name in texts if name.endswith(_CONFIG)]
    for config in configs:
        card = config.removesuffix(_CONFIG) + _CARD
        texts[config], told = without_places(texts[config], texts.get(card, ""))
        if card in texts:
            texts[card] = told
    if model.kind == "cross_fit":
        texts.setdefault(_CARD, cross_fit_card([config.partition("/")[0] for config in configs]))
    facts = segmenter_facts() if model.kind == "segmenter" else _facts(texts[configs[0]], out)
    if model.kind == "cross_fit":
        # What one fold has reached is not what all reach together.
        facts.pop("model-index", None)
    card = texts.get(_CARD, f"# A {_WHAT[model.kind]}\n")
    texts[_CARD] = hub_card(card, facts, model=out, license_=license_)
    weights = {name: path.read_bytes() for name, path in model.files.items() if not _is_text(name)}
    return weights | {name: text.encode("utf-8") for name, text in texts.items()}


def _facts(config: str, out: HubModel) -> dict[str, Any]:
    return classifier_facts(json.loads(config), name=out.repository.partition("/")[2])


def _is_text(name: str) -> bool:
    return name.endswith((_CARD, _CONFIG))
