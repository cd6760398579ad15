"""Simulated labels in the 28 classes of 2018: of the classes that 2021 merged, each field has one drawn for it.

The pictures stay those of 2021: what was merged looks alike, so only its frequency can be learned. Microtubule ends,
cytokinetic bridges and rods & rings, which 2021 has not, never occur. Fields that show Negative alone have no label.

Source
------
.. [1] The label table of the 2018 challenge (31,072 training fields, 28 classes): Ouyang et al., Nature Methods
   16:1254 (2019), doi:10.1038/s41592-019-0658-6.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpa_cells.classes import class_map, get_class_set
from hpa_cells.simulation.labels import simulate_labels
from hpa_cells.simulation.priors import CLASS_SET, NEGATIVE
from hpa_cells.simulation.recipe import Recipe

__all__ = ["CLASS_SET_2018", "fields_of_2018", "to_2018"]

CLASS_SET_2018: Final = get_class_set("hpa2018")

# How many of the 31,072 fields show each location that 2021 merged with others [1]_.
_FIELDS: Final = {
    "peroxisomes": 53,
    "endosomes": 45,
    "lysosomes": 28,
    "lipid_droplets": 172,
    "cytoplasmic_bodies": 328,
    "actin_filaments": 688,
    "focal_adhesion_sites": 537,
    "microtubule_organizing_center": 902,
    "centrosome": 1482,
    "plasma_membrane": 3777,
    "cell_junctions": 802,
}
_MAP: Final = class_map(CLASS_SET_2018, CLASS_SET)
# Among the numbers that seed a field's own draws, so that this one is apart from those of its plan and pixels.
_STREAM: Final = 2018


def to_2018(labels: NDArray[np.bool_], recipe: Recipe, index: int) -> NDArray[np.bool_]:
    """The labels of field `index`, or of its cells, in the classes of 2018.

    Parameters
    ----------
    labels
        (N, 19) bool.
    recipe, index
        Which field: all that is asked of it gets the same draw.

    Returns
    -------
    (N, 28) bool. Each class of 2021 but Negative becomes one of those it was merged from, drawn by their
    frequencies among the fields of 2018.
    """
    draw = np.random.default_rng([recipe.seed, index, _STREAM])
    mapped = np.zeros((len(labels), len(CLASS_SET_2018)), dtype=np.bool_)
    for target in range(len(CLASS_SET)):
        origins = [origin for origin, merged_in in enumerate(_MAP) if merged_in == target]
        if origins:
            frequencies = np.array([_FIELDS.get(CLASS_SET_2018.keys[origin], 1.0) for origin in origins])
            mapped[:, draw.choice(origins, p=frequencies / frequencies.sum())] = labels[:, target]
    return mapped


def fields_of_2018(recipe: Recipe, num_fields: int, *, first_index: int) -> list[int]:
    """The numbers of the first `num_fields` fields from `first_index` on that have a label in 2018, ascending."""
    num_drawn = num_fields
    while True:
        labels = simulate_labels(recipe, num_drawn, first_index=first_index).field_labels
        labelled = np.flatnonzero(np.delete(labels, NEGATIVE, axis=1).any(axis=1))
        if len(labelled) >= num_fields:
            return [first_index + int(offset) for offset in labelled[:num_fields]]
        num_drawn += num_fields - len(labelled)
