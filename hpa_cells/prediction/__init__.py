"""From fields to the cell table: streaming, test-time augmentation, fusion. torch is loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpa_cells.prediction.failures import FAILURES_FILE, Failure, write_failures
    from hpa_cells.prediction.fusion import AreaWeight, Fusion, ScoreFusion
    from hpa_cells.prediction.learned_fusion import LearnedFusion
    from hpa_cells.prediction.pipeline import Finished, predict_fields
    from hpa_cells.prediction.ray_runner import RayRunner
    from hpa_cells.prediction.reading_marks import ReadingMarks
    from hpa_cells.prediction.runner import LocalRunner, Runner, Way
    from hpa_cells.prediction.scores_file import read_learned_fusion
    from hpa_cells.prediction.scoring import (
        CellPixels,
        ScoringSettings,
        pick_device,
        score_cells,
        score_crops,
    )
    from hpa_cells.prediction.segmenting import segmentation_stages
    from hpa_cells.prediction.settings import PredictionSettings
    from hpa_cells.prediction.stage_times import StageTimes
    from hpa_cells.prediction.thresholds import FixedThresholds, RatioThresholds, TunedThresholds
    from hpa_cells.prediction.tta import Symmetries

__all__ = [
    "FAILURES_FILE",
    "AreaWeight",
    "CellPixels",
    "Failure",
    "Finished",
    "FixedThresholds",
    "Fusion",
    "LearnedFusion",
    "LocalRunner",
    "PredictionSettings",
    "RatioThresholds",
    "RayRunner",
    "ReadingMarks",
    "Runner",
    "ScoreFusion",
    "ScoringSettings",
    "StageTimes",
    "Symmetries",
    "TunedThresholds",
    "Way",
    "pick_device",
    "predict_fields",
    "read_learned_fusion",
    "score_cells",
    "score_crops",
    "segmentation_stages",
    "write_failures",
]

_MODULES = {
    "FAILURES_FILE": "failures",
    "AreaWeight": "fusion",
    "CellPixels": "scoring",
    "Failure": "failures",
    "Finished": "pipeline",
    "FixedThresholds": "thresholds",
    "Fusion": "fusion",
    "LearnedFusion": "learned_fusion",
    "LocalRunner": "runner",
    "PredictionSettings": "settings",
    "RatioThresholds": "thresholds",
    "RayRunner": "ray_runner",
    "ReadingMarks": "reading_marks",
    "Runner": "runner",
    "ScoreFusion": "fusion",
    "ScoringSettings": "scoring",
    "StageTimes": "stage_times",
    "Symmetries": "tta",
    "TunedThresholds": "thresholds",
    "Way": "runner",
    "pick_device": "scoring",
    "predict_fields": "pipeline",
    "read_learned_fusion": "scores_file",
    "score_cells": "scoring",
    "score_crops": "scoring",
    "segmentation_stages": "segmenting",
    "write_failures": "failures",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
