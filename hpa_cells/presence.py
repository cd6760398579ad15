"""How often a cell shows what its field is labelled with, and what it is not labelled with.

Source
------
5,090 cells of 328 public fields of the 2021 challenge's test set, labelled one by one: Le et al., Nature Methods
19:1221 (2022), doi:10.1038/s41592-022-01606-z.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXTRA_RATE", "PRESENCE"]

# P(a cell shows the class | its field carries it); in a field labelled Negative no cell shows anything.
PRESENCE: Final[dict[str, float]] = {
    "nucleoplasm": 0.783,
    "nuclear_membrane": 0.740,
    "nucleoli": 0.643,
    "nucleoli_fibrillar_center": 0.451,
    "nuclear_speckles": 0.874,
    "nuclear_bodies": 0.389,
    "endoplasmic_reticulum": 0.697,
    "golgi_apparatus": 0.495,
    "intermediate_filaments": 0.786,
    "actin_filaments": 0.752,
    "microtubules": 0.592,
    "mitotic_spindle": 0.071,
    "centrosome": 0.242,
    "plasma_membrane": 0.695,
    "mitochondria": 0.852,
    "aggresome": 0.683,
    "cytosol": 0.821,
    "vesicles": 0.554,
    "negative": 1.0,
}

# P(a cell shows the class | its field does not carry it), where above zero. Negative is not drawn: it is
# what a cell without any other class shows.
EXTRA_RATE: Final[dict[str, float]] = {
    "nucleoplasm": 0.0100,
    "nuclear_membrane": 0.0006,
    "nucleoli": 0.0006,
    "intermediate_filaments": 0.0002,
    "microtubules": 0.0008,
    "mitotic_spindle": 0.0002,
    "centrosome": 0.0026,
    "plasma_membrane": 0.0005,
    "aggresome": 0.0002,
    "cytosol": 0.0193,
    "vesicles": 0.0049,
}
