from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa_cells.spreadsheet import guarded, guarded_text, plain_text


@given(st.one_of(st.text(), st.text(alphabet="'=+-@\t\r\na")))
def test_no_text_begins_as_a_formula_and_all_come_back(text: str) -> None:
    safe = guarded_text(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert plain_text(safe) == text


@pytest.mark.parametrize("text", ["a", "57_F11_1", "it's", "'a'", ""])
def test_a_text_that_a_person_wrote_stays(text: str) -> None:
    assert plain_text(text) == text


def test_texts_and_names_of_columns_are_guarded_and_numbers_stay() -> None:
    rows = pd.DataFrame(
        {"=a": ["=1+1", None, "b"], "n": [-1.0, 2.0, 3.0], "c": pd.Categorical(["@x", "y", "y"])}
    )
    safe = guarded(rows)
    assert safe.columns.tolist() == ["'=a", "n", "c"]
    assert safe["'=a"].tolist()[::2] == ["'=1+1", "b"]
    assert safe["'=a"].isna().tolist() == [False, True, False]
    assert safe["n"].tolist() == [-1.0, 2.0, 3.0]
    assert safe["c"].tolist() == ["'@x", "y", "y"]
    assert rows["=a"].tolist()[0] == "=1+1"
