"""``hpa-cells export``: a cell table as a submission or another format, or the check of a submission."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from hpa_cells.export import ExpectedFields, ExportFormat, SubmissionFormat, expected_fields
from hpa_cells.table import CellTable, read_table

__all__ = ["run"]

log = logging.getLogger(__name__)

_NUM_SHOWN = 20


def run(cfg: DictConfig) -> None:
    """Write the file and check it, or only check the one that `check` names."""
    file_format: ExportFormat = instantiate(cfg.format)
    if cfg.check is not None:
        if not isinstance(file_format, SubmissionFormat):
            raise ValueError(
                "Only a submission can be checked: give format=kaggle2021 or format=kaggle2018 with `check`."
            )
        _check(file_format, Path(cfg.check), _expected(cfg.sample_submission))
        return
    out, table = Path(cfg.out), read_table(cfg.table)
    expected = _expected(cfg.sample_submission or table)
    path = out if out.suffix else out / file_format.file_name
    file_format.write(table, path)
    log.info("%s: %d cells of %d fields", path, len(table.cells), len(table.fields))
    if isinstance(file_format, SubmissionFormat):
        _check(file_format, path, expected)


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
