"""What was reached in the 2021 challenge, class by class, for orientation beside one's own scores."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["LEADERBOARD_2021"]

# Mean over the ten best teams of the average precision of each class on the private test set, from the table of the
# challenge's private scores per class, to three digits. Those are real fields whose cells experts have labelled:
# a score on other fields can be read beside it, not ranked by it.
LEADERBOARD_2021: Final = MappingProxyType(
    {
        "nucleoplasm": 0.737,
        "nuclear_membrane": 0.745,
        "nucleoli": 0.679,
        "nucleoli_fibrillar_center": 0.560,
        "nuclear_speckles": 0.615,
        "nuclear_bodies": 0.415,
        "endoplasmic_reticulum": 0.319,
        "golgi_apparatus": 0.574,
        "intermediate_filaments": 0.547,
        "actin_filaments": 0.546,
        "microtubules": 0.678,
        "mitotic_spindle": 0.599,
        "centrosome": 0.389,
        "plasma_membrane": 0.469,
        "mitochondria": 0.619,
        "aggresome": 0.571,
        "cytosol": 0.489,
        "vesicles": 0.369,
        "negative": 0.425,
    }
)
