"""``hpa-cells evaluate``: the scores of one run, or of several beside each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from hpa_cells.atomic import replaced_on_success
from hpa_cells.commands.evaluation import EvaluationColumn, RunScores, read_truth, score_run
from hpa_cells.metrics import CHALLENGE_IOU, ScoreColumn, macro_mean
from hpa_cells.places import place
from hpa_cells.prediction import FixedThresholds, RatioThresholds, TunedThresholds
from hpa_cells.shown import redacted_settings
from hpa_cells.table import CellTable, read_table

__all__ = ["run"]

Thresholds: TypeAlias = FixedThresholds | RatioThresholds | TunedThresholds

_RUN: Final = "run"
_TIES_MATTER_FROM = 0.0005
_TITLES: Final = {
    ScoreColumn.AP: "AP",
    EvaluationColumn.RANDOM_AP: "random",
    EvaluationColumn.MATCHED_AP: "right\nmasks",
    EvaluationColumn.FIELD_AP: "field\nAP",
    EvaluationColumn.FIELD_F1: "field\nF1",
    ScoreColumn.NUM_TRUTHS: "cells",
    EvaluationColumn.NUM_TRUE_FIELDS: "fields",
}


def run(cfg: DictConfig) -> None:
    """Write ``scores.json`` and ``per_class.csv`` to `out` and print them."""
    out = Path(cfg.out)
    _check_choice("missing_fields", cfg.missing_fields, ("error", "no_cells", "leave_out"))
    _check_choice("ties", cfg.ties, ("order", "average"))
    thresholds = instantiate(cfg.thresholds)
    scores = {
        name: score_run(
            table,
            read_truth(cfg.truth, table.class_set),
            thresholds=thresholds.of(table),
            rules=_rules(table, thresholds),
            missing_fields=cfg.missing_fields,
            ties=cfg.ties,
            seed=cfg.seed,
        )
        for name, table in _read_tables(cfg.table).items()
    }
    _write(out, scores, cfg)
    _show(scores, Console())


def _rules(table: CellTable, chosen: Thresholds) -> dict[str, NDArray[np.float64]]:
    """The thresholds of every rule that can be applied, by the names of ``conf/thresholds``."""
    rules: dict[str, Thresholds] = {
        "fixed": chosen if isinstance(chosen, FixedThresholds) else FixedThresholds()
    }
    if table.provenance.settings.get("thresholds") is not None:
        rules["tuned"] = chosen if isinstance(chosen, TunedThresholds) else TunedThresholds()
    if isinstance(chosen, RatioThresholds):
        rules["ratio"] = chosen
    return {name: rule.of(table) for name, rule in rules.items()}


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: use one of {', '.join(choices)}.")


def _read_tables(folders: str | ListConfig) -> dict[str, CellTable]:
    """Read the tables by the shortest names that tell their folders apart."""
    paths = [place(folder) for folder in ([folders] if isinstance(folders, str) else folders)]
    if len(set(paths)) < len(paths) or not paths:
        raise ValueError(f"table is {folders}: give one folder, or a list of different ones.")
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = list(map(str, paths))
    tables = {name: read_table(path) for name, path in zip(names, paths, strict=True)}
    class_sets = {table.class_set.name for table in tables.values()}
    if len(class_sets) > 1:
        raise ValueError(
            f"The runs have the classes of {' and '.join(sorted(class_sets))}: evaluate those of one class set."
        )
    return tables


def _write(out: Path, scores: Mapping[str, RunScores], cfg: DictConfig) -> None:
    per_class = pd.concat([each.per_class.assign(**{_RUN: name}) for name, each in scores.items()])
    with replaced_on_success(out / "per_class.csv") as temporary:
        per_class.set_index(_RUN).to_csv(temporary)
    settings = redacted_settings(OmegaConf.to_container(cfg, resolve=True))
    runs = {
        name: {
            **each.summary,
            "field_f1_by_rule": dict(each.field_f1_by_rule),
            "masks": each.masks.to_dict("records"),
        }
        for name, each in scores.items()
    }
    with replaced_on_success(out / "scores.json") as temporary:
        text = json.dumps(_with_null({"settings": settings, "runs": runs}), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _with_null(value: Any) -> Any:
    """Put None, which JSON can spell, for the NaN of a score without truth."""
    if isinstance(value, dict):
        return {key: _with_null(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_null(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _show(scores: Mapping[str, RunScores], console: Console) -> None:
    console.print(_table_of(scores))
    for name, each in scores.items():
        for line in _remarks(each):
            console.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)


def _table_of(scores: Mapping[str, RunScores]) -> Table:
    """Lay out one row a class: all scores of a single run, or the main score of each of several."""
    first = next(iter(scores.values())).per_class
    if len(scores) == 1:
        columns = {title: first[column] for column, title in _TITLES.items() if column in first}
    else:
        main = ScoreColumn.AP if ScoreColumn.AP in first else EvaluationColumn.FIELD_AP
        columns = {name: each.per_class[main] for name, each in scores.items()}
        of_all = (EvaluationColumn.RANDOM_AP, ScoreColumn.NUM_TRUTHS, EvaluationColumn.NUM_TRUE_FIELDS)
        columns |= {_TITLES[column]: first[column] for column in of_all if column in first}
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, collapse_padding=True)
    table.add_column("location", footer="mean", overflow="ellipsis", no_wrap=True, max_width=24)
    for title, values in columns.items():
        mean = macro_mean(values.to_frame("score"), "score") if values.dtype.kind == "f" else None
        table.add_column(title, footer=_cell(mean), justify="right", min_width=5)
    for row, name in enumerate(first[ScoreColumn.NAME]):
        table.add_row(name, *(_cell(values.iloc[row]) for values in columns.values()))
    return table


def _cell(value: Any) -> str:
    """Write a score, a count, or nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return f"{value:,}"


def _remarks(scores: RunScores) -> Iterator[str]:
    """Say in words what the table of classes does not."""
    summary = scores.summary
    if "mean_ap" in summary:
        yield (
            f"mAP {summary['mean_ap']:.3f} at mask IoU {CHALLENGE_IOU}, {summary['mean_random_ap']:.3f} with "
            f"random confidences; {summary['num_cells']:,} cells were predicted, "
            f"{summary['num_true_cells']:,} are true."
        )
        worst, best = summary["mean_ap_worst"], summary["mean_ap_best"]
        if best - worst > _TIES_MATTER_FROM:
            yield (
                f"Cells of equal confidence: by their order alone mAP is anything from {worst:.3f} to "
                f"{best:.3f}; ties=average gives what to expect."
            )
    if len(scores.masks):
        f1 = scores.masks.set_index(ScoreColumn.IOU_THRESHOLD)[ScoreColumn.F1]
        others = ", ".join(f"{f1[iou]:.3f} at {iou:g}" for iou in f1.index if iou != CHALLENGE_IOU)
        yield f"Masks: F1 {f1[CHALLENGE_IOU]:.3f} at IoU {CHALLENGE_IOU} ({others})."
    yield (
        f"Fields: macro AP {summary['mean_field_ap']:.3f}, macro F1 {summary['mean_field_f1']:.3f} "
        f"on {summary['num_fields']:,}."
    )
    if len(scores.field_f1_by_rule) > 1:
        by_rule = ", ".join(f"{name} {value:.3f}" for name, value in scores.field_f1_by_rule.items())
        yield f"Fields: macro F1 by thresholds: {by_rule}."
