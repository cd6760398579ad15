"""``hpa-cells simulate``: fields, their labels and the truth of every cell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.cells import cell_rows, field_row, mask_rows
from hpa_cells.classes import ClassSet
from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.settings import to_settings
from hpa_cells.commands.workers import OrderedMap, worker_processes
from hpa_cells.fields import LabelTable, write_field, write_label_table
from hpa_cells.simulation import Recipe, SimulatedField, simulate_field, simulate_labels
from hpa_cells.simulation.classes_2018 import CLASS_SET_2018, fields_of_2018, to_2018
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
    """One of the two parts of a data set: where its files go, which fields of the recipe it has, in which classes."""

    fields: Path
    labels: Path
    cell_lines: Path
    truth: Path
    indices: Sequence[int]
    class_set: ClassSet


def run(cfg: DictConfig) -> None:
    """Write the fields, labels and truths of `cfg.out`; finished fields stay as they are."""
    recipe = to_settings(Recipe, cfg.recipe)
    class_set = _class_set(cfg.class_set)
    splits = _splits(cfg, recipe, class_set)
    provenance = Provenance(
        version=__version__,
        class_set=class_set.name,
        source="simulation truth",
        settings={"recipe": asdict(recipe)},
    )
    with worker_processes(cfg.workers) as map_in_order:
        for split in splits:
            with TableWriter(split.truth, provenance=provenance, shard_fields=cfg.shard_fields) as writer:
                _simulate(recipe, split, writer, map_in_order)
            _write_labels(recipe, split)


def _class_set(name: str) -> ClassSet:
    known = {each.name: each for each in (CLASS_SET, CLASS_SET_2018)}
    if name not in known:
        raise ValueError(f"`class_set` is {name!r}: use {' or '.join(known)}.")
    return known[name]


def _splits(cfg: DictConfig, recipe: Recipe, class_set: ClassSet) -> list[_Split]:
    out = Path(cfg.out)
    for name, lowest in (("fields", 1), ("test_fields", 0)):
        if not lowest <= cfg[name] <= _FIRST_TEST_INDEX:
            raise ValueError(f"`{name}` is {cfg[name]}, expected {lowest} to {_FIRST_TEST_INDEX}.")
    parts = [("train", "", 0, cfg.fields)]
    if cfg.test_fields:
        parts.append(("test", "_test", _FIRST_TEST_INDEX, cfg.test_fields))
    return [
        _Split(
            fields=out / name,
            labels=out / f"{name}.csv",
            cell_lines=out / f"{name}_cell_lines.csv",
            truth=out / f"truth{suffix}",
            indices=_indices(recipe, class_set, first, number),
            class_set=class_set,
        )
        for name, suffix, first, number in parts
    ]


def _indices(recipe: Recipe, class_set: ClassSet, first: int, number: int) -> Sequence[int]:
    if class_set == CLASS_SET_2018:
        return fields_of_2018(recipe, number, first_index=first)
    return range(first, first + number)


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
    make = partial(_make_field, recipe, split.fields, class_set=split.class_set)
    with field_progress(f"simulate {split.fields.name}", len(todo)) as progress:
        for cells, row in map_in_order(make, todo):
            writer.add(cells=cells, field_row=row)
            progress.advance()


def _make_field(
    recipe: Recipe, folder: Path, index: int, *, class_set: ClassSet
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Simulate one field and write its files; its rows of the truth."""
    simulated = simulate_field(recipe, index)
    write_field(simulated.field, folder)
    labels = np.vstack([simulated.cell_labels, simulated.field_labels])
    truth = _truth(simulated, _in_classes(class_set, labels, recipe, index), class_set)
    masks = mask_rows(simulated.segmentation)
    return cell_rows(masks, truth), field_row(masks, truth)


def _in_classes(
    class_set: ClassSet, labels: NDArray[np.bool_], recipe: Recipe, index: int
) -> NDArray[np.bool_]:
    return to_2018(labels, recipe, index) if class_set == CLASS_SET_2018 else labels


def _truth(simulated: SimulatedField, labels: NDArray[np.bool_], class_set: ClassSet) -> CellScores:
    """Labels (N + 1, K), those of the field last, as probabilities of 0 and 1."""
    ids = simulated.segmentation.cell_ids
    probabilities = labels.astype(np.float32)
    return CellScores(
        field_id=simulated.field.field_id,
        class_set=class_set,
        cell_ids=ids,
        probabilities=probabilities[:-1],
        field_probabilities=probabilities[-1],
        embeddings=np.zeros((len(ids), 0), dtype=np.float32),
    )


def _write_labels(recipe: Recipe, split: _Split) -> None:
    """Write the label table as in the challenge, and the cell line of each field beside it."""
    first, last = split.indices[0], split.indices[-1]
    labels = simulate_labels(recipe, last - first + 1, first_index=first)
    field_labels = [
        _in_classes(split.class_set, labels.field_labels[[index - first]], recipe, index)
        for index in split.indices
    ]
    ids = tuple(field_id_of(index) for index in split.indices)
    write_label_table(
        LabelTable(class_set=split.class_set, field_ids=ids, labels=np.concatenate(field_labels)),
        split.labels,
    )
    cell_lines = [labels.cell_lines[index - first] for index in split.indices]
    with replaced_on_success(split.cell_lines) as temporary:
        pd.DataFrame({"ID": ids, "cell_line": cell_lines}).to_csv(temporary, index=False)
    log.info("%s: %d fields", split.fields, len(ids))
