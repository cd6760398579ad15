"""The model card as a hub reads it: the words that the folder has, below front matter that machines understand."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from hpa_cells.hub import HubModel, is_on_hub

__all__ = ["classifier_facts", "cross_fit_card", "hub_card", "segmenter_facts"]

# https://huggingface.co/docs/hub/model-cards: a block between lines of three dashes at the very beginning.
_FRONT: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_LICENSE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_TAGS: Final = ["hpa-cells", "biology", "microscopy", "fluorescence", "human-protein-atlas", "single-cell"]
_CLASSIFIER_TAGS: Final = ["protein-localization", "multi-label-classification", "weakly-supervised"]
_SEGMENTER_TAGS: Final = ["cell-segmentation", "instance-segmentation"]
# What a classifier's metrics are called here and on a hub.
_METRICS: Final = {
    "macro_average_precision": ("mean_average_precision", "Macro average precision of fields"),
    "macro_f1_at_tuned_thresholds": ("f1", "Macro F1 of fields at thresholds tuned on them"),
}


def hub_card(text: str, facts: dict[str, Any], *, model: HubModel, license_: str | None) -> str:
    """A card with front matter, in which the commands name the model on the hub.

    Parameters
    ----------
    text
        The card in the folder. Front matter that it has already is kept, and wins over `facts`; tags are joined.
    facts
        Front matter, see `classifier_facts` and `segmenter_facts`.
    model
        Where it is put up.
    license_
        In the words of the hub; None for that of the front matter, if any.

    Raises
    ------
    ValueError
        If the license is no such word, or the front matter of the card is no YAML of names and values.
    """
    if license_ is not None and _LICENSE.fullmatch(license_) is None:
        raise ValueError(
            f"license is {license_!r}: write it as the hub does, such as apache-2.0, cc-by-4.0 or other."
        )
    front = _FRONT.match(text)
    known = _front_matter(front[1]) if front else {}
    merged = facts | known | ({} if license_ is None else {"license": license_})
    if isinstance(known.get("tags"), list):
        merged["tags"] = list(dict.fromkeys([*known["tags"], *facts["tags"]]))
    body = text[front.end() :] if front else text
    address = f"hf://{model.repository}"
    for placeholder in ("model=THIS_FOLDER", "segmenter.weights=FILE"):
        body = body.replace(placeholder, f"{placeholder.partition('=')[0]}={address}")
    dumped = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{dumped}---\n\n{body.lstrip()}"


def classifier_facts(config: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Front matter of a classifier.

    Parameters
    ----------
    config
        Its ``checkpoint.json``.
    name
        The name that results are listed under.
    """
    provenance = config["provenance"]
    start = provenance.get("training", {}).get("first_weights")
    facts: dict[str, Any] = {
        "library_name": "hpa-cells",
        "pipeline_tag": "image-classification",
        "tags": [*_TAGS, *_CLASSIFIER_TAGS, config["class_set"]],
    }
    if is_on_hub(start):
        facts["base_model"] = HubModel.parse(str(start)).repository
    metrics = [
        {"type": kind, "value": round(float(value), 4), "name": title}
        for key, (kind, title) in _METRICS.items()
        if _is_number(value := provenance.get("metrics", {}).get(key))
    ]
    if metrics:
        result = {
            "task": {"type": "image-classification", "name": "Protein locations"},
            "dataset": {"type": "custom", "name": "Fields left out of the training for its validation"},
            "metrics": metrics,
        }
        facts["model-index"] = [{"name": name, "results": [result]}]
    return facts


def segmenter_facts() -> dict[str, Any]:
    """Front matter of a segmenter."""
    return {
        "library_name": "hpa-cells",
        "pipeline_tag": "image-segmentation",
        "tags": [*_TAGS, *_SEGMENTER_TAGS],
    }


def cross_fit_card(folds: Sequence[str]) -> str:
    """The card of several models that answer as one, each in a folder of the name of its fold."""
    list_of_folds = "\n".join(f"- [{fold}]({fold}/README.md)" for fold in folds)
    return (
        f"# Cell classifiers of {len(folds)} folds\n\n"
        "Each has learned from the fields of all folds but its own; together they answer with the mean of their\n"
        "probabilities. Use them with `hpa-cells predict fields=DIR model=THIS_FOLDER out=RUN`. The weights are plain\n"
        f"tensors: opening them runs no code.\n\n{list_of_folds}\n"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _front_matter(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"The front matter of README.md is no YAML ({error}): correct it.") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"The front matter of README.md is {type(found).__name__}, expected names and values: correct it."
        )
    return found
