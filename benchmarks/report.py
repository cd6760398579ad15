"""How large the page of a report is, and how soon it can be used: up to 200 fields, in Chromium.

python benchmarks/report.py FIELDS RUN                 # any fields and the cell table of them
python benchmarks/report.py FIELDS RUN --number 50

The given fields are taken over and over, under new ids, until there are enough. Times are from the call to the page to
the end of loading, to the first field with its cells (`ready`), and from a click to another field (median of ten). They
are those of this machine's processor: Chromium has no window and no graphics card here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pandas as pd
from browser import Tab, chromium, open_browser
from rich.console import Console
from rich.table import Table

from hpa_cells.fields import FieldSource, find_fields
from hpa_cells.report import ReportSettings, write_report
from hpa_cells.table import CellTable, Column, read_table

READY = "document.querySelector('#stage')?.getAttribute('aria-busy') === 'false'"
NUM_CLICKS = 10


def repeated(
    table: CellTable, sources: list[FieldSource], number: int
) -> tuple[CellTable, list[FieldSource]]:
    """So many fields, copies under new ids; the files are read each time."""
    by_id = {source.field_id: source for source in sources}
    cells, fields, copies = [], [], []
    for index, row in zip(range(number), cycle(table.fields.index), strict=False):
        field_id = table.fields.loc[row, Column.FIELD_ID]
        renamed = {Column.FIELD_ID: f"copy-{index:04d}"}
        cells.append(table.cells[table.cells[Column.FIELD_ID] == field_id].assign(**renamed))
        fields.append(table.fields.loc[[row]].assign(**renamed))
        copies.append(replace(by_id[field_id], field_id=renamed[Column.FIELD_ID]))
    return replace(
        table, cells=pd.concat(cells, ignore_index=True), fields=pd.concat(fields, ignore_index=True)
    ), copies


def timed_change(tab: Tab, index: int) -> float:
    """Seconds from the choice of a field to its picture with cells."""
    return float(
        tab.value(
            f"new Promise((done) => {{ const start = performance.now(); const stage = document.querySelector('#stage');"
            "new MutationObserver(() => { if (stage.getAttribute('aria-busy') === 'false')"
            "done((performance.now() - start) / 1000); }).observe(stage, { attributeFilter: ['aria-busy'] });"
            f"document.querySelector('#strip button[data-index=\"{index}\"]').click(); }})"
        )
    )


def load(page: Path, profile: Path, number: int) -> tuple[float, float, float]:
    """Seconds to the end of loading, to the first field, and from one field to another."""
    with open_browser(str(chromium()), profile) as browser:
        start = time.perf_counter()
        tab = browser.open(page)
        loaded = time.perf_counter() - start
        tab.wait(READY)
        ready = time.perf_counter() - start
        indices = [(7 * step) % number for step in range(1, NUM_CLICKS + 1)]
        return loaded, ready, statistics.median(timed_change(tab, index) for index in indices)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--number", type=int, default=200)
    given = parser.parse_args()
    if chromium() is None:
        parser.error("No Chromium is found: install it, e.g. apt-get install chromium.")
    table, sources = repeated(read_table(given.run), find_fields(given.fields), given.number)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        start = time.perf_counter()
        page = write_report(
            table, sources, Path(folder), settings=ReportSettings(max_fields=given.number)
        ).page
        written = time.perf_counter() - start
        loaded, ready, change = load(page, Path(folder, "profile"), given.number)
        shown = Table("fields", "cells", "written, s", "MB", "loaded, s", "ready, s", "next field, s")
        shown.add_row(
            str(given.number),
            str(len(table.cells)),
            *(f"{value:.1f}" for value in (written, page.stat().st_size / 1e6)),
            *(f"{value:.2f}" for value in (loaded, ready, change)),
        )
    Console().print(shown)


if __name__ == "__main__":
    main()
