"""``hpa-cells predict``: the cell table of every field at a place."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.hub_models import pinned_places
from hpa_cells.commands.outcomes import follow, refuse_failures
from hpa_cells.commands.settings import to_settings
from hpa_cells.fields import scan_fields
from hpa_cells.models import Ensemble, load_models
from hpa_cells.places import place
from hpa_cells.prediction import (
    AreaWeight,
    Failure,
    Fusion,
    LearnedFusion,
    PredictionSettings,
    ReadingMarks,
    Runner,
    ScoreFusion,
    ScoringSettings,
    StageTimes,
    Symmetries,
    pick_device,
    predict_fields,
    write_failures,
)
from hpa_cells.prediction.parts import Part
from hpa_cells.segmentation import Segmenter
from hpa_cells.table import Provenance, TableWriter

__all__ = ["run"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlainSettings:
    """The settings of ``conf/predict.yaml`` that are in no group, for their types to be checked."""

    pixel_size_um: float | None
    embeddings: bool
    device: str
    half_precision: bool
    batch_cells: int
    segment_fields: int
    shard_fields: int


def run(cfg: DictConfig) -> None:
    """Write ``cells-*.parquet``, ``fields-*.parquet`` and ``failures.csv`` to `out`; finished fields stay.

    Raises
    ------
    FieldsFailedError
        If fields failed; all others are finished.
    """
    part = None if cfg.part is None else Part.parse(str(cfg.part))
    out = place(cfg.out) if part is None else part.folder(place(cfg.out))
    plain = to_settings(_PlainSettings, OmegaConf.masked_copy(cfg, list(_PlainSettings.__slots__)))
    settings = _settings(cfg, plain)
    segmenter = instantiate(cfg.segmenter)
    runner: Runner = instantiate(cfg.runner)
    if runner.is_here:
        pick_device(plain.device)
    models = load_models(list(cfg.model) if OmegaConf.is_list(cfg.model) else cfg.model)
    for each in models.members:
        if each.provenance.get("about"):
            log.warning("About the model: %s", each.provenance["about"])
    settings.fusion.check(models.class_set)
    optional = models.optional_channels
    if models.sees_cells:
        optional &= segmenter.optional_channels
    else:
        log.info("The model sees squares of fields: no cell is looked for, the table has fields only.")
    sources, problems = scan_fields(cfg.fields, optional=optional, csv_addresses=cfg.csv_addresses)
    if part is not None:
        sources = [each for each in sources if part.has(each.field_id)]
        problems = [each for each in problems if part.has(each.field_id)]
    failures = [Failure(field_id=each.field_id, stage="find", error=each.message) for each in problems]

    provenance = _provenance(cfg, settings, models, segmenter)
    if isinstance(settings.fusion, LearnedFusion):
        _warn_of_other_scores(settings.fusion, provenance)
    with TableWriter(out, provenance=provenance, shard_fields=plain.shard_fields) as writer:
        if part is not None:
            part.begin(place(cfg.out))
        todo = writer.unfinished(sources)
        if len(todo) < len(sources):
            log.info("%d of %d fields are finished already", len(sources) - len(todo), len(sources))
        times = StageTimes()
        try:
            with ReadingMarks(out) as marks:
                outcomes = predict_fields(
                    todo,
                    segmenter=segmenter,
                    models=models,
                    writer=writer,
                    settings=settings,
                    runner=runner,
                    times=times,
                    marks=marks,
                )
                follow("predict", outcomes, failures, num_fields=len(todo), times=times)
        finally:
            write_failures(out, failures)
    if part is not None:
        part.finish(place(cfg.out))
    refuse_failures(out, failures, num_fields=len(sources) + len(problems))
    log.info("%s: %d fields", out, len(sources))


def _settings(cfg: DictConfig, plain: _PlainSettings) -> PredictionSettings:
    return PredictionSettings(
        pixel_size_um=plain.pixel_size_um,
        scoring=ScoringSettings(
            symmetries=to_settings(Symmetries, cfg.tta),
            batch_cells=plain.batch_cells,
            half_precision=plain.half_precision,
        ),
        fusion=_fusion(cfg.fusion),
        area_weight=to_settings(AreaWeight, cfg.area_weight),
        embeddings=plain.embeddings,
        segment_fields=plain.segment_fields,
        device=plain.device,
    )


def _fusion(node: DictConfig) -> ScoreFusion:
    """One rule for all classes, from its numbers, or one a class, from its file."""
    if "_target_" in node:
        fusion: ScoreFusion = instantiate(node)
        return fusion
    return to_settings(Fusion, node)


def _warn_of_other_scores(fusion: LearnedFusion, provenance: Provenance) -> None:
    """Say what differs from the run that fusion and calibration were learned on."""
    learned = fusion.provenance_of_scores
    if fusion.rules is None:
        log.warning("Fusion was learned on labels of fields only: cells keep their own scores.")
    if learned["table_weights_hash"] != provenance.weights_hash:
        log.warning(
            "Fusion and calibration were learned on scores of another model: calibrate on a run of this one."
        )
    for name, of_table in learned["table_settings"].items():
        if name in ("tta", "crops") and of_table != provenance.settings[name]:
            log.warning(
                "Fusion and calibration were learned with %s %s, this run has %s: probabilities may be off.",
                name,
                of_table,
                provenance.settings[name],
            )


def _provenance(
    cfg: DictConfig, settings: PredictionSettings, models: Ensemble, segmenter: Segmenter
) -> Provenance:
    """Name what the content depends on: not the batch size, the runner or the size of a shard."""
    # On the scale of the fields' probabilities in the table, so that they call the same fields.
    scaled = settings.fusion.of_field(models.thresholds)
    thresholds = [None if np.isnan(each) else float(each) for each in scaled]
    return Provenance(
        version=__version__,
        class_set=models.class_set.name,
        source="model",
        weights_hash=models.weights_hash,
        settings={
            "segmenter": OmegaConf.to_container(cfg.segmenter, resolve=True) if models.sees_cells else None,
            "segmenter_fingerprint": segmenter.fingerprint() if models.sees_cells else None,
            "crops": models.crop_settings,
            **({} if models.field_settings is None else {"whole_fields": models.field_settings}),
            **({} if models.square_settings is None else {"squares": models.square_settings}),
            # With their commits: of another one a run does not go on, whatever has changed.
            **({"models": on_hub} if (on_hub := pinned_places(cfg.model)) else {}),
            "about_models": [each.provenance.get("about") for each in models.members],
            "tta": asdict(settings.scoring.symmetries),
            "fusion": settings.fusion.provenance,
            "area_weight": asdict(settings.area_weight),
            "pixel_size_um": settings.pixel_size_um,
            "half_precision": settings.scoring.half_precision,
            "embeddings": settings.embeddings,
            "thresholds": dict(zip(models.class_set.keys, thresholds, strict=True)),
        },
    )
