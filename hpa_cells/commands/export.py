"""``hpa-cells export``: a cell table as a submission or another format, or the check of a submission."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from hpa_cells.commands.progress import field_progress
from hpa_cells.commands.workers import worker_processes
from hpa_cells.export import (
    ExpectedFields,
    ExportFormat,
    FieldWithCells,
    PixelFormat,
    SubmissionFormat,
    expected_fields,
    open_fields,
)
from hpa_cells.fields import scan_fields
from hpa_cells.places import place
from hpa_cells.prediction.failures import read_failures
from hpa_cells.table import CellTable, read_table
from hpa_cells.types import Channel

__all__ = ["run"]

log = logging.getLogger(__name__)

_NUM_SHOWN = 20
_FIELDS_AT_A_TIME = 16
_FORMATS_OF_SUFFIX = {
    ".csv": "format=csv, kaggle2021 or kaggle2018",
    ".parquet": "format=parquet",
    ".h5ad": "format=anndata",
    ".h5sc": "format=h5sc",
    ".zarr": "format=spatialdata or crops",
    ".geojson": "format=geojson",
    ".json": "format=coco or geojson",
    ".json.gz": "format=geojson",
    ".geojson.gz": "format=geojson",
}


def run(cfg: DictConfig) -> None:
    """Write the file and check it, or only check the one that `check` names."""
    file_format: ExportFormat | PixelFormat = instantiate(cfg.format)
    if cfg.check is not None:
        if not isinstance(file_format, SubmissionFormat):
            raise ValueError(
                "Only a submission can be checked: give format=kaggle2021 or format=kaggle2018 with `check`."
            )
        _check(file_format, Path(cfg.check), _expected(cfg.sample_submission))
        return
    out, table = Path(cfg.out), read_table(cfg.table)
    expected = _expected(cfg.sample_submission or table)
    path = _path(file_format, out)
    if isinstance(file_format, PixelFormat):
        file_format.write_with_fields(table, _opened(table, cfg), path)
    else:
        if cfg.fields is not None:
            log.info("This format shows no pixels: `fields` is not looked at.")
        if file_format.file_name or path.name.lower().endswith(file_format.suffixes):
            file_format.write(table, path)
        else:
            _write_parts(file_format, table, path, workers=cfg.workers)
    log.info("%s: %d cells of %d fields", path, len(table.cells), len(table.fields))
    failures = read_failures(place(cfg.table))
    if failures:
        log.warning(
            "Fields that failed in the run, see its failures.csv, and are not in the export: %d.",
            len(failures),
        )
    if isinstance(file_format, SubmissionFormat):
        _check(file_format, path, expected)


def _path(file_format: ExportFormat | PixelFormat, out: Path) -> Path:
    """The file that `out` is by its ending, or the one of the usual name in the folder that it is.

    Raises
    ------
    ValueError
        If the ending is that of another format.
    """
    name = out.name.lower()
    if name.endswith(file_format.suffixes):
        return out
    for suffix, formats in _FORMATS_OF_SUFFIX.items():
        if name.endswith(suffix) and not out.is_dir():
            wanted = (
                f"a file that ends in {' or '.join(file_format.suffixes)}, or "
                if file_format.suffixes
                else ""
            )
            raise ValueError(
                f"out={out} ends in {suffix}, which is {formats}: choose that format, or give {wanted}a folder."
            )
    return out / file_format.file_name


def _write_parts(file_format: ExportFormat, table: CellTable, path: Path, *, workers: int) -> None:
    """Write a format that has a file a field, some fields at a time."""
    with (
        worker_processes(workers) as run_all,
        field_progress("Exporting", len(table.fields)) as progress,
    ):
        for num_fields in run_all(partial(_write_part, file_format, path), table.parts(_FIELDS_AT_A_TIME)):
            for _ in range(num_fields):
                progress.advance()


def _write_part(file_format: ExportFormat, path: Path, part: CellTable) -> int:
    file_format.write(part, path)
    return len(part.fields)


def _opened(table: CellTable, cfg: DictConfig) -> Iterator[FieldWithCells]:
    """Pixels and label images of each field of the table."""
    if cfg.fields is None:
        raise ValueError(
            "This format shows pixels, and the table has none: give the fields it was made from, fields=DIR."
        )
    sources, problems = scan_fields(cfg.fields, optional=frozenset(Channel), csv_addresses=cfg.csv_addresses)
    for problem in problems:
        log.warning("%s", problem.message)
    return open_fields(table, sources, track=_with_progress)


def _with_progress(field_ids: Sequence[str]) -> Iterator[str]:
    with field_progress("Exporting", len(field_ids)) as progress:
        for field_id in field_ids:
            yield field_id
            progress.advance()


def _expected(source: CellTable | str | None) -> ExpectedFields | None:
    if isinstance(source, str) and any(Path(source).glob("fields-*.parquet")):
        source = read_table(source)
    return None if source is None else expected_fields(source)


def _check(file_format: SubmissionFormat, path: Path, expected: ExpectedFields | None) -> None:
    problems = file_format.problems(path, expected)
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_NUM_SHOWN])
        more = f"\n  and {len(problems) - _NUM_SHOWN} more" if len(problems) > _NUM_SHOWN else ""
        number = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ValueError(f"{path} has {number}, to be corrected before it is submitted:{shown}{more}")
    log.info("%s is valid", path)
