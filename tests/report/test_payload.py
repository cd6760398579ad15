from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.report.payload import as_script_data, run_payload
from hpa_cells.report.truth import compare_with_truth
from hpa_cells.table import Column


class Scripts(HTMLParser):
    """The texts of the scripts of a page, and all other tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_text_comes_back_and_no_text_leaves_its_script(value) -> None:
    page = Scripts(f'<script type="application/json">{as_script_data(value)}</script>')
    assert page.tags == ["script"]
    assert json.loads("".join(page.texts)) == value


@pytest.mark.parametrize("text", ["</script><img src=x>", "<!--<script>", "&lt;/script&gt;", "\u2028"])
def test_what_ends_a_script_is_escaped(text: str) -> None:
    data = str(as_script_data({text: text}))
    assert not set("<>&\u2028") & set(data)
    assert json.loads(data) == {text: text}


def test_a_number_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        as_script_data(float("nan"))


def test_cells_of_a_field_as_columns(world, make_table, label_images) -> None:
    truth = make_table(label_images, seed=5, is_truth=True)
    known = compare_with_truth(world.table, truth)
    payload = run_payload(world.table, ["plain", "void", "first"], known, threshold=0.5)
    assert [each["id"] for each in payload["fields"]] == ["plain", "void", "first"]
    assert len({(each["color"], each["dash"]) for each in payload["classes"]}) == 19
    cells = payload["fields"][2]["cells"]
    assert cells["id"] == [3, 7, 300]
    for position, row in enumerate(np.flatnonzero(world.table.cells[Column.FIELD_ID] == "first")):
        values = world.table.probabilities()[row]
        assert np.allclose(np.array(cells["p"][position]) / 1000, values, atol=5.1e-4)
        assert cells["true"][position] == np.flatnonzero(truth.probabilities()[row] >= 0.5).tolist()
    assert (cells["x"][0], cells["y"][0]) == (81, 81)
    assert cells["border"] == [0, 1, 0]
    assert payload["fields"][1]["cells"]["id"] == []


def test_what_is_not_known_is_null(world) -> None:
    columns = Column.probabilities(world.table.class_set)
    table = replace(world.table, cells=world.table.cells.assign(**dict.fromkeys(columns, np.float32(np.nan))))
    cells = run_payload(table, ["plain"], None, threshold=0.5)["fields"][0]["cells"]
    assert cells["p"] == [[None] * 19]
    assert cells["true"] is None


def test_a_pixel_of_unknown_size(world) -> None:
    table = replace(
        world.table,
        cells=world.table.cells.assign(area_um2=np.nan, nucleus_area_um2=np.nan),
        fields=world.table.fields.assign(pixel_size_um=np.nan),
    )
    field = json.loads(as_script_data(run_payload(table, ["plain"], None, threshold=0.5)))["fields"][0]
    assert (field["um"], field["cells"]["area"], field["cells"]["nucleus"]) == (None, [None], [None])
    assert field["cells"]["px"] == table.cells.loc[table.cells["field_id"] == "plain", "area_px"].tolist()
