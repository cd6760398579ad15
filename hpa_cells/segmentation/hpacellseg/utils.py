"""The label functions under the name of the module that scripts for the hpacellseg package import."""

from hpa_cells.segmentation.hpacellseg.labels import label_cell, label_nuclei

__all__ = ["label_cell", "label_nuclei"]
