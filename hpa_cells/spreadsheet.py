"""Texts of strangers in tables that people open in a spreadsheet, which runs some of them as formulas."""

from __future__ import annotations

from typing import Final

import pandas as pd

__all__ = ["guarded", "guarded_text", "plain_text"]

# A spreadsheet takes a cell that begins with one of these for a formula, which may send the sheet away or start a
# program. It shows no quote that stands before it, and asks nothing of it.
_STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_QUOTE: Final = "'"


def guarded_text(text: str) -> str:
    """The text with a ``'`` in front where a spreadsheet would run it, or where it begins with one itself.

    Examples
    --------
    >>> guarded_text("=1+1"), guarded_text("57_F11_1")
    ("'=1+1", '57_F11_1')
    """
    return _QUOTE + text if text.startswith((*_STARTS_FORMULA, _QUOTE)) else text


def plain_text(text: str) -> str:
    """The way back from `guarded_text`; a text that a person wrote stays as it is, but for such a quote.

    Examples
    --------
    >>> plain_text("'=1+1"), plain_text("'a'")
    ('=1+1', "'a'")
    """
    return text[1:] if text.startswith(_QUOTE) and text[1:].startswith((*_STARTS_FORMULA, _QUOTE)) else text


def guarded(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with every text, also the names of the columns, as `guarded_text` gives it."""
    safe = rows.rename(columns=lambda name: guarded_text(name) if isinstance(name, str) else name)
    for position, dtype in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            column = safe.iloc[:, position]
            texts = column.map(lambda value: guarded_text(value) if isinstance(value, str) else value)
            safe.isetitem(position, texts.to_list())
    return safe
