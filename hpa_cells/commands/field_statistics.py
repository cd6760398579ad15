"""The part of ``hpa-cells explore`` that looks at labels, pixels and numbers of cells: tables, figures and the gist."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hpa_cells.commands.tables import print_table, write_csv
from hpa_cells.explore import (
    AnomalySettings,
    FieldStatistics,
    cells_of_lines,
    co_occurrence,
    find_anomalies,
    image_sizes,
    intensities_of_lines,
    label_combinations,
    label_counts,
    labels_of_lines,
    labels_per_field,
    read_cell_numbers,
    write_cell_number_figure,
    write_intensity_figure,
    write_label_figure,
    write_label_number_figure,
    write_line_figure,
    write_size_figure,
)
from hpa_cells.fields import LabelTable
from hpa_cells.table import Column

__all__ = ["compare_ids", "explore_cells", "explore_labels", "explore_pixels"]

log = logging.getLogger(__name__)


def explore_labels(table: LabelTable, line_of: Mapping[str, str], out: Path) -> None:
    """Write what a label table holds; with cell lines, also of each of them."""
    counts, together, per_field = label_counts(table), co_occurrence(table), labels_per_field(table)
    write_csv(counts, out / "label_counts.csv")
    write_csv(together.reset_index(), out / "label_co_occurrence.csv")
    write_csv(per_field, out / "labels_per_field.csv")
    write_csv(label_combinations(table), out / "label_combinations.csv")
    write_label_figure(counts, together, table.class_set, out / "labels.png")
    write_label_number_figure(per_field, out / "labels_per_field.png")
    if line_of:
        write_csv(labels_of_lines(table, line_of), out / "cell_line_labels.csv")
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


def explore_pixels(
    statistics: list[FieldStatistics], line_of: Mapping[str, str], settings: AnomalySettings, out: Path
) -> pd.DataFrame:
    """Write what the pixels of fields say; the anomalies among it, see `find_anomalies`."""
    anomalies = find_anomalies(statistics, settings)
    if not statistics:
        return anomalies
    channels = pd.DataFrame([row for field in statistics for row in field.channels])
    sizes = image_sizes(channels)
    write_csv(channels, out / "channels.csv")
    write_csv(sizes, out / "image_sizes.csv")
    write_csv(anomalies, out / "anomalies.csv")
    write_intensity_figure(channels, anomalies, out / "intensities.png")
    write_size_figure(sizes, out / "image_sizes.png")
    if line_of:
        of_lines = intensities_of_lines(channels, line_of)
        write_csv(of_lines, out / "cell_line_intensities.csv")
        write_line_figure(of_lines, out / "cell_line_intensities.png")
    print_table(f"{len(statistics):,} fields", sizes.rename(columns={"num_fields": "fields"}))
    if anomalies.empty:
        log.info("No field is odd in any way that is looked for.")
        return anomalies
    kinds = anomalies.groupby(["kind", "channel"])["field_id"].agg(["nunique", "first"]).reset_index()
    print_table(
        f"anomalies ({anomalies['field_id'].nunique():,} fields)",
        kinds.rename(columns={"nunique": "fields", "first": "for example"}),
    )
    return anomalies


def explore_cells(folder: Path, line_of: Mapping[str, str], out: Path) -> None:
    """Write how many cells each field of a cell table has."""
    cells = read_cell_numbers(folder)
    of_lines = cells_of_lines(cells, line_of)
    write_csv(cells, out / "cells_per_field.csv")
    write_csv(of_lines, out / "cells_per_field_summary.csv")
    write_cell_number_figure(cells[Column.NUM_CELLS].tolist(), of_lines, out / "cells_per_field.png")
    print_table(f"{cells[Column.NUM_CELLS].sum():,} cells of {len(cells):,} fields", of_lines)


def compare_ids(table: LabelTable, found: set[str], out: Path) -> None:
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
