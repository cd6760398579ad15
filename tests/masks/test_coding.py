from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_cells.masks.coding import runs_from_counts, runs_to_counts, starts_and_stops


def slow_counts(lengths: list[int]) -> bytes:
    """COCO's coding, a number and a group of bits at a time."""
    text = bytearray()
    for position, length in enumerate(lengths):
        number = length - lengths[position - 2] if position > 2 else length
        while True:
            code, number = number & 31, number >> 5
            done = number == (-1 if code & 16 else 0)
            text.append(48 + (code if done else code | 32))
            if done:
                break
    return bytes(text)


masks_of_runs = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12), max_size=6)


@given(masks_of_runs)
@settings(deadline=None, max_examples=300)
def test_counts_equal_those_of_a_plain_loop(masks: list[list[int]]) -> None:
    lengths = np.array([length for mask in masks for length in mask], dtype=np.int64)
    num_runs = np.array([len(mask) for mask in masks], dtype=np.int64)
    assert runs_to_counts(lengths, num_runs) == [slow_counts(mask) for mask in masks]


@given(st.integers(1, 2**31).flatmap(lambda total: st.lists(st.lists(st.integers(0, total), max_size=9)).map(
    lambda cuts: (total, [np.diff([0, *sorted(each), total]).tolist() for each in cuts]))))  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_runs_come_back(case: tuple[int, list[list[int]]]) -> None:
    num_pixels, masks = case
    counts = [slow_counts(mask) for mask in masks]
    lengths, num_runs = runs_from_counts(counts, num_pixels, range(len(masks)))
    assert num_runs.tolist() == [len(mask) for mask in masks]
    assert lengths.tolist() == [length for mask in masks for length in mask]


def test_starts_and_stops_leave_out_empty_runs() -> None:
    lengths = np.array([2, 3, 4, 0, 1, 10, 0, 5, 5])
    masks, starts, stops = starts_and_stops(lengths, np.array([5, 1, 3]))
    assert masks.tolist() == [0, 2]
    assert starts.tolist() == [2, 0]
    assert stops.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (b"2 1", "outside of '0' to 'o'"),
        (b"2\xf01", "outside of '0' to 'o'"),
        (b"23p", "outside of '0' to 'o'"),
        (b"23P", "cut off within a number"),
        (b"PPPPPPP1", "a number of over 7 characters"),
        (b"3211M", "a run of negative length"),
        (b"232", "covers 7 px, but its image has 6: check the height and width"),
        (b"", "covers 0 px, but its image has 6"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_mask_is_refused_by_name(counts: bytes, reason: str, place: int) -> None:
    others = [b"231", b"6"]
    others.insert(place, counts)
    with pytest.raises(ValueError, match=reason) as error:
        runs_from_counts(others, 6, [f"number {index}" for index in range(3)])
    assert str(error.value).startswith(f"Mask number {place} ")


@given(st.lists(st.binary(max_size=12), max_size=4), st.integers(0, 200))
@settings(deadline=None, max_examples=500)
def test_any_bytes_give_runs_that_fill_the_image_or_a_value_error(
    counts: list[bytes], num_pixels: int
) -> None:
    try:
        lengths, num_runs = runs_from_counts(counts, num_pixels, range(len(counts)))
    except ValueError:
        return
    assert (lengths >= 0).all()
    assert [part.sum() for part in np.split(lengths, np.cumsum(num_runs))[:-1]] == [num_pixels] * len(counts)


def test_runs_whose_sum_passes_the_largest_number_are_refused() -> None:
    # Written as differences, lengths rise to 2**48, and with more of them their sum comes round to any number.
    step = 1 << 32
    lengths = np.cumsum(np.full(100_000, step, dtype=np.int64))
    runs = np.stack([lengths, lengths], axis=1).ravel()
    (counts,) = runs_to_counts(runs, np.array([len(runs)]))
    with pytest.raises(ValueError, match="a run of over 2147483648 px"):
        runs_from_counts([counts], 100, ["forged"])
