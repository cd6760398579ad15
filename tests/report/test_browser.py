"""The page in a browser: what a person sees, clicks and types. Skipped where there is no Chromium."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpa_cells.report import Failure, ReportSettings, write_report
from hpa_cells.table import Column

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this package", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
try:
    from browser import Browser, Tab, chromium, open_browser
finally:
    sys.path.pop(0)

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="No Chromium here: the page is not opened.")

HOSTILE = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
# What an id of a field, which is a file's name, may have of it.
HOSTILE_ID = "plain' onmouseover='x &lt;b&gt; &quot;"
READY = "document.querySelector('#stage').getAttribute('aria-busy') === 'false'"
# Not a canvas that is there, but one with something on it.
BRIGHTNESS = """(() => { const canvas = document.querySelector('#canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const sums = [0, 0, 0]; data.forEach((value, at) => { if (at % 4 < 3) sums[at % 4] += value; });
  return sums.map((sum) => sum / (canvas.width * canvas.height)); })()"""
VISIBLE = "[...document.querySelectorAll('g.cell:not(.out)')].map((node) => Number(node.dataset.index))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(str(PROGRAM), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(world, make_table, label_images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with truth, a failure, and a hostile id, error and title."""
    names = {"plain": HOSTILE_ID}
    truth = make_table(
        {names.get(field_id, field_id): image for field_id, image in label_images.items()},
        seed=5,
        is_truth=True,
    )
    table = replace(
        world.table,
        cells=world.table.cells.replace({Column.FIELD_ID: names}),
        fields=world.table.fields.replace({Column.FIELD_ID: names}),
    )
    sources = [
        replace(source, field_id=names.get(source.field_id, source.field_id)) for source in world.sources
    ]
    return write_report(
        table,
        sources,
        tmp_path_factory.mktemp("report"),
        truth=truth,
        failures=[Failure(HOSTILE, "read", HOSTILE)],
        settings=ReportSettings(title=HOSTILE, tile_px=32),
    ).page


@pytest.fixture
def open_page(browser: Browser, page: Path) -> Iterator[Callable[..., Tab]]:
    """Opens the page, and in the end looks for errors in the console and requests to elsewhere."""
    tabs = []

    def opened(**options: object) -> Tab:
        tabs.append(browser.open(page, **options))
        tabs[-1].wait(READY)
        return tabs[-1]

    yield opened
    for tab in tabs:
        assert tab.complaints == []
        assert tab.value("document.title") != "run"
        tab.close()


def test_the_first_field_is_shown_in_colours_with_its_cells(open_page) -> None:
    tab = open_page()
    assert tab.value("[canvas.width, canvas.height]") == [160, 120]
    assert min(tab.value(BRIGHTNESS)) > 5
    assert tab.value(VISIBLE) == [0, 1, 2]
    assert tab.value("document.querySelector('#panel h3').textContent") == "first"
    assert tab.value("document.querySelector('#filter-count').textContent") == "4 of 4 cells"


def test_a_click_shows_the_probabilities_of_a_cell(open_page, world) -> None:
    tab = open_page()
    tab.click("g.cell[data-index='2']")
    assert tab.value("document.querySelector('#panel h3').textContent") == "Cell 300"
    row = world.table.cells[Column.CELL_ID].tolist().index(300)
    expected = [f"{value:.2f}" for value in sorted(world.table.probabilities()[row], reverse=True)]
    shown = tab.value("[...document.querySelectorAll('#panel .bars .value')].map((node) => node.textContent)")
    assert [float(each) for each in shown] == pytest.approx([float(each) for each in expected], abs=0.011)
    text = tab.value("document.querySelector('#panel').innerText")
    assert f"{world.table.cells[Column.AREA_UM2][row]:,.0f} µm²" in text
    assert "clear of it" in text
    assert "✓ true" in text
    tab.click("g.cell[data-index='2']")
    tab.value("document.querySelector('#cells-layer').dispatchEvent(new PointerEvent('pointerleave'))")
    assert tab.value("document.querySelector('#panel h3').textContent") == "first"


def test_filters_leave_the_cells_they_should(open_page, world) -> None:
    tab = open_page()
    values = world.table.probabilities()[np.flatnonzero(world.table.cells[Column.FIELD_ID] == "first"), 4]
    tab.choose("#filter-class", "4")
    assert tab.value(VISIBLE) == np.flatnonzero(values >= 0.5).tolist()
    tab.choose("#filter-least", "0")
    assert tab.value(VISIBLE) == [0, 1, 2]
    least = int(100 * np.sort(values)[1:].mean()) * 10
    tab.choose("#filter-least", str(least))
    expected = np.flatnonzero(np.round(1000 * values) >= least).tolist()
    assert tab.value(VISIBLE) == expected != [0, 1, 2]
    tab.click("#filter button[type=reset]")
    tab.wait(f"{VISIBLE}.length === 3")
    tab.click("#filter-border")
    assert tab.value(VISIBLE) == [0, 2]  # the second is cut by the edge
    tab.click("#filter-border")
    tab.choose("#filter-truth", "right")
    right = tab.value(VISIBLE)
    tab.choose("#filter-truth", "wrong")
    assert sorted(right + tab.value(VISIBLE)) == [0, 1, 2]


def test_channels_switch_and_levels_stretch(open_page) -> None:
    tab = open_page()
    red, green, blue = tab.value(BRIGHTNESS)
    tab.click(".channel:nth-child(3) input[type=checkbox]")
    tab.wait(f"{BRIGHTNESS}[2] < 1")
    assert tab.value(BRIGHTNESS)[:2] == pytest.approx([red, green], abs=1)
    tab.choose(".channel:nth-child(2) .levels input:nth-child(2)", "60")
    tab.wait(f"{BRIGHTNESS}[1] > {green + 5}")
    for channel in (1, 4):
        tab.click(f".channel:nth-child({channel}) input[type=checkbox]")
    tab.wait(f"Math.abs({BRIGHTNESS}[0] - {BRIGHTNESS}[1]) < 0.01")  # one alone is grey
    tab.click(".palette button")
    tab.wait(f"Math.abs({BRIGHTNESS}[2] - {blue}) < 0.01")
    for channel in (2, 4):
        tab.click(f".channel:nth-child({channel}) input[type=checkbox]")
    tab.wait(f"{BRIGHTNESS}[1] === 0")
    tab.choose(".palette select", "safe")
    tab.wait(f"{BRIGHTNESS}[1] > 5")  # the nucleus has a little green in this one


def test_keys_go_from_cell_to_cell_and_from_field_to_field(open_page, world) -> None:
    tab = open_page()
    tab.value("document.querySelector('g.cell[tabindex=\"0\"]').focus()")
    focused = "Number(document.activeElement.dataset.index)"
    assert tab.value(focused) == 0
    tab.press("ArrowRight")
    assert tab.value(focused) == 2
    assert "300" in tab.value("document.activeElement.getAttribute('aria-label')")
    assert tab.value("document.querySelector('#panel h3').textContent") == "Cell 300"
    tab.press("Enter")
    assert tab.value("document.activeElement.getAttribute('aria-pressed')") == "true"
    tab.press("ArrowDown")
    assert tab.value(focused) == 1
    assert tab.value("document.querySelectorAll('g.cell[tabindex=\"0\"]').length") == 1
    width = "document.querySelector('#sheet').offsetWidth"
    before = tab.value(width)
    tab.press("+")
    assert tab.value(width) > 1.3 * before
    tab.press("0")
    assert tab.value(width) == before
    tab.value("document.querySelector('#strip button').focus()")
    tab.press("ArrowRight")
    tab.press("Enter")
    tab.wait("document.querySelector('#panel h3').textContent.startsWith('plain')")
    assert tab.value("document.querySelector('#panel h3').textContent") == HOSTILE_ID


def test_every_control_has_a_name_and_focus_can_be_seen(open_page) -> None:
    tab = open_page()
    unnamed = tab.value(
        "[...document.querySelectorAll('button, select, input, [role=button], [role=region]')].filter((node) =>"
        "!(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length))"
        ".map((node) => node.outerHTML)"
    )
    assert unnamed == []
    for _ in range(12):
        tab.press("Tab")
        style = tab.value(
            "(() => { const style = getComputedStyle(document.activeElement); const next ="
            "document.activeElement.nextElementSibling; return [style.outlineStyle, next &&"
            "getComputedStyle(next).outlineStyle]; })()"
        )
        assert "solid" in style


def test_a_single_cell_leads_to_its_field(open_page) -> None:
    tab = open_page()
    tab.click(".tile[data-cell='1'][data-field^='plain']")
    tab.wait("document.querySelector('#panel').dataset.cell === '1'")
    assert tab.value("document.querySelector('#field').selectedOptions[0].textContent") == HOSTILE_ID
    assert tab.value("document.querySelector('g.cell').getAttribute('aria-pressed')") == "true"
    # A cell that the filter hides is shown all the same.
    tab.click("#filter-border")
    tab.click(".tile[data-cell='7'][data-field='first']")
    tab.wait(f"document.querySelector('#panel').dataset.cell === '7' && {VISIBLE}.length === 3")


def test_a_field_without_cells(open_page) -> None:
    tab = open_page()
    tab.click("#previous")
    tab.wait("document.querySelector('#panel h3').textContent === 'void'")
    assert tab.value(VISIBLE) == []
    assert "No cell was found here." in tab.value("document.querySelector('#panel').innerText")


def test_dark_by_the_system_and_by_the_switch(open_page) -> None:
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    tab = open_page(dark=True)
    assert max(tab.value(background)) < 60
    tab.click("#theme label:nth-of-type(2)")
    assert min(tab.value(background)) > 200
    tab.click("#theme label:nth-of-type(3)")
    assert max(tab.value(background)) < 60
    tab.click("#theme label:nth-of-type(1)")


def test_nothing_is_wider_than_a_telephone(open_page) -> None:
    tab = open_page(width=400, height=800)
    assert tab.value("document.documentElement.scrollWidth") <= 400


def test_what_strangers_wrote_is_shown_as_text(open_page) -> None:
    tab = open_page()
    assert tab.value("document.querySelector('h1').textContent") == HOSTILE
    assert tab.value("document.querySelector('#failures td').textContent") == HOSTILE
    assert tab.value("document.querySelectorAll('img[src=x], b [onmouseover]').length") == 0


def test_pages_without_fields_cells_probabilities_or_the_size_of_a_pixel(
    browser: Browser, world, make_table, label_images, tmp_path: Path
) -> None:
    void = make_table({"void": label_images["void"]})
    unknown = dict.fromkeys(Column.probabilities(world.table.class_set), np.float32(np.nan))
    silent = replace(
        world.table,
        cells=world.table.cells.assign(**unknown),
        fields=world.table.fields.assign(**unknown),
    )
    unmeasured = replace(
        world.table,
        cells=world.table.cells.assign(area_um2=np.nan, nucleus_area_um2=np.nan),
        fields=world.table.fields.assign(pixel_size_um=np.nan),
    )
    for name, table, settings in (
        ("no_fields", world.table, ReportSettings(max_fields=0, tile_px=32)),
        ("no_cells", void, ReportSettings()),
        ("no_probabilities", silent, ReportSettings()),
        ("no_pixel_size", unmeasured, ReportSettings()),
    ):
        page = write_report(table, world.sources, tmp_path / name, settings=settings).page
        tab = browser.open(page)
        if name != "no_fields":
            tab.wait(READY)
        if name == "no_probabilities":
            assert tab.value(VISIBLE) == [0, 1, 2]
            tab.click("g.cell[data-index='0']")
            assert "no probabilities" in tab.value("document.querySelector('#panel').innerText")
        if name == "no_pixel_size":
            assert tab.value("getComputedStyle(document.querySelector('#scale')).display") == "none"
            assert "Pixel" not in tab.value("document.querySelector('#panel').innerText")
            tab.click("g.cell[data-index='0']")
            panel = tab.value("document.querySelector('#panel').innerText")
            assert f"{unmeasured.cells[Column.AREA_PX].iloc[0]:,} px" in panel
            assert "Nucleus" not in panel
            assert "µm" not in panel
        assert tab.complaints == []
        tab.close()
