"""From a field to its cells and nuclei: a protocol, its implementations, and label images on disk."""

from hpa_cells.segmentation.devices import device_kind
from hpa_cells.segmentation.hpacellseg import HpaCellSeg
from hpa_cells.segmentation.precomputed import Precomputed
from hpa_cells.segmentation.protocol import NetworkSegmenter, Segmenter
from hpa_cells.segmentation.storage import (
    SETTINGS_FILE,
    is_written,
    read_segmentation,
    write_segmentation,
    written_fields,
)
from hpa_cells.segmentation.table_masks import TableMasks
from hpa_cells.segmentation.unet import UNet
from hpa_cells.segmentation.watershed import Watershed

__all__ = [
    "SETTINGS_FILE",
    "HpaCellSeg",
    "NetworkSegmenter",
    "Precomputed",
    "Segmenter",
    "TableMasks",
    "UNet",
    "Watershed",
    "device_kind",
    "is_written",
    "read_segmentation",
    "write_segmentation",
    "written_fields",
]
