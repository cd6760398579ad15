import os
from functools import partial

import cv2
import pytest
import torch

from hpa_cells.prediction import LocalRunner, StageTimes
from hpa_cells.prediction.conveyor import Stage


def test_stages_are_prepared_and_libraries_get_one_core_a_thread_and_theirs_back() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    done: list[str] = []
    seen: list[tuple[int, int]] = []

    def look(items: list[int]) -> list[int]:
        seen.append((torch.get_num_threads(), cv2.getNumThreads()))
        done.append("looked")
        return items

    def way(*, num_threads: int, times: StageTimes) -> list[Stage]:
        assert num_threads == 2
        prepare = partial(done.append, "prepared")
        return [
            Stage(name="look", work=look, num_threads=2, time=times.of("look", 2), prepare=prepare)
            for _ in range(2)
        ]

    times = StageTimes()
    assert list(LocalRunner(workers=2).run(range(3), way, times=times)) == [0, 1, 2]
    assert done == ["prepared"] * 2 + ["looked"] * 6
    assert times["look"].num_items == 6
    assert set(seen) == {(1, 1)}
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_a_thread_a_core_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LocalRunner(workers=3).num_threads == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 6, 7})
    assert LocalRunner().num_threads == 5


@pytest.mark.parametrize("name", ["workers", "fields_under_way"])
def test_numbers_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: give at least 1, or null"):
        LocalRunner(**{name: 0})
