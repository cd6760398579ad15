"""``hpa-cells calibrate``: fusion and calibration of scores, learned on fields that no training has seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.classes import ClassSet
from hpa_cells.commands.calibration import (
    RULE,
    Material,
    ReliabilityTables,
    read_material,
    reliability_tables,
)
from hpa_cells.commands.out_of_fold import is_out_of_fold
from hpa_cells.commands.settings import to_settings
from hpa_cells.fields import assign_folds
from hpa_cells.metrics import ReliabilityColumn, ScoreColumn
from hpa_cells.prediction.fusion_choice import ChoiceSettings
from hpa_cells.prediction.learned_fusion import LearnedFusion
from hpa_cells.prediction.learning import LearningSettings, learn, score_held_out
from hpa_cells.prediction.scores_file import write_learned_fusion
from hpa_cells.report.reliability import write_reliability_figure

__all__ = ["run", "warnings_of"]

log = logging.getLogger(__name__)

_TITLES: Final = {
    RULE: "rule",
    "ap_own": "AP\ncell",
    "ap_learned": "AP\nfused",
    "calibration_error_before": "error\nbefore",
    "calibration_error_after": "error\nafter",
    ScoreColumn.NUM_TRUTHS: "true",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlainSettings:
    """The settings of ``conf/calibrate.yaml`` that are in no group, for their types to be checked."""

    calibration: str
    missing_fields: str
    num_folds: int
    num_bins: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("num_folds", 2), ("num_bins", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least {least}.")


def run(cfg: DictConfig) -> None:
    """Write ``scores.json``, ``reliability.csv`` and pictures of it to `out`, and print what was learned."""
    out = Path(cfg.out)
    plain = to_settings(_PlainSettings, OmegaConf.masked_copy(cfg, list(_PlainSettings.__slots__)))
    seeded = {"seed": plain.seed} | cast(dict[str, Any], OmegaConf.to_container(cfg.fusion))
    choice = to_settings(ChoiceSettings, OmegaConf.create(seeded))
    settings = LearningSettings(calibration=plain.calibration, choice=choice)
    material = read_material(cfg.table, cfg.truth, missing_fields=plain.missing_fields, settings=choice)
    validation = material.validation
    if not is_out_of_fold(material.provenance):
        log.info(
            "%s is not out of fold. A model is surer of fields that it was trained on than of others, and what is "
            "learned from those is wrong of others: unless it has not seen these, give ROUND/out_of_fold of `hpa-cells "
            "train cross_fit=true out=ROUND`.",
            cfg.table,
        )
    if validation.cells is None:
        log.warning(
            "%s labels fields only: their scores are calibrated, those of cells are not, and no fusion is learned.",
            cfg.truth,
        )
    folds = assign_folds(material.labels, num_folds=plain.num_folds, seed=plain.seed)
    learned = learn(
        validation,
        use=np.ones(len(folds), dtype=bool),
        settings=settings,
        provenance=_provenance(material, plain, settings),
    )
    held_out = score_held_out(validation, folds, settings)
    tables = reliability_tables(validation, held_out, learned, num_bins=plain.num_bins)
    _write(out, learned, tables)
    _show(tables, learned, Console())
    for warning in warnings_of(tables):
        log.warning("%s", warning)


def warnings_of(tables: Mapping[str, ReliabilityTables]) -> Iterator[str]:
    """Say where fields left out are read worse than without all this: there were too few to learn from."""
    for part, each in tables.items():
        before, after = each.means["mean_brier_before"], each.means["mean_brier_after"]
        if after > before:
            yield (
                f"Calibrated scores of {part} are further from the truth than before (Brier score {after:.4f}, before "
                f"{before:.4f}): learn from more fields, or use calibration=none."
            )
        if "mean_ap_learned" in each.means and each.means["mean_ap_learned"] < each.means["mean_ap_own"]:
            yield "The learned fusion is worse than the cells' own scores: use more fields, or fusion.rules=[]."


def _provenance(material: Material, plain: _PlainSettings, settings: LearningSettings) -> dict[str, Any]:
    """Say where it was learned: of the table's settings those that change its scores."""
    cells, table = material.validation.cells, material.provenance
    counts = {"num_fields": len(material.labels)}
    if cells is not None:
        counts |= {
            "num_cells": len(cells.scores),
            "num_cells_on_a_true_one": len(cells.overlaps.predicted_rows),
            "num_true_cells": len(cells.is_truth),
        }
    of_table = {
        name: table.settings[name] for name in ("tta", "segmenter", "crops") if name in table.settings
    }
    return {
        "version": __version__,
        "table_weights_hash": table.weights_hash,
        "table_settings": of_table,
        "settings": asdict(settings) | {"num_folds": plain.num_folds},
        **counts,
    }


def _write(out: Path, learned: LearnedFusion, tables: Mapping[str, ReliabilityTables]) -> None:
    bins = pd.concat([each.bins.assign(of=part) for part, each in tables.items()], ignore_index=True)
    with replaced_on_success(out / "reliability.csv") as temporary:
        bins.set_index(["of", ScoreColumn.CLASS_KEY, "stage"]).to_csv(temporary)
    for position, (part, each) in enumerate(tables.items()):
        name = "reliability.png" if position == 0 else f"reliability_{part}.png"
        write_reliability_figure(each.bins, learned.class_set, out / name, of=part)
    # Last: whoever finds it finds all.
    write_learned_fusion(out, learned, scores={part: _plain(each) for part, each in tables.items()})


def _plain(tables: ReliabilityTables) -> dict[str, Any]:
    """As values that JSON can spell: null for NaN."""
    means = pd.DataFrame([tables.means])
    [of_means], per_class = (
        json.loads(frame.to_json(orient="records")) for frame in (means, tables.per_class)
    )
    return {"on_fields_left_out": of_means, "per_class": per_class}


def _show(tables: Mapping[str, ReliabilityTables], learned: LearnedFusion, console: Console) -> None:
    """Print one row a class of the cells, or of the fields where only these are known."""
    first = next(iter(tables.values()))
    titles = {column: title for column, title in _TITLES.items() if column in first.per_class}
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, collapse_padding=True)
    table.add_column("location", footer="mean", overflow="ellipsis", no_wrap=True, max_width=24)
    for column, title in titles.items():
        justify: Literal["left", "right"] = "left" if column == RULE else "right"
        footer = _cell(first.means.get(f"mean_{column}"))
        table.add_column(title, footer=footer, justify=justify, no_wrap=True, min_width=5)
    for _, row in first.per_class.iterrows():
        table.add_row(row[ScoreColumn.NAME], *(_cell(row[column]) for column in titles))
    console.print(table)
    for line in _remarks(tables, learned):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cell(value: Any) -> str:
    """Write a score, a count, a word or nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.3f}"
    return value if isinstance(value, str) else f"{value:,}"


def _remarks(tables: Mapping[str, ReliabilityTables], learned: LearnedFusion) -> Iterator[str]:
    if learned.rules is not None:
        means = tables["cells"].means
        yield (
            f"mAP {means['mean_ap_own']:.3f} of the cells' own scores, {means['mean_ap_common']:.3f} with the common "
            f"rule ({learned.rules.common}), {means['mean_ap_learned']:.3f} with a rule for each class: on fields left "
            "out, the mean over folds."
        )
    for part, each in tables.items():
        means, num_rows = each.means, each.per_class[ReliabilityColumn.NUM_ROWS].iloc[0]
        yield (
            f"Calibration error of {part} {means['mean_calibration_error_before']:.3f} before, "
            f"{means['mean_calibration_error_after']:.3f} after; Brier score {means['mean_brier_before']:.4f} before, "
            f"{means['mean_brier_after']:.4f} after; on {num_rows:,} left out in turn."
        )
    for part, calibration in (("cells", learned.cells), ("fields", learned.fields)):
        if calibration is not None and calibration.method != "none":
            yield from _kept(part, calibration.maps, learned.class_set)


def _kept(part: str, maps: tuple[Any, ...], class_set: ClassSet) -> Iterator[str]:
    names = [name for name, each in zip(class_set.names, maps, strict=True) if each is None]
    if names:
        yield f"Classes that keep their scores, as no {part} or all of them show them: {', '.join(names)}."
