"""The report as a folder and a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa_cells.fields import LabelTable
from hpa_cells.report import Failure, ReportSettings, write_report
from hpa_cells.table import Column, Provenance

SMALL = ReportSettings(field_px=128, tile_px=32, threshold=0.4)
# The run, three fields, and the page's own.
NUM_SCRIPTS = 5
HOSTILE = "</script><script>alert('x')</script>&\"'"


class Outline(HTMLParser):
    """Checks that tags close, and remembers ids, text and addresses."""

    VOID = frozenset({"meta", "img", "input", "link", "br", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.names: list[str] = []
        self.alternatives: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names += [name for name, _ in attrs]
        self.alternatives += [value or "" for name, value in attrs if name in ("alt", "title", "aria-label")]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


PICTURES = ("overlays", "montages")
PNG_OF_OTHERS = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


def test_page_overlays_and_montages(world, tmp_path: Path) -> None:
    report = write_report(world.table, world.sources, tmp_path, settings=replace(SMALL, title="My run"))
    assert report.page == tmp_path / "report.html"
    assert report.unreadable == []
    html = report.page.read_text(encoding="utf-8")
    Outline(html)
    num_cells, num_classes = world.table.probabilities().shape
    # Few enough that each is among the most confident of every class, and each but for ties far from its field.
    assert num_cells <= SMALL.cells_per_class
    gaps = np.abs(world.table.probabilities()[:3] - world.table.field_probabilities()[0]).max(axis=1)
    assert html.count('class="tile"') == num_cells * num_classes + (gaps > 0).sum()
    assert html.count('id="picture-') == 3
    assert "My run" in html
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == [
        "first.png",
        "plain.png",
        "void.png",
    ]
    assert cv2.imread(str(tmp_path / "overlays" / "first.png")).shape == (768, 1024, 3)
    keys = {path.stem for path in (tmp_path / "montages").iterdir()}
    assert keys == set(world.table.class_set.keys)


def test_page_needs_no_network_and_its_pictures_open(world, tmp_path: Path) -> None:
    html = write_report(world.table, world.sources, tmp_path, settings=SMALL).page.read_text(encoding="utf-8")
    page = Outline(html)
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in page.addresses)
    # The name of the language of outlines is no address.
    assert re.findall(r"https?://[\w./]+", html) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|url\(|<link|<script[^>]*src", html)
    first = next(address for address in page.addresses if address.startswith("data:"))
    encoded = np.frombuffer(base64.b64decode(first.split(",")[1]), np.uint8)
    assert cv2.imdecode(encoded, cv2.IMREAD_COLOR).shape == (108, 144, 3)
    picture = json.loads(re.search(r'id="picture-0">(.*?)</script>', html)[1])
    assert (picture["height"], picture["width"]) == (96, 128)
    for uri in picture["channels"]:
        pixels = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
        assert cv2.imdecode(pixels, cv2.IMREAD_GRAYSCALE).shape == (96, 128)
    for anchor in (address[1:] for address in page.addresses if address.startswith("#")):
        assert f'id="{anchor}"' in html


def test_with_truth_it_shows_precision_right_and_wrong(
    world, make_table, label_images, tmp_path: Path
) -> None:
    truth = make_table(label_images, seed=5, is_truth=True)
    html = write_report(world.table, world.sources, tmp_path, truth=truth, settings=SMALL).page.read_text(
        "utf-8"
    )
    Outline(html)
    assert "Mean average precision" in html
    assert re.search(r"of cells, \d+ of 19 locations", html)
    # Few enough cells that each is a tile of every class; the same masks, so that each has its true cell.
    is_true = truth.probabilities() >= 0.5
    assert len(is_true) <= SMALL.cells_per_class
    assert html.count('title="right">✓<') == is_true.sum()
    assert html.count('title="wrong">✗<') == (~is_true).sum()
    assert "true:" in html
    for section in ("scores", "matrices", "statistics", "disagreements"):
        assert f'<section id="{section}"' in html
    num_matrices, num_charts = 4, 3
    assert html.count("<figcaption>") == is_true.any(axis=0).sum() + num_matrices + num_charts
    assert "0.319" in html


def test_without_truth_it_does_not_speak_of_it(world, tmp_path: Path) -> None:
    html = write_report(world.table, world.sources, tmp_path, settings=SMALL).page.read_text("utf-8")
    shown = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    for word in ("verage precision", "True cells", "✓", "✗", "true:", "Truth", "0.319"):
        assert word not in shown


def test_what_comes_from_files_is_text(world, tmp_path: Path) -> None:
    failures = [Failure(HOSTILE, "segment", HOSTILE)]
    html = write_report(
        world.table, world.sources, tmp_path, failures=failures, settings=replace(SMALL, title=HOSTILE)
    ).page.read_text("utf-8")
    page = Outline(html)
    assert page.tags.count("script") == NUM_SCRIPTS
    assert page.words.count(HOSTILE) == 3


def test_a_field_that_cannot_be_read_is_told_and_the_rest_is_shown(
    world, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copies = tmp_path / "fields"
    copies.mkdir()
    for path in world.folder.iterdir():
        (copies / path.name).write_bytes(path.read_bytes())
    (copies / "plain_green.png").write_bytes(b"nothing")
    from hpa_cells.fields import find_fields

    report = write_report(world.table, find_fields(copies), tmp_path / "out", settings=SMALL)
    assert [failure.field_id for failure in report.unreadable] == ["plain"]
    assert "plain" in caplog.text
    html = report.page.read_text("utf-8")
    assert "plain_green.png" in html
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == [
        "first.png",
        "void.png",
    ]


def test_a_field_of_another_size(world, make_table, label_images, tmp_path: Path) -> None:
    larger = {field_id: np.pad(image, 5) for field_id, image in label_images.items()}
    report = write_report(make_table(larger), world.sources, tmp_path, settings=SMALL)
    assert len(report.unreadable) == 3
    assert "has 120 x 160 px (height x width), in the table 130 x 170" in report.unreadable[0].error


def test_fields_only_are_read_when_shown(world, tmp_path: Path) -> None:
    read: list[str] = []

    def track(field_ids):
        read.extend(field_ids)
        return field_ids

    settings = ReportSettings(max_fields=1, cells_per_class=0, num_disagreeing=0, field_px=64)
    report = write_report(world.table, world.sources, tmp_path, settings=settings, track=track)
    assert len(read) == 1
    assert "1 of 3 fields." in report.page.read_text("utf-8")


def test_no_cells_at_all(make_table, world, label_images, tmp_path: Path) -> None:
    table = make_table({"void": label_images["void"]})
    html = write_report(table, world.sources, tmp_path, settings=SMALL).page.read_text("utf-8")
    Outline(html)
    assert '<section id="cells"' not in html
    assert not re.search(r"\bnan\b", re.sub(r"<script type=.module.*", "", html, flags=re.DOTALL).lower())


def test_a_table_without_probabilities(world, tmp_path: Path) -> None:
    from hpa_cells.table import Column

    columns = Column.probabilities(world.table.class_set)
    unknown = np.float32(np.nan)
    table = replace(
        world.table,
        cells=world.table.cells.assign(**dict.fromkeys(columns, unknown)),
        fields=world.table.fields.assign(**dict.fromkeys(columns, unknown)),
    )
    html = write_report(table, world.sources, tmp_path, settings=SMALL).page.read_text("utf-8")
    Outline(html)
    assert '"id":[3,7,300]' in html


def test_fields_left_out_are_noted(world, tmp_path: Path) -> None:
    settings = ReportSettings(field_px=64, tile_px=16, skip_missing=True)
    html = write_report(world.table, world.sources[1:], tmp_path, settings=settings).page.read_text("utf-8")
    assert "1 of 3 fields count in the numbers, but their pictures were not given." in html


def test_what_comes_from_a_table_is_text_too(world, tmp_path: Path) -> None:
    settings = {HOSTILE: {"a": HOSTILE}, "list": [HOSTILE]}
    provenance = Provenance(
        version=HOSTILE, class_set="hpa2021", source=HOSTILE, weights_hash=HOSTILE, settings=settings
    )
    # Quotes end an attribute, and ampersands begin an entity: all that an id may have of them.
    renamed = "a' onmouseover='alert(1)' &lt;b&gt; &quot;"
    rename = {world.table.fields[Column.FIELD_ID].iloc[0]: renamed}
    table = replace(
        world.table,
        provenance=provenance,
        cells=world.table.cells.replace({Column.FIELD_ID: rename}),
        fields=world.table.fields.replace({Column.FIELD_ID: rename}),
    )
    sources = [
        replace(source, field_id=rename.get(source.field_id, source.field_id)) for source in world.sources
    ]
    html = write_report(table, sources, tmp_path, settings=replace(SMALL, title="t")).page.read_text("utf-8")
    page = Outline(html)
    assert page.tags.count("script") == NUM_SCRIPTS
    assert not [name for name in page.names if name.startswith("on")]
    assert any(word.strip() == renamed for word in page.words)
    assert any(renamed in value for value in page.alternatives)
    assert sum(HOSTILE in word for word in page.words) >= 4
    assert (tmp_path / "overlays" / f"{renamed}.png").is_file()


@pytest.mark.parametrize("field_id", ["../out", "/tmp/out", "a/b", "..", "nul", "a\x00b", "a\nb", "x" * 300])
def test_an_id_of_a_table_leads_to_no_other_folder(world, tmp_path: Path, field_id: str) -> None:
    fields = world.table.fields.assign(
        **{Column.FIELD_ID: [field_id, *world.table.fields[Column.FIELD_ID][1:]]}
    )
    write_report(
        replace(world.table, fields=fields),
        world.sources,
        tmp_path / "a" / "b",
        settings=replace(SMALL, skip_missing=True),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert not (
        tmp_path / "a" / "b" / "overlays" / f"{world.table.fields[Column.FIELD_ID].iloc[0]}.png"
    ).exists()


def test_the_browser_is_told_to_run_this_script_only(world, tmp_path: Path) -> None:
    html = write_report(world.table, world.sources, tmp_path, settings=SMALL).page.read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    script = re.search(r'<script type="module">(.*)</script>', html, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#43;", "+")
    assert policy.startswith("default-src 'none'")


def test_no_more_overlays_than_asked_for(world, tmp_path: Path) -> None:
    write_report(world.table, world.sources, tmp_path, settings=replace(SMALL, max_overlays=1))
    assert [path.name for path in (tmp_path / "overlays").iterdir()] == ["first.png"]


def test_labels_of_fields_as_truth_score_fields(world, tmp_path: Path) -> None:
    labels = LabelTable(
        class_set=world.table.class_set,
        field_ids=("first", "plain"),
        labels=np.eye(2, 19, 3, dtype=np.bool_),
    )
    html = write_report(world.table, world.sources, tmp_path, truth=labels, settings=SMALL).page.read_text(
        "utf-8"
    )
    Outline(html)
    assert "True fields" in html
    assert "0.319" not in html
    assert "Called for each true location" in html


def test_what_an_earlier_report_left_is_removed_and_nothing_else(world, tmp_path: Path) -> None:
    write_report(world.table, world.sources, tmp_path)
    overlays, montages = ({path.name for path in (tmp_path / each).iterdir()} for each in PICTURES)
    of_others = [tmp_path / each / name for each in PICTURES for name in ("mine.png", "mine.txt", "cut.png")]
    for path in of_others:
        path.write_bytes(PNG_OF_OTHERS if path.suffix == ".png" and path.stem == "mine" else b"mine")
    settings = ReportSettings(max_fields=1, max_overlays=1, cells_per_class=0)
    write_report(world.table, world.sources, tmp_path, settings=settings)
    left = [path for each in PICTURES for path in (tmp_path / each).iterdir()]
    assert set(of_others) < set(left)
    (overlay,) = set(left) - set(of_others)
    assert overlay.parent.name == "overlays"
    assert overlay.name in overlays
    assert montages


def test_a_folder_that_only_an_earlier_report_used_goes_too(world, tmp_path: Path) -> None:
    write_report(world.table, world.sources, tmp_path)
    write_report(world.table, world.sources, tmp_path, settings=ReportSettings(max_overlays=0))
    assert not (tmp_path / "overlays").exists()
    assert (tmp_path / "montages").is_dir()


def test_a_report_that_fails_leaves_the_earlier_one(world, tmp_path: Path, monkeypatch) -> None:
    write_report(world.table, world.sources, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def fail(page):
        raise KeyboardInterrupt

    monkeypatch.setattr("hpa_cells.report.write.render_page", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(world.table, world.sources, tmp_path, settings=ReportSettings(max_overlays=0))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
