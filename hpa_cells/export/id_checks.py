"""Whether each field is in a submission, once and with its size; the same for both years."""

from __future__ import annotations

from hpa_cells.export.expected import ExpectedFields, FieldSize
from hpa_cells.export.problem import Problem, shortened

__all__ = ["IdChecks"]


class IdChecks:
    """Remembers the ids seen so far.

    Parameters
    ----------
    expected
        The fields that the file must have; None: any, but each only once.
    """

    def __init__(self, expected: ExpectedFields | None) -> None:
        self._expected = expected
        self._first_lines: dict[str, int] = {}

    def problems_of(self, line: int, field_id: str, size: FieldSize | None) -> list[Problem]:
        """What is wrong with the id of a row and its size; None where the row tells no size."""
        shown_id = shortened(field_id)
        first_line = self._first_lines.setdefault(field_id, line)
        if first_line != line:
            return [
                Problem(
                    line, shown_id, shown_id, f"Id was on line {first_line} already: keep one row a field."
                )
            ]
        if self._expected is None:
            return []
        if field_id not in self._expected:
            return [
                Problem(line, shown_id, shown_id, "Id is not one of the expected fields: remove the row.")
            ]
        wanted = self._expected[field_id]
        if size is None or wanted is None or size == wanted:
            return []
        return [Problem(line, shown_id, f"{size.width_px},{size.height_px}", _size_message(size, wanted))]

    def missing(self) -> list[Problem]:
        """One problem a field that has not been seen."""
        missing = [field_id for field_id in self._expected or () if field_id not in self._first_lines]
        message = "The field has no row: add one, with an empty prediction if it has no cells."
        return [Problem(None, shortened(field_id), "", message) for field_id in missing]


def _size_message(size: FieldSize, wanted: FieldSize) -> str:
    if (size.width_px, size.height_px) == (wanted.height_px, wanted.width_px):
        return (
            f"Width and height are swapped: the field is {wanted} (width x height), and its masks are lost."
        )
    return f"Size is {size}, but the field is {wanted} (width x height)."
