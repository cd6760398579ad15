"""How label images are put into maps that a network can learn, and got back from them."""

from hpa_cells.segmentation.representations.borders import Borders
from hpa_cells.segmentation.representations.distances import Distances
from hpa_cells.segmentation.representations.joint import Joint
from hpa_cells.segmentation.representations.offsets import Offsets
from hpa_cells.segmentation.representations.protocol import OutputMap, Representation

__all__ = ["REPRESENTATIONS", "Borders", "Distances", "Joint", "Offsets", "OutputMap", "Representation"]

REPRESENTATIONS: dict[str, Representation] = {
    "borders": Borders(),
    "distances": Distances(),
    "offsets": Offsets(),
    "joint": Joint(),
}
