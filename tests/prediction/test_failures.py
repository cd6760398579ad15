from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd
import pytest
import torch

from hpa_cells.prediction.failures import (
    FAILURES_FILE,
    Attempt,
    Failure,
    at_stage,
    read_failures,
    write_failures,
)


@dataclass(frozen=True)
class Item:
    field_id: str


ITEMS = [Item(name) for name in "abcd"]


class Recorder:
    """Gives back the names of the fields; refuses calls with a guilty one among them."""

    def __init__(self, guilty: str, error: BaseException) -> None:
        self.guilty, self.error = guilty, error
        self.calls: list[str] = []

    def __call__(self, items: Sequence[Item]) -> list[str]:
        self.calls.append("".join(item.field_id for item in items))
        with at_stage("segment"):
            if set(self.guilty) & set(self.calls[-1]):
                raise self.error
        return list(self.calls[-1])


def test_without_failure_one_call_does_it() -> None:
    recorder = Recorder("", ValueError())
    assert Attempt(recorder)(ITEMS) == ["a", "b", "c", "d"]
    assert recorder.calls == ["abcd"]


def test_only_the_guilty_ones_are_lost() -> None:
    recorder = Recorder("bd", ValueError("Field is odd."))
    failed = [Failure(field_id=name, stage="segment", error="Field is odd.") for name in "bd"]
    assert Attempt(recorder)(ITEMS) == ["a", failed[0], "c", failed[1]]
    assert recorder.calls == ["abcd", "ab", "a", "b", "cd", "c", "d"]


def test_no_fields() -> None:
    assert Attempt(Recorder("a", ValueError()))([]) == []


@pytest.mark.parametrize("error", [OSError("o"), TypeError("t"), ZeroDivisionError("z"), cv2.error("c")])
def test_what_a_field_may_be_blamed_for(error: Exception) -> None:
    [failure] = Attempt(Recorder("a", error))(ITEMS[:1])
    assert failure == Failure(field_id="a", stage="segment", error=str(error))


def no_memory_of_the_cpu() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore words."),
        no_memory_of_the_cpu(),
        MemoryError("Unable to allocate 9 GiB"),
    ],
    ids=["cuda", "cpu", "numpy"],
)
def test_memory_that_one_field_does_not_get_costs_only_that_field(error: RuntimeError) -> None:
    outcomes = Attempt(Recorder("c", error))(ITEMS)
    assert [each for each in outcomes if not isinstance(each, Failure)] == ["a", "b", "d"]
    [failure] = [each for each in outcomes if isinstance(each, Failure)]
    assert (failure.field_id, failure.stage) == ("c", "segment")
    assert str(error).split("\n")[0] in failure.error
    assert "More words" not in failure.error
    assert failure.error.endswith("lower batch_cells, or use another device.")


@pytest.mark.parametrize(("error", "name"), [(OSError(), "OSError"), (MemoryError(), "free (MemoryError)")])
def test_an_error_without_words_is_named(error: Exception, name: str) -> None:
    [failure] = Attempt(Recorder("a", error))(ITEMS[:1])
    assert name in failure.error


class Small:
    """A memory that holds so many fields."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls: list[int] = []

    def __call__(self, items: Sequence[Item]) -> list[str]:
        self.calls.append(len(items))
        with at_stage("segment"):
            if len(items) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return [item.field_id for item in items]


def test_where_the_memory_is_too_small_batches_stay_smaller(caplog: pytest.LogCaptureFixture) -> None:
    small = Small(3)
    attempt = Attempt(small)
    assert attempt(ITEMS * 2) == list("abcdabcd")
    assert "too small for 8 fields at once" in caplog.text
    small.calls.clear()
    assert attempt(ITEMS * 2) == list("abcdabcd")
    assert max(small.calls) <= 3


def test_one_field_that_is_too_large_makes_no_batch_smaller() -> None:
    recorder = Recorder("c", torch.OutOfMemoryError("CUDA out of memory."))
    attempt = Attempt(recorder)
    attempt(ITEMS)
    recorder.guilty = ""
    recorder.calls.clear()
    attempt(ITEMS)
    # The halves in which it was not went through, its own did not.
    assert recorder.calls[0] == "abcd"


@pytest.mark.parametrize("error", [RuntimeError, KeyError, AttributeError, KeyboardInterrupt])
def test_a_fault_of_the_program_is_not_hidden(error: type[BaseException]) -> None:
    with pytest.raises(error):
        Attempt(Recorder("a", error()))(ITEMS)


def test_the_file_of_failures(tmp_path: Path) -> None:
    failures = [
        Failure(field_id="a,b", stage="read", error='Two\nlines and "quotes".'),
        Failure(field_id="c", stage="find", error="No red."),
    ]
    path = write_failures(tmp_path / "run", failures)
    assert path == tmp_path / "run" / FAILURES_FILE
    rows = pd.read_csv(path)
    assert rows.columns.tolist() == ["field_id", "stage", "error"]
    assert [Failure(**row) for row in rows.to_dict("records")] == failures


def test_no_text_of_the_file_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    failures = [
        Failure(field_id="=1+1", stage="find", error="-2+3 is no file"),
        Failure(field_id="'b", stage="read", error="x"),
    ]
    text = write_failures(tmp_path, failures).read_text()
    assert not any(cell.startswith(("=", "-")) for line in text.splitlines() for cell in line.split(","))
    assert read_failures(tmp_path) == failures


def test_without_failures_the_file_has_its_header_only(tmp_path: Path) -> None:
    write_failures(tmp_path, [Failure(field_id="a", stage="read", error="gone")])
    assert write_failures(tmp_path, []).read_text() == "field_id,stage,error\n"


def test_the_same_failures_leave_the_file_as_it_is(tmp_path: Path) -> None:
    failures = [Failure(field_id="a", stage="read", error="gone, or\nnever there")]
    path = write_failures(tmp_path, failures)
    before = path.stat()
    assert write_failures(tmp_path, failures).stat() == before
