"""The class sets: which protein locations exist, their names, colours and the maps between them.

Nothing else in the package spells a class name. Orders and names follow the published label tables:
the 2018 challenge (28 classes), the 2021 challenge (19 classes) and SubCell (31 classes).
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache, cached_property

__all__ = ["CLASS_SETS", "ClassSet", "Location", "class_map", "color_on_dark", "get_class_set", "rgb_of"]


@dataclass(frozen=True, slots=True)
class Location:
    """One protein location.

    Attributes
    ----------
    key
        Short identifier used in column names, e.g. ``golgi_apparatus``.
    name
        The name the Human Protein Atlas prints.
    color
        Display colour, ``#rrggbb``. The same location has the same colour in every class set.
    """

    key: str
    name: str
    color: str


_NAMES_AND_COLORS = {
    "nucleoplasm": ("Nucleoplasm", "#4c78a8"),
    "nuclear_membrane": ("Nuclear membrane", "#1f3a93"),
    "nucleoli": ("Nucleoli", "#9ecae9"),
    "nucleoli_fibrillar_center": ("Nucleoli fibrillar center", "#42fae3"),
    "nucleoli_rim": ("Nucleoli rim", "#2b8c8c"),
    "nuclear_speckles": ("Nuclear speckles", "#6a51a3"),
    "nuclear_bodies": ("Nuclear bodies", "#b279a2"),
    "mitotic_chromosome": ("Mitotic chromosome", "#7b4173"),
    "endoplasmic_reticulum": ("Endoplasmic reticulum", "#e6c229"),
    "golgi_apparatus": ("Golgi apparatus", "#f58518"),
    "peroxisomes": ("Peroxisomes", "#fdd0a2"),
    "endosomes": ("Endosomes", "#fdae6b"),
    "lysosomes": ("Lysosomes", "#d2691e"),
    "lipid_droplets": ("Lipid droplets", "#ffe4b5"),
    "cytoplasmic_bodies": ("Cytoplasmic bodies", "#c49c94"),
    "intermediate_filaments": ("Intermediate filaments", "#bcf906"),
    "actin_filaments": ("Actin filaments", "#88d27a"),
    "focal_adhesion_sites": ("Focal adhesion sites", "#bdd86b"),
    "microtubules": ("Microtubules", "#e45756"),
    "microtubule_ends": ("Microtubule ends", "#ff9d98"),
    "mitotic_spindle": ("Mitotic spindle", "#d81b60"),
    "cytokinetic_bridge": ("Cytokinetic bridge", "#ad494a"),
    "midbody": ("Midbody", "#8c2d2d"),
    "microtubule_organizing_center": ("Microtubule organizing center", "#f768a1"),
    "centrosome": ("Centrosome", "#ff4fd8"),
    "centriolar_satellite": ("Centriolar satellite", "#fbb4d9"),
    "plasma_membrane": ("Plasma membrane", "#00a6d6"),
    "cell_junctions": ("Cell junctions", "#66c2e0"),
    "mitochondria": ("Mitochondria", "#784a3a"),
    "aggresome": ("Aggresome", "#b542fa"),
    "cytosol": ("Cytosol", "#72b7b2"),
    "vesicles": ("Vesicles", "#ffbf79"),
    "rods_and_rings": ("Rods & rings", "#595959"),
    "negative": ("Negative", "#9d9d9d"),
}


@dataclass(frozen=True)
class ClassSet:
    """An ordered set of locations; a class is its position here.

    Attributes
    ----------
    name
        ``hpa2021``, ``hpa2018`` or ``subcell``.
    locations
        The locations, in the order of the published label tables.
    """

    name: str
    locations: tuple[Location, ...]

    def __len__(self) -> int:
        return len(self.locations)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Key of each class."""
        return tuple(location.key for location in self.locations)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Printed name of each class."""
        return tuple(location.name for location in self.locations)

    @cached_property
    def colors(self) -> tuple[str, ...]:
        """Colour of each class, ``#rrggbb``."""
        return tuple(location.color for location in self.locations)

    def index(self, key: str) -> int:
        """Position of the class with this key.

        Raises
        ------
        ValueError
            If the set has no such class.
        """
        if key not in self.keys:
            raise ValueError(
                f"Class {key!r} is not in class set {self.name}: use one of {', '.join(self.keys)}."
            )
        return self.keys.index(key)


def _class_set(name: str, keys: str, **renamed: str) -> ClassSet:
    locations = []
    for key in keys.split():
        printed, color = _NAMES_AND_COLORS[key]
        locations.append(Location(key=key, name=renamed.get(key, printed), color=color))
    return ClassSet(name=name, locations=tuple(locations))


CLASS_SETS: dict[str, ClassSet] = {
    "hpa2021": _class_set(
        "hpa2021",
        "nucleoplasm nuclear_membrane nucleoli nucleoli_fibrillar_center nuclear_speckles nuclear_bodies "
        "endoplasmic_reticulum golgi_apparatus intermediate_filaments actin_filaments microtubules mitotic_spindle "
        "centrosome plasma_membrane mitochondria aggresome cytosol vesicles negative",
        vesicles="Vesicles and punctate cytosolic patterns",
    ),
    "hpa2018": _class_set(
        "hpa2018",
        "nucleoplasm nuclear_membrane nucleoli nucleoli_fibrillar_center nuclear_speckles nuclear_bodies "
        "endoplasmic_reticulum golgi_apparatus peroxisomes endosomes lysosomes intermediate_filaments actin_filaments "
        "focal_adhesion_sites microtubules microtubule_ends cytokinetic_bridge mitotic_spindle "
        "microtubule_organizing_center centrosome lipid_droplets plasma_membrane cell_junctions mitochondria aggresome "
        "cytosol cytoplasmic_bodies rods_and_rings",
    ),
    "subcell": _class_set(
        "subcell",
        "actin_filaments aggresome cell_junctions centriolar_satellite centrosome cytokinetic_bridge "
        "cytoplasmic_bodies cytosol endoplasmic_reticulum endosomes focal_adhesion_sites golgi_apparatus "
        "intermediate_filaments lipid_droplets lysosomes microtubules midbody mitochondria mitotic_chromosome "
        "mitotic_spindle nuclear_bodies nuclear_membrane nuclear_speckles nucleoli nucleoli_fibrillar_center "
        "nucleoli_rim nucleoplasm peroxisomes plasma_membrane vesicles negative",
    ),
}

# Locations that hpa2021 merges into another class. Checked on the fields that both label tables carry: the two agree
# on 0.91-1.00 of them under this map. A location that is in neither dictionary nor the target set is dropped.
_MERGED_IN_HPA2021 = {
    "focal_adhesion_sites": "actin_filaments",
    "microtubule_organizing_center": "centrosome",
    "centriolar_satellite": "centrosome",
    "cell_junctions": "plasma_membrane",
    "peroxisomes": "vesicles",
    "endosomes": "vesicles",
    "lysosomes": "vesicles",
    "lipid_droplets": "vesicles",
    "cytoplasmic_bodies": "vesicles",
    "nucleoli_rim": "nucleoli",
}
_MERGED_IN_SUBCELL = {"microtubule_organizing_center": "centrosome"}


def get_class_set(name: str) -> ClassSet:
    """The class set of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in CLASS_SETS:
        raise ValueError(f"Class set {name!r} is unknown: use one of {', '.join(CLASS_SETS)}.")
    return CLASS_SETS[name]


def class_map(source: ClassSet, target: ClassSet) -> tuple[int | None, ...]:
    """For each class of `source`, its class in `target`, or None where `target` has no counterpart."""
    merged = {"hpa2021": _MERGED_IN_HPA2021, "subcell": _MERGED_IN_SUBCELL}.get(target.name, {})
    keys = [key if key in target.keys else merged.get(key) for key in source.keys]
    return tuple(None if key is None else target.index(key) for key in keys)


# Below this lightness a thin line in some of the class colours cannot be told from the black around a cell.
_LEAST_LIGHTNESS = 0.62


@cache
def color_on_dark(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255 each, of a colour made light enough for a thin line on black.

    Examples
    --------
    >>> color_on_dark("#f58518"), color_on_dark("#000000")
    ((247, 157, 69), (158, 158, 158))
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in rgb_of(color)))
    red, green, blue = colorsys.hls_to_rgb(hue, max(lightness, _LEAST_LIGHTNESS), saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255 each, of ``#rrggbb``.

    Examples
    --------
    >>> rgb_of("#f58518")
    (245, 133, 24)
    """
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
