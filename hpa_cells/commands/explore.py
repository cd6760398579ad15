"""``hpa-cells explore``: statistics and anomalies of label tables and fields, before training on them."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from hpa_cells.classes import get_class_set
from hpa_cells.commands.app import FieldsFailedError
from hpa_cells.commands.embedding_maps import embed_fields, write_embedding_maps
from hpa_cells.commands.field_doubts import write_field_weights
from hpa_cells.commands.label_review import write_label_review
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.tables import print_table, write_csv
from hpa_cells.commands.workers import worker_processes
from hpa_cells.explore import (
    AnomalySettings,
    Doubt,
    DoubtSettings,
    EmbeddingSettings,
    FieldStatistics,
    carries_embeddings,
    co_occurrence,
    doubts_of_anomalies,
    doubts_of_embeddings,
    doubts_of_labels,
    field_statistics,
    find_anomalies,
    label_combinations,
    label_counts,
    labels_per_field,
    write_intensity_figure,
    write_label_figure,
)
from hpa_cells.fields import FieldSource, LabelTable, read_field, read_label_table, scan_fields
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
        If fields could not be read or embedded; all others are in the tables.
    """
    _check_given(cfg)
    out = Path(cfg.out)
    anomalies = to_settings(AnomalySettings, cfg.anomalies)
    odd_embeddings = to_settings(EmbeddingSettings, cfg.embedding_anomalies)
    weights = to_settings(DoubtSettings, cfg.weights)
    labels: LabelTable | None = None
    # None while nothing was looked at that may be in doubt.
    doubts: list[Doubt] | None = None
    failures: list[Failure] = []
    if cfg.labels is not None:
        labels = read_label_table(cfg.labels, get_class_set(cfg.class_set) if cfg.class_set else None)
        _explore_labels(labels, out)
    if cfg.fields is not None:
        statistics, failures = _read_fields(cfg)
        found = _explore_fields(statistics, anomalies, out)
        if statistics:
            doubts = [*doubts_of_anomalies(found, labels, weights)]
        if labels is not None:
            seen = {field.field_id for field in statistics} | {failure.field_id for failure in failures}
            _compare_ids(labels, seen, out)
        write_failures(out, failures)
    if labels is not None and cfg.table is not None:
        doubts = [*(doubts or []), *doubts_of_labels(write_label_review(labels, Path(cfg.table), out))]
    if cfg.embedding is not None:
        embedded, failed = embed_fields(cfg, out)
        # A field that cannot be read is told once.
        known = {failure.field_id for failure in failures}
        failures += [failure for failure in failed if failure.field_id not in known]
        write_failures(out, failures)
    else:
        embedded = Path(cfg.table) if cfg.table is not None and carries_embeddings(cfg.table) else None
    if embedded is not None:
        placed = write_embedding_maps(embedded, labels, odd_embeddings, out)
        doubts = [*(doubts or []), *doubts_of_embeddings(placed, labels, weights)]
    if doubts is not None:
        write_field_weights(doubts, labels, out)
    _conclude(out, failures)


def _check_given(cfg: DictConfig) -> None:
    if cfg.labels is None and cfg.fields is None and cfg.table is None:
        raise ValueError(
            "Nothing to explore: give labels=train.csv, fields=DIR, table=RUN or several of them."
        )
    if cfg.embedding is not None and cfg.fields is None:
        raise ValueError(
            f"embedding={cfg.embedding} looks at fields: give fields=DIR, or table=RUN without it."
        )
    if cfg.table is not None and cfg.labels is None and not carries_embeddings(cfg.table):
        raise ValueError(
            f"{cfg.table} carries no embeddings, and there are no labels to compare its scores with: give "
            "labels=train.csv, or a table that `hpa-cells predict embeddings=true` wrote."
        )


def _explore_labels(table: LabelTable, out: Path) -> None:
    counts, together, per_field = label_counts(table), co_occurrence(table), labels_per_field(table)
    write_csv(counts, out / "label_counts.csv")
    write_csv(together.reset_index(), out / "label_co_occurrence.csv")
    write_csv(per_field, out / "labels_per_field.csv")
    write_csv(label_combinations(table), out / "label_combinations.csv")
    write_label_figure(counts, together, table.class_set, out / "labels.png")
    shown = counts.sort_values("num_fields", ascending=False, kind="stable")
    print_table(
        f"{len(table):,} labelled fields, {table.class_set.name}",
        pd.DataFrame(
            {
                "location": shown["name"],
                "fields": shown["num_fields"].map("{:,}".format),
                "share": shown["share"].map("{:.1%}".format),
                "alone": shown["num_alone"].map("{:,}".format),
            }
        ),
    )


def _read_fields(cfg: DictConfig) -> tuple[list[FieldStatistics], list[Failure]]:
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
    return statistics, failures


def _statistics_of(source: FieldSource, *, pixel_size_um: float | None) -> FieldStatistics | Failure:
    try:
        return field_statistics(read_field(source, pixel_size_um=pixel_size_um))
    except (OSError, ValueError) as error:
        return Failure(field_id=source.field_id, stage="read", error=str(error))


def _explore_fields(statistics: list[FieldStatistics], settings: AnomalySettings, out: Path) -> pd.DataFrame:
    """Write what the pixels say; the anomalies among it."""
    anomalies = find_anomalies(statistics, settings)
    if not statistics:
        return anomalies
    channels = pd.DataFrame([row for field in statistics for row in field.channels])
    write_csv(channels, out / "channels.csv")
    write_csv(anomalies, out / "anomalies.csv")
    write_intensity_figure(channels, anomalies, out / "intensities.png")
    shapes = channels.groupby(["height_px", "width_px", "num_bits", "pixel_size_um"])["field_id"].nunique()
    print_table(f"{len(statistics):,} fields", shapes.rename("fields").reset_index())
    if anomalies.empty:
        log.info("No field is odd in any way that is looked for.")
        return anomalies
    kinds = anomalies.groupby(["kind", "channel"])["field_id"].agg(["nunique", "first"]).reset_index()
    print_table(
        f"anomalies ({anomalies['field_id'].nunique():,} fields)",
        kinds.rename(columns={"nunique": "fields", "first": "for example"}),
    )
    return anomalies


def _compare_ids(table: LabelTable, found: set[str], out: Path) -> None:
    """Put on record which labels have no field and which fields no label."""
    labelled = set(table.field_ids)
    rows = [(field_id, "no field") for field_id in sorted(labelled - found)]
    rows += [(field_id, "no label") for field_id in sorted(found - labelled)]
    write_csv(pd.DataFrame(rows, columns=["field_id", "problem"]), out / "unmatched.csv")
    log.info(
        "%d labels have no field and %d fields have no label: see %s.",
        len(labelled - found),
        len(found - labelled),
        out / "unmatched.csv",
    )


def _conclude(out: Path, failures: list[Failure]) -> None:
    if failures:
        is_readable = any(failure.stage not in ("find", "read") for failure in failures)
        raise FieldsFailedError(
            f"{len(failures)} fields could not be read{' or embedded' if is_readable else ''}; "
            f"see {out / FAILURES_FILE}. "
            f"The first: {failures[0].error}"
        )
