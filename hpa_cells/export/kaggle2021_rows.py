"""Parsing the rows of a submission of 2021, down to the token that is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpa_cells.classes import ClassSet
from hpa_cells.export.expected import HEADER_2021, FieldSize, parsed_size
from hpa_cells.export.problem import Problem, shortened
from hpa_cells.export.rows import Row, read_rows
from hpa_cells.masks import MAX_COUNTS_BYTES, from_challenge_string
from hpa_cells.masks.coding import runs_from_counts, starts_and_stops

__all__ = ["Detection", "FieldRow", "parsed_rows"]

# Python's own int() and float() also take `1_000`, ` 7 ` and the digits of every script.
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
# All masks of a field of 112 cells have together less than a megabyte.
_MOST_COUNTS_BYTES = 1 << 26
_USUAL_COUNTS_BYTES = 1 << 16
_LARGEST_CONFIDENCE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Detection:
    """A triple: the class, the confidence, and the mask as compressed counts of COCO."""

    class_index: int
    confidence: float
    counts: bytes


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A row: the field, its size (None where that is unreadable) and its well-formed detections."""

    line: int
    field_id: str
    size: FieldSize | None
    detections: list[Detection]


def parsed_rows(path: Path, class_set: ClassSet, problems: list[Problem]) -> Iterator[FieldRow]:
    """Yield every row that has an id; what is wrong in it is added to `problems` before it is yielded."""
    for row in read_rows(path, HEADER_2021, problems):
        field_id = row.values[0]
        if not field_id:
            problems.append(Problem(row.line, "", "", "The row has no id."))
            continue
        size = parsed_size(row)
        if size is None:
            message = "Width and height must be whole numbers from 1 to 999999, in px."
            problems.append(
                Problem(row.line, shortened(field_id), shortened(",".join(row.values[1:3])), message)
            )
        yield FieldRow(row.line, field_id, size, list(_parsed_detections(row, size, class_set, problems)))


def _parsed_detections(
    row: Row, size: FieldSize | None, class_set: ClassSet, problems: list[Problem]
) -> Iterator[Detection]:
    tokens = row.values[3].split()
    shown_id = shortened(row.values[0])
    if len(tokens) % 3:
        message = (
            f"{len(tokens)} tokens are no triples of `class confidence mask`: "
            f"{len(tokens) % 3} are left over."
        )
        problems.append(Problem(row.line, shown_id, shortened(tokens[-1]), message))
        return
    masks: dict[str, bytes | str] = {}
    num_bytes = 0
    triples = zip(tokens[::3], tokens[1::3], tokens[2::3], strict=True)
    for number, (class_token, confidence_token, mask_token) in enumerate(triples, start=1):
        mask_error = None
        if mask_token not in masks:
            # A cell repeats its mask with each of its classes: it is decoded once, and reported once.
            found = masks[mask_token] = _counts_or_error(mask_token, size, number)
            mask_error = found if isinstance(found, str) else None
            num_bytes += len(found)
            if num_bytes > _MOST_COUNTS_BYTES:
                message = f"The masks of the row unpack to more than {_MOST_COUNTS_BYTES:,} bytes, no honest field's."
                problems.append(Problem(row.line, shown_id, shortened(mask_token), message))
                return
        errors = (
            (class_token, _class_error(class_token, class_set)),
            (confidence_token, _confidence_error(confidence_token)),
            (mask_token, mask_error),
        )
        wrong = [
            Problem(row.line, shown_id, shortened(token), str(error)) for token, error in errors if error
        ]
        problems.extend(wrong)
        counts = masks[mask_token]
        if not wrong and isinstance(counts, bytes):
            yield Detection(int(class_token), float(confidence_token), counts)


def _class_error(token: str, class_set: ClassSet) -> str | None:
    if not _WHOLE_NUMBER.fullmatch(token):
        return f"Class is not a whole number: expected 0 to {len(class_set) - 1}."
    if int(token) >= len(class_set):
        return f"Class is not in {class_set.name}: expected 0 to {len(class_set) - 1}."
    return None


def _confidence_error(token: str) -> str | None:
    if _NOT_FINITE.fullmatch(token):
        return "Confidence is not finite: expected a number, e.g. 0.5."
    if not _NUMBER.fullmatch(token):
        return "Confidence is not a number: expected e.g. 0.5."
    value = float(token)
    if not math.isfinite(value) or abs(value) > _LARGEST_CONFIDENCE:
        return "Confidence is not finite in 32 bit: expected a number, e.g. 0.5."
    return None


def _most_bytes(size: FieldSize | None) -> int:
    """No mask of the field has more: two characters for each run of a single pixel."""
    if size is None:
        return MAX_COUNTS_BYTES
    # A mask of usual length in a row of a wrong size is to be told by its pixels.
    return min(MAX_COUNTS_BYTES, max(2 * size.width_px * size.height_px, _USUAL_COUNTS_BYTES))


def _counts_or_error(token: str, size: FieldSize | None, number: int) -> bytes | str:
    """The mask's counts, or (a str) what is wrong with it; `number` is that of its triple in the row."""
    try:
        counts = from_challenge_string(token, max_bytes=_most_bytes(size))
        if size is not None:
            lengths = runs_from_counts([counts], size.width_px * size.height_px, [f"of triple {number}"])
            if not starts_and_stops(*lengths)[0].size:
                return f"Mask of triple {number} is empty: leave out cells without pixels."
    except ValueError as error:
        return str(error)
    return counts
