"""Bags whose cells come from several fields.

A *mosaic* has cells of several fields of one label each: the label of such a field is as near to the label of each
of its cells as labels of fields get, and the bag shows them side by side. Its labels are their union. The name is
that of mosaics of images [1]_.

*CutMix* puts a part of another field's cells in the place of some of the bag's own; its labels are mixed in
proportion to the cells, as those of images are in proportion to the pixels [2]_.

A cell keeps the labels of its own field in both: the labels of the bags are for what is learned from fields. Where
nothing is, a mosaic still draws fields of one label in the place of others, and CutMix is without effect but for the
draw of cells; `train` refuses it there.

References
----------
.. [1] Bochkovskiy, Wang, Liao, "YOLOv4", arXiv 2004.10934 (2020), section 3.3.
.. [2] Yun et al., "CutMix", ICCV 2019, arXiv 1905.04899, eq. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpa_cells.training.bags import BagPlan, BagSettings, draw_rows

__all__ = ["BagMixer"]


@dataclass(frozen=True, slots=True)
class _Bag:
    """The cells of one bag, see `BagPlan`."""

    rows: NDArray[np.int64]
    field_of_row: NDArray[np.int64]
    label_shares: NDArray[np.float32]


class BagMixer:
    """Makes some bags of a plan mosaics, and others CutMix.

    Parameters
    ----------
    rows_of_field
        For each field the rows of its cells in the crop store; at least one each.
    labels
        (F, K) bool, of the fields.
    weights
        (F,) float, how often fields are shown: further fields are drawn by it, those of 0 never.
    settings
        How many bags are mixed, and how.

    Raises
    ------
    ValueError
        If there are too few fields to mix.
    """

    def __init__(
        self,
        rows_of_field: Sequence[NDArray[np.int64]],
        labels: NDArray[np.bool_],
        weights: NDArray[np.float64],
        settings: BagSettings,
    ) -> None:
        self._rows_of_field = rows_of_field
        self._settings = settings
        self._drawable = np.flatnonzero(weights > 0)
        self._weights = weights
        self._single = self._drawable[labels[self._drawable].sum(axis=1) == 1]
        if settings.mosaic > 0 and len(self._single) < 2:
            raise ValueError(
                f"bags.mosaic is {settings.mosaic}, but {len(self._single)} of {len(self._drawable)} fields for "
                "training have exactly one label: a mosaic needs at least 2, set it to 0."
            )
        if settings.cutmix > 0 and len(self._drawable) < 2:
            raise ValueError(
                f"bags.cutmix is {settings.cutmix}, but there is only {len(self._drawable)} field for training: "
                "set it to 0."
            )

    def __call__(self, plan: BagPlan, draw: np.random.Generator) -> BagPlan:
        """Mix as many bags of the plan as the settings say, up to the rounding, which is right in the mean."""
        num_bags = len(plan.fields)
        shares = np.cumsum([self._settings.mosaic, self._settings.cutmix])
        ends = np.floor(shares * num_bags + draw.random()).astype(int)
        order = draw.permutation(num_bags)
        bags = [_bag(plan, bag) for bag in range(num_bags)]
        for bag in order[: ends[0]]:
            bags[bag] = self._mosaic(int(plan.fields[bag]), draw)
        for bag in order[ends[0] : ends[1]]:
            bags[bag] = self._cutmix(bags[bag], int(plan.fields[bag]), draw)
        bag_index = np.repeat(np.arange(num_bags), [len(bag.rows) for bag in bags])
        fields = plan.fields.copy()
        fields[order[: ends[0]]] = [bags[bag].field_of_row[0] for bag in order[: ends[0]]]
        return BagPlan(
            fields=fields,
            rows=np.concatenate([bag.rows for bag in bags]),
            bag_index=bag_index,
            field_of_row=np.concatenate([bag.field_of_row for bag in bags]),
            label_shares=np.concatenate([bag.label_shares for bag in bags]),
        )

    def _mosaic(self, field: int, draw: np.random.Generator) -> _Bag:
        """Cells of several fields of one label; the bag's own field is among them if it is such a field."""
        own = [field] if field in self._single else []
        others = self._single[self._single != field]
        most = self._settings.cells_per_field
        wanted = min(self._settings.mosaic_fields, most, len(own) + len(others))
        further = self._draw_fields(others, wanted - len(own), draw)
        fields = np.array([*own, *further], dtype=np.int64)
        parts = [
            draw_rows(self._rows_of_field[each], most // wanted + (position < most % wanted), draw)
            for position, each in enumerate(fields)
        ]
        return _joined(fields, parts, total=1)

    def _cutmix(self, bag: _Bag, field: int, draw: np.random.Generator) -> _Bag:
        """Put cells of another field in the place of some; a bag of one cell stays or is replaced."""
        num_cells = len(bag.rows)
        [other] = self._draw_fields(self._drawable[self._drawable != field], 1, draw)
        kept = draw.beta(self._settings.cutmix_alpha, self._settings.cutmix_alpha)
        of_other = draw_rows(self._rows_of_field[other], round((1 - kept) * num_cells), draw)
        own = draw_rows(bag.rows, num_cells - len(of_other), draw)
        return _joined(np.array([field, other]), [own, of_other], total=num_cells)

    def _draw_fields(
        self, fields: NDArray[np.int64], number: int, draw: np.random.Generator
    ) -> NDArray[np.int64]:
        weights = self._weights[fields]
        return draw.choice(fields, size=number, replace=False, p=weights / weights.sum())


def _bag(plan: BagPlan, bag: int) -> _Bag:
    inside = plan.bag_index == bag
    return _Bag(plan.rows[inside], plan.field_of_row[inside], plan.label_shares[inside])


def _joined(fields: NDArray[np.int64], parts: list[NDArray[np.int64]], *, total: int) -> _Bag:
    """The rows of each field; each cell has a share of 1 / total in the labels."""
    sizes = [len(rows) for rows in parts]
    return _Bag(
        rows=np.concatenate(parts),
        field_of_row=np.repeat(fields, sizes),
        label_shares=np.full(sum(sizes), 1 / total, dtype=np.float32),
    )
