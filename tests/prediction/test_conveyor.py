import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from hpa_cells.prediction.conveyor import Ended, Stage, convey
from hpa_cells.prediction.stage_times import StageTimes


def each(function: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda items: [function(item) for item in items]


def plus_one(*, num_threads: int = 1, delay_s: float = 0.0, **settings: Any) -> Stage:
    def work(items: list[int]) -> list[int]:
        time.sleep(delay_s * (items[0] % 3))
        return [item + 1 for item in items]

    return Stage(name="add", work=work, num_threads=num_threads, **settings)


def threads_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("hpa-cells")]


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("num_under_way", [1, 3, 30])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_outcomes_come_in_order(num_threads: int, num_under_way: int, batch_size: int) -> None:
    stages = [plus_one(num_threads=num_threads, delay_s=0.001, batch_size=batch_size) for _ in range(3)]
    assert list(convey(range(20), stages, num_under_way=num_under_way)) == list(range(3, 23))
    assert not threads_left()


def test_nothing_to_do() -> None:
    assert list(convey([], [plus_one()], num_under_way=5)) == []
    assert not threads_left()


def test_no_more_is_taken_than_may_be_under_way() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    outcomes = convey(items(), [plus_one(num_threads=2), plus_one()], num_under_way=3)
    assert taken == []
    assert next(outcomes) == 2
    assert taken == [0, 1, 2]
    assert next(outcomes) == 3
    assert taken == [0, 1, 2, 3]


def test_stages_and_their_threads_work_at_once() -> None:
    """Two items in each of two stages wait for each other."""
    all_four = threading.Barrier(4, timeout=20)
    first = Stage(
        name="first", work=each(lambda item: item if item > 1 else all_four.wait() * 0 + item), num_threads=2
    )
    second = Stage(
        name="second", work=each(lambda item: all_four.wait() if item > 1 else item), num_threads=2
    )
    # 2 and 3 pass the first stage and wait in the second for 0 and 1, which wait in the first.
    assert len(list(convey([2, 3, 0, 1], [first, second], num_under_way=4))) == 4


def test_a_batch_takes_what_waits_until_it_is_full() -> None:
    batches: list[list[int]] = []
    full = threading.Event()

    def work(items: list[int]) -> list[int]:
        full.wait(20)
        batches.append(items)
        return items

    def count(items: list[int]) -> list[int]:
        if items == [9]:
            full.set()
        return items

    stages = [
        Stage(name="count", work=count),
        Stage(name="work", work=work, batch_size=8, size_of=lambda item: item),
    ]
    assert list(convey(range(10), stages, num_under_way=10)) == list(range(10))
    # 0 is alone, or with what has come by then; then each batch ends with the item that fills it.
    assert [item for batch in batches for item in batch] == list(range(10))
    for batch in batches[1:-1]:
        assert sum(batch) >= 8 > sum(batch[:-1])


def test_an_item_that_has_ended_skips_the_later_stages() -> None:
    seen: list[int] = []

    def end_odd(item: int) -> int | Ended:
        return Ended(f"odd {item}") if item % 2 else item

    stages = [
        Stage(name="end", work=each(end_odd)),
        Stage(name="see", work=each(lambda item: seen.append(item) or item)),
    ]
    assert list(convey(range(4), stages, num_under_way=4)) == [0, "odd 1", 2, "odd 3"]
    assert seen == [0, 2]


@pytest.mark.parametrize("error", [RuntimeError("out of order"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_comes_in_its_turn_and_ends_the_threads(error: BaseException) -> None:
    def fail_at_two(item: int) -> int:
        if item == 2:
            raise error
        time.sleep(0.01)
        return item

    outcomes = convey(range(50), [Stage(name="fail", work=each(fail_at_two), num_threads=3)], num_under_way=9)
    assert [next(outcomes), next(outcomes)] == [0, 1]
    with pytest.raises(type(error)) as raised:
        next(outcomes)
    assert raised.value is error
    assert not threads_left()


def test_an_error_of_the_items_ends_the_threads() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise OSError("gone")

    outcomes = convey(items(), [plus_one()], num_under_way=1)
    assert next(outcomes) == 1
    with pytest.raises(OSError, match="gone"):
        next(outcomes)
    assert not threads_left()


def test_who_stops_early_drops_the_rest() -> None:
    begun: list[int] = []
    outcomes = convey(range(1000), [Stage(name="begin", work=each(begun.append))], num_under_way=5)
    next(outcomes)
    outcomes.close()
    assert len(begun) <= 6
    assert not threads_left()


def test_the_slowest_stage_is_the_limit() -> None:
    times = StageTimes()
    assert times.limit is None
    assert times.summary() == ""

    def wait(items: Sequence[int], *, seconds: float) -> list[int]:
        time.sleep(seconds)
        return list(items)

    stages = [
        Stage(name="quick", work=lambda items: wait(items, seconds=0.001), time=times.of("quick", 1)),
        Stage(
            name="shared",
            work=lambda items: wait(items, seconds=0.02),
            num_threads=4,
            time=times.of("shared", 4),
        ),
        Stage(name="slow", work=lambda items: wait(items, seconds=0.012), time=times.of("slow", 1)),
    ]
    list(convey(range(12), stages, num_under_way=12))
    assert times.limit == "slow"
    assert times["shared"].wall_s > times["slow"].wall_s
    assert all(time_of.num_items == 12 for time_of in times.values())
    assert times["slow"].cpu_s < times["slow"].wall_s / 2
    shares = [float(part.split()[-1].rstrip("%")) for part in times.summary().split(", ")]
    np.testing.assert_allclose(sum(shares), 100, atol=2)
