"""What the real label tables say, as small constants: how often labels meet.

Source
------
.. [1] The label table of the 2021 challenge (21,806 training fields, 19 classes): Le et al., Nature Methods
   19:1221 (2022), doi:10.1038/s41592-022-01606-z.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import get_class_set

__all__ = ["CLASS_SET", "NEGATIVE", "label_sets", "with_floor"]

CLASS_SET: Final = get_class_set("hpa2021")
NEGATIVE: Final = CLASS_SET.index("negative")

# The 229 label sets that occur on at least 5 of the 21,806 fields, 98.7% of them all [1]_, `classes:fields`.
_LABEL_SETS: Final = """
0:1551 0+16:1278 14:1054 16:906 13:880 4:788 7:719 5:636 0+2:596 0+13:588 12:561 3:549 8:529 2:515 0+7:481
6:476 0+12:414 10:404 0+5:383 0+14:378 13+16:365 0+1:305 17:302 9:300 0+3:286 5+16:238 2+16:225 1:221
4+16:211 0+13+16:188 12+16:188 0+2+16:157 0+8:136 0+12+16:135 0+9:132 0+17:113 0+10:103 9+13:99 9+16:99
0+5+16:98 3+16:98 4+13:93 14+16:91 7+16:88 0+7+16:87 10+16:87 1+16:85 15:82 2+13:78 2+14:78 0+3+16:76
0+1+16:70 6+16:61 8+16:59 0+2+13:55 0+2+7:54 1+2:53 0+4:51 0+1+2:50 0+9+16:50 2+7:46 0+2+14:45 16+17:43
9+13+16:42 5+13:38 7+13:38 0+15:37 0+14+16:36 5+7:36 12+13:35 15+16:35 0+6:34 4+14:34 18:34 0+5+13:32
2+6+16:31 2+10:31 12+14:30 0+8+16:29 0+9+13:29 3+14:29 0+10+16:25 1+4:25 2+8:25 2+12:25 6+13:25 0+2+13+16:24
0+5+7:24 0+12+13:24 2+13+16:24 0+7+13:23 1+14:23 2+6:23 5+15:23 3+7:22 4+13+16:22 5+14:22 13+14:22 1+6:21
0+2+5:20 2+4:20 2+13+14:20 9+12:20 4+7:19 7+12:19 12+13+16:19 1+13:18 4+9:18 6+7:18 0+2+8+16:17 0+11+16:17
3+6:17 5+12:17 4+10:16 8+15:16 0+1+13:15 0+2+8:15 0+2+10:15 0+2+12:15 0+7+9:15 0+13+14:15 10+13:15 0+3+14:14
0+14+17:14 0+16+17:14 1+5:14 1+13+16:14 2+5+16:14 3+13:14 8+13:14 11+16:14 0+1+12:13 0+6+16:13 4+17:13
10+12:13 0+1+9:12 0+8+12:12 0+9+13+16:12 0+13+17:12 5+8:12 5+9:12 5+10:12 5+13+16:12 0+5+14:11 0+9+14:11
2+5:11 4+8:11 4+12:11 7+13+16:11 0+1+14:10 0+2+9:10 0+3+10:10 0+3+12:10 0+15+16:10 2+7+16:10 2+14+16:10
2+17:10 9+10:10 9+12+16:10 10+11:10 12+15:10 13+16+17:10 0+3+7:9 0+5+8:9 0+5+12:9 1+7:9 1+12:9 3+10:9
3+13+16:9 3+17:9 6+12:9 8+9:9 0+1+7+16:8 0+1+8:8 0+2+17:8 0+5+9:8 1+2+16:8 1+3:8 2+10+16:8 4+9+13:8
4+12+13:8 8+13+16:8 10+13+16:8 13+14+16:8 0+1+5:7 0+2+15:7 0+3+8:7 0+5+9+17:7 0+7+13+16:7 0+9+12:7 0+11:7
3+9:7 4+7+16:7 5+12+16:7 8+12:7 11+13:7 0+1+2+7:6 0+2+9+16:6 0+5+15:6 0+12+13+14:6 1+5+7:6 1+5+13:6 1+8:6
2+8+16:6 2+12+13:6 5+6:6 6+17:6 11+12:6 0+1+3:5 0+1+7:5 0+1+7+13:5 0+2+12+13:5 0+3+5+16:5 0+3+6+16:5 0+4+5:5
0+4+13:5 0+7+12+16:5 0+12+13+16:5 0+12+14:5 1+5+16:5 1+9+13:5 2+4+7:5 2+9+16:5 3+4+16:5 3+8:5 4+5:5 4+15:5
10+11+13:5 13+15:5
"""


@cache
def label_sets() -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The real label sets and the share of each.

    Sets with a rare class in common are neighbours, so that evenly spaced draws meet every class evenly.

    Returns
    -------
    sets
        (S, 19) bool, the classes of each set.
    shares
        (S,) float64, their frequencies; they sum to 1.
    """
    entries = [entry.split(":") for entry in _LABEL_SETS.split()]
    sets = np.zeros((len(entries), len(CLASS_SET)), dtype=bool)
    for row, (classes, _) in zip(sets, entries, strict=True):
        row[[int(index) for index in classes.split("+")]] = True
    counts = np.array([float(count) for _, count in entries])
    class_counts = counts @ sets
    rarest = np.where(sets, class_counts, np.inf).argmin(axis=1)
    order = np.argsort(rarest, kind="stable")
    return sets[order], counts[order] / counts.sum()


def with_floor(sets: NDArray[np.bool_], shares: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Shares of label sets, changed as little as needed to have every class on `floor` of the fields.

    Parameters
    ----------
    sets
        (S, K) bool.
    shares
        (S,) float64 that sum to 1.
    floor
        Wanted smallest frequency of a class, below 1 / K.

    Returns
    -------
    (S,) float64 that sum to 1. Sets of rare classes are raised by one factor a class, again and again until
    all are there (iterative proportional fitting).
    """
    raised = shares.copy()
    frequencies = raised @ sets
    while (frequencies < floor * (1 - 1e-6)).any():
        for index in np.flatnonzero(frequencies < floor):
            members = sets[:, index]
            raised[members] *= floor / raised[members].sum()
            raised /= raised.sum()
        frequencies = raised @ sets
    return raised
