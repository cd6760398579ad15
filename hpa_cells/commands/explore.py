"""``hpa-cells explore``: statistics and anomalies of label tables, fields and cell tables, before training on them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from hpa_cells.classes import get_class_set
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.embedding_maps import embed_fields, write_embedding_maps
from hpa_cells.commands.field_doubts import write_field_weights
from hpa_cells.commands.field_statistics import compare_ids, explore_cells, explore_labels, explore_pixels
from hpa_cells.commands.label_review import write_label_review
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.sample_grids import write_samples
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.workers import worker_processes
from hpa_cells.explore import (
    AnomalySettings,
    Doubt,
    DoubtSettings,
    EmbeddingSettings,
    FieldStatistics,
    MapMethod,
    SampleSettings,
    carries_embeddings,
    check_reviewer,
    doubts_of_anomalies,
    doubts_of_embeddings,
    doubts_of_labels,
    field_statistics,
    provenance_of,
)
from hpa_cells.fields import (
    FieldSource,
    LabelTable,
    cell_lines_of,
    read_cell_lines,
    read_field,
    read_label_table,
    scan_fields,
)
from hpa_cells.prediction import FAILURES_FILE, Failure, write_failures
from hpa_cells.types import Channel

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write tables and figures of `labels`, `fields`, `table` or several of them to `out`, and print the gist.

    Raises
    ------
    ValueError
        If none is given, or something lacks what it is to be compared with.
    FieldsFailedError
        If fields could not be read, drawn or embedded; all others are in the tables.
    """
    _check_given(cfg)
    settings = _Settings.of(cfg)
    out = Path(cfg.out)
    labels = None
    if cfg.labels is not None:
        labels = read_label_table(cfg.labels, get_class_set(cfg.class_set) if cfg.class_set else None)
    line_of = _cell_lines(cfg, labels)
    is_reviewed = labels is not None and cfg.table is not None and _is_of_model(Path(cfg.table))
    if is_reviewed:
        check_reviewer()
    found = _Found()
    if labels is not None:
        explore_labels(labels, line_of, out)
    if cfg.table is not None:
        explore_cells(Path(cfg.table), line_of, out)
    if cfg.fields is not None:
        _look_at_fields(cfg, settings, labels, line_of, found)
    if labels is not None and is_reviewed:
        found.add(doubts_of_labels(write_label_review(labels, Path(cfg.table), out)))
    embedded = _embeddings(cfg, found)
    if embedded is not None:
        placed = write_embedding_maps(
            embedded, labels, line_of, settings=settings.odd_embeddings, method=settings.method, out=out
        )
        found.add(doubts_of_embeddings(placed, labels, settings.weights))
    if found.doubts is not None:
        write_field_weights(found.doubts, labels, out)
    _conclude(out, found.failures)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """All settings, checked before anything runs."""

    anomalies: AnomalySettings
    odd_embeddings: EmbeddingSettings
    weights: DoubtSettings
    samples: SampleSettings
    method: MapMethod

    @classmethod
    def of(cls, cfg: DictConfig) -> _Settings:
        return cls(
            anomalies=to_settings(AnomalySettings, cfg.anomalies),
            odd_embeddings=to_settings(EmbeddingSettings, cfg.embedding_anomalies),
            weights=to_settings(DoubtSettings, cfg.weights),
            samples=to_settings(SampleSettings, cfg.samples),
            method=MapMethod.parse(cfg.map),
        )


@dataclass(kw_only=True, slots=True)
class _Found:
    """What was found so far: doubts, None while nothing was looked at that may be in doubt, and what failed."""

    doubts: list[Doubt] | None = None
    failures: list[Failure] = field(default_factory=list)

    def add(self, doubts: Iterable[Doubt]) -> None:
        self.doubts = [*(self.doubts or []), *doubts]

    def fail(self, failures: Iterable[Failure]) -> None:
        # A field that cannot be read is told once.
        known = {failure.field_id for failure in self.failures}
        self.failures += [failure for failure in failures if failure.field_id not in known]


def _check_given(cfg: DictConfig) -> None:
    if cfg.labels is None and cfg.fields is None and cfg.table is None:
        raise ValueError(
            "Nothing to explore: give labels=train.csv, fields=DIR, table=RUN or several of them."
        )
    if cfg.embedding is not None and cfg.fields is None:
        raise ValueError(
            f"embedding={cfg.embedding} looks at fields: give fields=DIR, or table=RUN without it."
        )


def _cell_lines(cfg: DictConfig, labels: LabelTable | None) -> dict[str, str]:
    """The cell line of each field of which it is known; none where no table tells."""
    if cfg.cell_lines is not None:
        return read_cell_lines(cfg.cell_lines)
    return {} if labels is None else cell_lines_of(labels)


def _look_at_fields(
    cfg: DictConfig,
    settings: _Settings,
    labels: LabelTable | None,
    line_of: Mapping[str, str],
    found: _Found,
) -> None:
    """Read all fields, and draw some."""
    out = Path(cfg.out)
    sources, statistics, failures = _read_fields(cfg)
    found.fail(failures)
    write_failures(out, found.failures)
    anomalies = explore_pixels(statistics, line_of, settings.anomalies, out)
    if labels is not None:
        compare_ids(
            labels, {each.field_id for each in statistics} | {each.field_id for each in failures}, out
        )
    if not statistics:
        return
    found.add(doubts_of_anomalies(anomalies, labels, settings.weights))
    if settings.samples.fields and not (labels is None and cfg.table is None):
        readable = {each.field_id for each in statistics}
        failures = write_samples(
            [source for source in sources if source.field_id in readable],
            labels,
            None if cfg.table is None else Path(cfg.table),
            line_of,
            settings=settings.samples,
            pixel_size_um=cfg.pixel_size_um,
            workers=cfg.workers,
            out=out,
        )
        found.fail(failures)
        write_failures(out, found.failures)


def _read_fields(cfg: DictConfig) -> tuple[list[FieldSource], list[FieldStatistics], list[Failure]]:
    # Whatever a field lacks is something to tell, and no reason to leave it out.
    sources, problems = scan_fields(cfg.fields, optional=frozenset(Channel), csv_addresses=cfg.csv_addresses)
    statistics: list[FieldStatistics] = []
    failures = [Failure(field_id=each.field_id, stage="find", error=each.message) for each in problems]
    work = partial(_statistics_of, pixel_size_um=cfg.pixel_size_um)
    with worker_processes(cfg.workers) as run_all, field_progress("explore", len(sources)) as progress:
        for outcome in run_all(work, sources):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                progress.note(f"{outcome.field_id} failed to {outcome.stage}: {outcome.error}")
            else:
                statistics.append(outcome)
            progress.advance()
    return sources, statistics, failures


def _statistics_of(source: FieldSource, *, pixel_size_um: float | None) -> FieldStatistics | Failure:
    try:
        return field_statistics(read_field(source, pixel_size_um=pixel_size_um))
    except (OSError, ValueError) as error:
        return Failure(field_id=source.field_id, stage="read", error=str(error))


def _is_of_model(table: Path) -> bool:
    """Whether labels can be compared with what a table says; a truth, or a CSV of a person, is no judge."""
    source = provenance_of(table).source
    if source != "model":
        log.warning(
            "%s comes from %r: labels are compared with what models say, and not with it. For a review give "
            "ROUND/out_of_fold of `hpa-cells train cross_fit=true out=ROUND`.",
            table,
            source,
        )
    return source == "model"


def _embeddings(cfg: DictConfig, found: _Found) -> Path | None:
    """The cell table that carries embeddings, made now where that was asked for; None where there is none."""
    if cfg.embedding is None:
        return Path(cfg.table) if cfg.table is not None and carries_embeddings(cfg.table) else None
    embedded, failures = embed_fields(cfg, Path(cfg.out))
    found.fail(failures)
    write_failures(Path(cfg.out), found.failures)
    return embedded


def _conclude(out: Path, failures: list[Failure]) -> None:
    if failures:
        is_readable = any(failure.stage not in ("find", "read") for failure in failures)
        raise FieldsFailedError(
            f"{len(failures)} fields could not be read{', drawn or embedded' if is_readable else ''}; "
            f"see {out / FAILURES_FILE}. "
            f"The first: {failures[0].error}"
        )
