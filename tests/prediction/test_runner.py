import threading
from collections.abc import Iterator

import pytest

from hpa_cells.prediction import LocalRunner


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("num_ahead", [1, 10])
def test_results_come_in_order(num_threads: int, num_ahead: int) -> None:
    runner = LocalRunner(num_threads=num_threads, num_ahead=num_ahead)
    assert list(runner.map(lambda number: number**2, range(20))) == [number**2 for number in range(20)]


def test_nothing_to_do() -> None:
    assert list(LocalRunner().map(str, [])) == []


def test_no_more_is_taken_than_may_wait() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = LocalRunner(num_threads=2, num_ahead=3).map(lambda number: number, items())
    assert taken == []
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert next(results) == 1
    assert taken == [0, 1, 2, 3, 4]


def test_calls_run_at_once() -> None:
    both = threading.Barrier(2, timeout=20)
    assert len(list(LocalRunner(num_threads=2).map(lambda _: both.wait(), range(2)))) == 2


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise RuntimeError("out of order")
        return number

    results = LocalRunner().map(fail_at_two, range(50))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="out of order"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hpa-cells")]


def test_a_caller_who_stops_early_drops_the_rest() -> None:
    begun: list[int] = []
    results = LocalRunner(num_threads=1, num_ahead=5).map(begun.append, range(1000))
    next(results)
    results.close()
    assert len(begun) <= 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hpa-cells")]


@pytest.mark.parametrize("name", ["num_threads", "num_ahead"])
def test_numbers_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"runner.{name} is 0: give at least 1"):
        LocalRunner(**{name: 0})
