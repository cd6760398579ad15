"""Fusion and calibration that were learned on validation fields: a rule and a map for each class.

Fusion comes first, then calibration. A mean or a product of calibrated probabilities is not calibrated any more;
calibrated last, the very number in the table means what it says, and as the map of each class only rises, it
takes nothing from the ranking that the fusion was chosen for.

Shapes: N cells, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import ClassSet
from hpa_cells.prediction.calibration import Calibration
from hpa_cells.prediction.fusion import NEGATIVE_KEY, NEGATIVE_RULES, negative_apart

__all__ = ["CELL_ALONE", "CLASS_RULES", "ClassRule", "FusionRules", "LearnedFusion", "fuse"]

CLASS_RULES = ("weighted", "geometric")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRule:
    """How the scores of a cell and of its field combine in one class.

    Attributes
    ----------
    rule
        ``weighted``: ``w * cell + (1 - w) * field``. ``geometric``: ``cell ** w * field ** (1 - w)``, which at 0.5
        ranks as the product does.
    cell_weight
        w, above 0 and at most 1: without the cell's own score, the cells of a field could not be told apart. 1 is
        the cell's score alone.
    """

    rule: str
    cell_weight: float

    def __post_init__(self) -> None:
        if self.rule not in CLASS_RULES:
            raise ValueError(f"The rule of a class is {self.rule!r}: use one of {', '.join(CLASS_RULES)}.")
        if not 0 < self.cell_weight <= 1:
            raise ValueError(
                f"The cell weight of a class is {self.cell_weight}: give a number above 0 and at most 1."
            )

    def __str__(self) -> str:
        return "cell" if self.cell_weight == 1 else f"{self.rule} {self.cell_weight:g}"


CELL_ALONE = ClassRule(rule="weighted", cell_weight=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionRules:
    """The rule of each class.

    Attributes
    ----------
    common
        The rule of the classes that have none of their own.
    of_classes
        K rules.
    negative
        How Negative goes its own way, see `hpa_cells.prediction.Fusion`; ``own`` is by its rule.
    """

    common: ClassRule
    of_classes: tuple[ClassRule, ...]
    negative: str

    def __post_init__(self) -> None:
        if self.negative not in NEGATIVE_RULES:
            raise ValueError(
                f"The rule of Negative is {self.negative!r}: use one of {', '.join(NEGATIVE_RULES)}."
            )

    def only_common(self) -> FusionRules:
        """The same without exceptions."""
        return replace(self, of_classes=(self.common,) * len(self.of_classes), negative="own")

    def words(self, class_set: ClassSet) -> list[str]:
        """The rules of the K classes in words, e.g. ``geometric 0.5``."""
        words = list(map(str, self.of_classes))
        if self.negative != "own":
            words[class_set.index(NEGATIVE_KEY)] = self.negative
        return words

    def combine(
        self, cells: NDArray[np.float32], field: NDArray[np.float32], class_set: ClassSet
    ) -> NDArray[np.float32]:
        """(N, K) float32 in [0, 1] of cells (N, K) and their fields, (K,) or (N, K)."""
        combined = fuse(cells, field, self.of_classes)
        if self.negative != "own" and len(cells):
            combined[:, class_set.index(NEGATIVE_KEY)] = negative_apart(
                self.negative, combined, cells=cells, field=field, class_set=class_set
            )
        return combined


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedFusion:
    """What `hpa-cells calibrate` learned; takes the place of `hpa_cells.prediction.Fusion`.

    Attributes
    ----------
    class_set
        The K classes.
    rules
        How cell and field combine; None where only fields were labelled: then cells keep their own scores.
    cells
        Calibration of the combined scores of cells; None where `rules` is.
    fields
        Calibration of the scores of whole fields, for the table; the rules read them as the model gave them.
    provenance_of_scores
        Where it was learned: version, weights hash and settings of the table, numbers of fields and cells.
    sha256
        Of the file that it was read from; empty before.
    """

    class_set: ClassSet
    rules: FusionRules | None
    cells: Calibration | None
    fields: Calibration
    provenance_of_scores: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        num_classes = len(self.class_set)
        numbers = {"field maps": len(self.fields.maps)}
        if (self.rules is None) != (self.cells is None):
            raise ValueError("Rules and a calibration of cells are learned together: give both or neither.")
        if self.rules is not None and self.cells is not None:
            numbers |= {"rules": len(self.rules.of_classes), "cell maps": len(self.cells.maps)}
            if self.rules.negative != "own" and NEGATIVE_KEY not in self.class_set.keys:
                raise ValueError(
                    f"Negative goes by {self.rules.negative!r}, but class set {self.class_set.name} has none."
                )
        for name, number in numbers.items():
            if number != num_classes:
                raise ValueError(
                    f"There are {number} {name} for the {num_classes} classes of {self.class_set.name}."
                )

    @property
    def provenance(self) -> dict[str, Any]:
        """What a table made with it says of it: the rules in words, and the file's hash for all else."""
        rules = None if self.rules is None else asdict(self.rules)
        if rules is not None and self.rules is not None:
            rules["of_classes"] = dict(
                zip(self.class_set.keys, self.rules.words(self.class_set), strict=True)
            )
            rules["common"] = str(self.rules.common)
        return {
            "rule": "learned",
            "rules": rules,
            "calibration_of_cells": None if self.cells is None else self.cells.method,
            "calibration_of_fields": self.fields.method,
            "learned_with_weights": self.provenance_of_scores.get("table_weights_hash"),
            "sha256": self.sha256,
        }

    def check(self, class_set: ClassSet) -> None:
        """Refuse a model of other classes.

        Raises
        ------
        ValueError
            If its class set is another.
        """
        if class_set.name != self.class_set.name:
            raise ValueError(
                f"Fusion and calibration were learned for the classes of {self.class_set.name}, the model has those "
                f"of {class_set.name}: run `hpa-cells calibrate` on a table of this model."
            )

    def combine(
        self, cells: NDArray[np.float32], field: NDArray[np.float32], class_set: ClassSet
    ) -> NDArray[np.float32]:
        """The calibrated probability of each cell.

        Parameters
        ----------
        cells
            (N, K) float32 in [0, 1].
        field
            (K,) float32 in [0, 1]: the field's scores, not calibrated.
        class_set
            The K classes.

        Returns
        -------
        (N, K) float32 in [0, 1].
        """
        if self.rules is None or self.cells is None:
            return cells
        return self.cells.apply(self.rules.combine(cells, field, class_set))

    def of_field(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K,) float32, the calibrated probabilities of a field; NaN stays NaN."""
        return self.fields.apply(field)


def fuse(
    cells: NDArray[np.float32], field: NDArray[np.float32], rules: Sequence[ClassRule]
) -> NDArray[np.float32]:
    """Scores of cells combined with those of their fields, class by class.

    Parameters
    ----------
    cells
        (N, K) float32 in [0, 1].
    field
        (K,) or (N, K) float32 in [0, 1]; not read where a rule is the cell's score alone.
    rules
        K rules.

    Returns
    -------
    (N, K) float32 in [0, 1].
    """
    weights = np.array([rule.cell_weight for rule in rules], dtype=np.float32)
    is_geometric = np.array([rule.rule == "geometric" for rule in rules])
    weighted = weights * cells + (1 - weights) * field
    geometric = cells**weights * field ** (1 - weights)
    combined = np.where(is_geometric, geometric, weighted)
    return np.where(weights == 1, cells, combined).astype(np.float32).clip(0, 1)
