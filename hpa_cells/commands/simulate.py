"""``hpa-cells simulate``: fields, their labels and the truth of every cell."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import cell_rows, field_row
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.workers import OrderedMap, worker_processes
from hpa_cells.fields import LabelTable, write_field, write_label_table
from hpa_cells.simulation import Recipe, SimulatedField, simulate_field, simulate_labels
from hpa_cells.simulation.field import field_id_of
from hpa_cells.simulation.priors import CLASS_SET
from hpa_cells.table import Provenance, TableWriter
from hpa_cells.types import CellScores

__all__ = ["run"]

log = logging.getLogger(__name__)

# Test fields are numbered from here, so that they stay the same when more training fields are made.
_FIRST_TEST_INDEX = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Split:
    """One of the two parts of a data set: where its files go and which fields of the recipe it has."""

    fields: Path
    labels: Path
    cell_lines: Path
    truth: Path
    indices: range


def run(cfg: DictConfig) -> None:
    """Write the fields, labels and truths of `cfg.out`; finished fields stay as they are."""
    recipe = to_settings(Recipe, cfg.recipe)
    splits = _splits(cfg)
    provenance = Provenance(
        version=__version__,
        class_set=CLASS_SET.name,
        source="simulation truth",
        settings={"recipe": asdict(recipe)},
    )
    with worker_processes(cfg.workers) as map_in_order:
        for split in splits:
            with TableWriter(split.truth, provenance=provenance, shard_fields=cfg.shard_fields) as writer:
                _simulate(recipe, split, writer, map_in_order)
            _write_labels(recipe, split)


def _splits(cfg: DictConfig) -> list[_Split]:
    out = Path(cfg.out)
    for name, lowest in (("fields", 1), ("test_fields", 0)):
        if not lowest <= cfg[name] <= _FIRST_TEST_INDEX:
            raise ValueError(f"`{name}` is {cfg[name]}, expected {lowest} to {_FIRST_TEST_INDEX}.")
    parts = [("train", "", range(cfg.fields))]
    if cfg.test_fields:
        parts.append(("test", "_test", range(_FIRST_TEST_INDEX, _FIRST_TEST_INDEX + cfg.test_fields)))
    return [
        _Split(
            fields=out / name,
            labels=out / f"{name}.csv",
            cell_lines=out / f"{name}_cell_lines.csv",
            truth=out / f"truth{suffix}",
            indices=indices,
        )
        for name, suffix, indices in parts
    ]


def _simulate(recipe: Recipe, split: _Split, writer: TableWriter, map_in_order: OrderedMap) -> None:
    """Make the fields that are not there yet."""
    wanted = {field_id_of(index): index for index in split.indices}
    surplus = sorted(writer.finished - wanted.keys())
    if surplus:
        raise ValueError(
            f"{split.truth} holds {len(surplus)} fields more than asked for (such as {surplus[0]}): "
            "ask for at least as many as are there, or choose another `out`."
        )
    todo = [index for field_id, index in wanted.items() if field_id not in writer.finished]
    if len(todo) < len(wanted):
        log.info("%d of %d fields are finished already", len(wanted) - len(todo), len(wanted))
    make = partial(_make_field, recipe, split.fields)
    with field_progress(f"simulate {split.fields.name}", len(todo)) as progress:
        for cells, row in map_in_order(make, todo):
            writer.add(cells=cells, field_row=row)
            progress.advance()


def _make_field(recipe: Recipe, folder: Path, index: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Simulate one field and write its files; its rows of the truth."""
    simulated = simulate_field(recipe, index)
    write_field(simulated.field, folder)
    truth = _truth(simulated)
    return cell_rows(simulated.segmentation, truth), field_row(simulated.segmentation, truth)


def _truth(simulated: SimulatedField) -> CellScores:
    """Labels as probabilities of 0 and 1."""
    ids = simulated.segmentation.cell_ids
    return CellScores(
        field_id=simulated.field.field_id,
        class_set=CLASS_SET,
        cell_ids=ids,
        probabilities=simulated.cell_labels.astype(np.float32),
        field_probabilities=simulated.field_labels.astype(np.float32),
        embeddings=np.zeros((len(ids), 0), dtype=np.float32),
    )


def _write_labels(recipe: Recipe, split: _Split) -> None:
    """Write the label table as in the challenge, and the cell line of each field beside it."""
    labels = simulate_labels(recipe, len(split.indices), first_index=split.indices[0])
    ids = tuple(field_id_of(index) for index in split.indices)
    write_label_table(
        LabelTable(class_set=CLASS_SET, field_ids=ids, labels=labels.field_labels), split.labels
    )
    with replaced_on_success(split.cell_lines) as temporary:
        pd.DataFrame({"ID": ids, "cell_line": labels.cell_lines}).to_csv(temporary, index=False)
    log.info("%s: %d fields", split.fields, len(ids))
