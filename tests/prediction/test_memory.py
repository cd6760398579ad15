import pytest
import torch

from hpa_cells.prediction.memory import BatchLimit, in_batches, is_out_of_memory


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("num_items", [0, 1, 7, 12])
def test_slices_shrink_until_they_fit(most: int, num_items: int, caplog: pytest.LogCaptureFixture) -> None:
    def take(part: slice) -> list[int]:
        taken = list(range(num_items))[part]
        if len(taken) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return taken

    found = in_batches(take, num_items, 8)
    assert [item for part in found for item in part] == list(range(num_items))
    assert ("too small" in caplog.text) == (min(num_items, 8) > most)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ValueError("odd")])
def test_what_cannot_be_helped_is_raised(error: Exception) -> None:
    calls: list[slice] = []

    def fail(part: slice) -> None:
        calls.append(part)
        raise error

    with pytest.raises(type(error)):
        in_batches(fail, 4, 4)
    assert len(calls) == (3 if is_out_of_memory(error) else 1)


def test_what_was_too_much_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def take(part: slice) -> int:
        asked.append(part.stop - part.start)
        if asked[-1] > 2:
            raise MemoryError
        return asked[-1]

    limit = BatchLimit()
    for _ in range(3):
        in_batches(take, 8, 8, limit)
    assert asked == [8, 4, *[2] * 12]
    assert limit.most == 2
    assert len(caplog.records) == 2
    # A smaller one stays.
    assert in_batches(take, 2, 1, limit) == [1, 1]
