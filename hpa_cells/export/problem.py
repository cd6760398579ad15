"""What is wrong with a file, and where."""

from __future__ import annotations

from dataclasses import dataclass

from hpa_cells.shown import printable

__all__ = ["Problem", "shortened"]

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a submission.

    Attributes
    ----------
    line
        Line of the file, from 1 (the header); None for what is wrong with the file as a whole, e.g. a missing
        field.
    field_id
        The field's id as the file spells it, cut to a readable length; empty where there is none.
    token
        The part of the line that is wrong, cut to a readable length; empty where something is absent.
    message
        What is wrong with it and what was expected.

    Examples
    --------
    >>> print(Problem(3, "a1", "19", "Class is not in hpa2021: expected 0 to 18."))
    line 3, field a1, `19`: Class is not in hpa2021: expected 0 to 18.
    """

    line: int | None
    field_id: str
    token: str
    message: str

    def __str__(self) -> str:
        place = "file" if self.line is None else f"line {self.line}"
        field = f", field {self.field_id}" if self.field_id else ""
        token = f", `{self.token}`" if self.token else ""
        return f"{place}{field}{token}: {self.message}"


def shortened(token: str) -> str:
    """The token, or its beginning when it is long, with control characters escaped.

    Examples
    --------
    >>> shortened("0.5")
    '0.5'
    >>> shortened("e" * 50)
    'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee… (50 characters)'
    """
    if len(token) <= _SHOWN_CHARACTERS:
        return printable(token)
    return f"{printable(token[:_SHOWN_CHARACTERS])}… ({len(token)} characters)"
