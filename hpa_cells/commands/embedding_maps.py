"""The part of ``hpa-cells explore`` that looks through a network's eyes: maps, odd cells and fields, near copies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hpa_cells import __version__
from hpa_cells.commands.outcomes import follow
from hpa_cells.commands.tables import print_table, write_csv
from hpa_cells.explore import (
    UNKNOWN_LINE,
    CellEmbeddings,
    EmbeddingSettings,
    MapMethod,
    carries_embeddings,
    place_cells,
    place_fields,
    read_embeddings,
    write_label_map,
    write_line_map,
    write_score_map,
)
from hpa_cells.fields import LabelTable, merge_label_tables, scan_fields
from hpa_cells.prediction import Failure
from hpa_cells.table import Provenance, TableWriter

__all__ = ["embed_fields", "write_embedding_maps"]

log = logging.getLogger(__name__)

_TABLE = "embedding"
_NUM_SHOWN = 5


def embed_fields(cfg: DictConfig, out: Path) -> tuple[Path | None, list[Failure]]:
    """Predict the cells of ``fields`` into a cell table below `out`; finished fields are not repeated.

    Returns
    -------
    The table's folder, None where no field has a cell, and the fields that failed.
    """
    # With them comes torch, without which all else is explored.
    from hpa_cells.models import Ensemble, load_models
    from hpa_cells.prediction import LocalRunner, PredictionSettings, pick_device, predict_fields

    folder, segmenter = out / _TABLE, instantiate(cfg.segmenter)
    # Of several models the first one embeds: the spaces of the others are others.
    models = Ensemble(members=load_models(cfg.embedding).members[:1])
    if not models.sees_cells:
        raise ValueError(
            f"embedding={cfg.embedding} is a model of squares of fields, which embeds no cells: give another."
        )
    models.members[0].model.to(pick_device(cfg.device))
    if models.members[0].provenance.get("about"):
        log.warning("About the model: %s", models.members[0].provenance["about"])
    sources, problems = scan_fields(
        cfg.fields,
        optional=segmenter.optional_channels & models.optional_channels,
        csv_addresses=cfg.csv_addresses,
    )
    failures = [Failure(field_id=each.field_id, stage="find", error=each.message) for each in problems]
    provenance = Provenance(
        version=__version__,
        class_set=models.class_set.name,
        source="model",
        weights_hash=models.weights_hash,
        settings={
            "segmenter": OmegaConf.to_container(cfg.segmenter, resolve=True),
            "pixel_size_um": cfg.pixel_size_um,
        },
    )
    with TableWriter(folder, provenance=provenance) as writer:
        todo = writer.unfinished(sources)
        outcomes = predict_fields(
            todo,
            segmenter=segmenter,
            models=models,
            writer=writer,
            settings=PredictionSettings(pixel_size_um=cfg.pixel_size_um),
            runner=LocalRunner(workers=cfg.workers),
        )
        follow("embed", outcomes, failures, num_fields=len(todo))
    has_fields = any(folder.glob("fields-*.parquet"))
    return folder if has_fields and carries_embeddings(folder) else None, failures


def write_embedding_maps(
    folder: Path,
    labels: LabelTable | None,
    line_of: Mapping[str, str],
    *,
    settings: EmbeddingSettings,
    method: MapMethod,
    out: Path,
) -> pd.DataFrame:
    """Write ``embedding_cells.csv``, ``embedding_fields.csv`` and the maps of a cell table, and print the gist.

    Parameters
    ----------
    folder
        A cell table with embeddings.
    labels
        Of its fields; None draws no map of labels.
    line_of
        The cell line of each field; without any, there is no map of them.
    settings
        From where on something is told.
    method
        How to lay out the cells.
    out
        Where to write.

    Returns
    -------
    What `hpa_cells.explore.place_fields` says of the fields, the oddest first.
    """
    cells = read_embeddings(folder)
    method = method.of_cells(len(cells))
    placed, fields = place_cells(cells, settings, method), place_fields(cells, settings)
    _write_maps(cells, placed, labels, line_of, method=method, out=out)
    write_csv(_oddest_first(placed), out / "embedding_cells.csv")
    fields = _oddest_first(fields)
    write_csv(fields, out / "embedding_fields.csv")
    print_table(
        f"{len(cells):,} cells of {len(fields):,} fields, by embedding",
        pd.DataFrame(
            {
                "": ["cells unlike the others", "fields unlike the others", "fields nearly like another"],
                "found": [placed["is_odd"].sum(), fields["is_odd"].sum(), fields["is_near_copy"].sum()],
                "for example": [
                    _some(placed.loc[placed["is_odd"], "field_id"]),
                    _some(fields.loc[fields["is_odd"], "field_id"]),
                    _some(fields.loc[fields["is_near_copy"], "field_id"]),
                ],
            }
        ),
    )
    return fields


def _write_maps(
    cells: CellEmbeddings,
    placed: pd.DataFrame,
    labels: LabelTable | None,
    line_of: Mapping[str, str],
    *,
    method: MapMethod,
    out: Path,
) -> None:
    places = placed[["x", "y"]].to_numpy(dtype=np.float32)
    is_odd = placed["is_odd"].to_numpy(dtype=bool)
    write_score_map(
        places,
        cells.probabilities,
        is_odd=is_odd,
        class_set=cells.class_set,
        method=method,
        path=out / "embedding_scores.png",
    )
    if labels is not None:
        write_label_map(
            places,
            _labels_of_cells(cells, labels),
            is_odd=is_odd,
            class_set=cells.class_set,
            method=method,
            path=out / "embedding_labels.png",
        )
    if line_of:
        lines = [line_of.get(field_id, UNKNOWN_LINE) for field_id in placed["field_id"]]
        path = out / "embedding_cell_lines.png"
        write_line_map(places, lines, is_odd=is_odd, method=method, path=path)


def _labels_of_cells(cells: CellEmbeddings, labels: LabelTable) -> NDArray[np.bool_]:
    """(N, K) bool, the labels of each cell's field, in the classes of the table; none where it has no labels."""
    table = merge_label_tables([labels], cells.class_set)
    rows = pd.Index(table.field_ids).get_indexer(pd.Index(cells.field_ids))
    of_field = np.zeros((len(cells.field_ids), len(cells.class_set)), dtype=bool)
    of_field[rows >= 0] = table.labels[rows[rows >= 0]]
    if (rows < 0).any():
        log.info("%d of %d embedded fields have no label.", int((rows < 0).sum()), len(rows))
    return of_field[cells.field_of_cell]


def _oddest_first(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("distance", ascending=False, kind="stable", ignore_index=True)


def _some(ids: pd.Series) -> str:
    unique = ids.drop_duplicates().tolist()
    return ", ".join(unique[:_NUM_SHOWN]) + (" ..." if len(unique) > _NUM_SHOWN else "")
