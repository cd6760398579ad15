"""``scores.json``: what was learned on validation fields, as a file that anyone can read and no pickle.

A JSON object of ``format_version``, ``class_set``,

- ``fusion``: the ``common`` rule, that of ``negative`` and those of the ``classes``, each a ``rule`` with its
  ``cell_weight``; null where only fields were labelled,
- ``cells``, null likewise, and ``fields``: the ``method`` of the calibration, and for each of the ``classes`` its
  ``scale`` and ``bias``, or its ``logits`` and ``probabilities``, or null if it keeps its scores,
- ``provenance``: where it was learned,
- ``scores``: what it is worth on fields that it was not learned from, for a reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet, get_class_set
from hpa_cells.prediction.calibration import Calibration, ClassMap, IsotonicMap, ScaleMap
from hpa_cells.prediction.learned_fusion import ClassRule, FusionRules, LearnedFusion

__all__ = ["SCORES_FILE", "read_learned_fusion", "write_learned_fusion"]

SCORES_FILE: Final = "scores.json"
FORMAT_VERSION = 1
_AGAIN = "copy the folder again, or run `hpa-cells calibrate` again"


def write_learned_fusion(folder: Path | str, learned: LearnedFusion, *, scores: Mapping[str, Any]) -> None:
    """Write ``scores.json`` into a folder; it appears whole or not at all.

    Parameters
    ----------
    folder
        Made where it is missing.
    learned
        Rules and calibration.
    scores
        Plain JSON values for a reader; `read_learned_fusion` does not look at them.
    """
    content = _to_json(learned) | {"scores": dict(scores)}
    with replaced_on_success(Path(folder) / SCORES_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_learned_fusion(file: Path | str) -> LearnedFusion:
    """Read what `write_learned_fusion` wrote.

    Parameters
    ----------
    file
        The folder, or the file in it.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If it is damaged, is of a later format, or no such file.
    """
    path = Path(file) / SCORES_FILE if Path(file).is_dir() else Path(file)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist: give the folder that `hpa-cells calibrate` wrote to."
        ) from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): {_AGAIN}.") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise ValueError(
            f"{path} has no format_version: it was not written by `hpa-cells calibrate`, give the folder that was."
        )
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {content['format_version']}, this hpa_cells reads {FORMAT_VERSION}: "
            "use the hpa_cells that wrote it, or a newer one."
        )
    try:
        return _from_json(content, hashlib.sha256(text).hexdigest())
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}: {_AGAIN}.") from error
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): {_AGAIN}.") from error


def _to_json(learned: LearnedFusion) -> dict[str, Any]:
    keys, rules = learned.class_set.keys, learned.rules
    return {
        "format_version": FORMAT_VERSION,
        "class_set": learned.class_set.name,
        "fusion": rules
        and {
            "common": asdict(rules.common),
            "negative": rules.negative,
            "classes": {key: asdict(rule) for key, rule in zip(keys, rules.of_classes, strict=True)},
        },
        "cells": _calibration_to_json(learned.cells, keys),
        "fields": _calibration_to_json(learned.fields, keys),
        "provenance": dict(learned.provenance_of_scores),
    }


def _calibration_to_json(calibration: Calibration | None, keys: tuple[str, ...]) -> dict[str, Any] | None:
    if calibration is None:
        return None
    maps = {
        key: None if each is None else asdict(each) for key, each in zip(keys, calibration.maps, strict=True)
    }
    return {"method": calibration.method, "classes": maps}


def _from_json(content: dict[str, Any], sha256: str) -> LearnedFusion:
    class_set = get_class_set(content["class_set"])
    fusion, rules = content["fusion"], None
    if fusion is not None:
        rules = FusionRules(
            common=ClassRule(**fusion["common"]),
            of_classes=tuple(ClassRule(**each) for each in _of_classes(fusion, class_set)),
            negative=fusion["negative"],
        )
    cells, provenance = content["cells"], dict(content["provenance"])
    # What `predict` compares with its own.
    missing = {"table_weights_hash", "table_settings"} - provenance.keys()
    if missing:
        raise KeyError(min(missing))
    return LearnedFusion(
        class_set=class_set,
        rules=rules,
        cells=None if cells is None else _calibration(cells, class_set),
        fields=_calibration(content["fields"], class_set),
        provenance_of_scores=provenance,
        sha256=sha256,
    )


def _calibration(node: dict[str, Any], class_set: ClassSet) -> Calibration:
    return Calibration(method=node["method"], maps=tuple(map(_class_map, _of_classes(node, class_set))))


def _class_map(node: dict[str, Any] | None) -> ClassMap | None:
    if node is None:
        return None
    if "scale" in node:
        return ScaleMap(**node)
    return IsotonicMap(**{name: tuple(map(float, values)) for name, values in node.items()})


def _of_classes(node: dict[str, Any], class_set: ClassSet) -> list[Any]:
    """What a node says of each class, in their order."""
    if tuple(node["classes"]) != class_set.keys:
        raise ValueError(f"it lists other classes than class set {class_set.name} of this hpa_cells")
    return list(node["classes"].values())
