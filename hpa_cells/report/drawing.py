"""One field at a time: read once, then drawn as an overlay, as a figure of the page and as single cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpa_cells.cells import normalise_field
from hpa_cells.fields import FieldSource, read_field
from hpa_cells.report.figures import FieldFigure, cell_shapes, cell_words, data_uri, field_views
from hpa_cells.report.marks import CellMark, cell_marks, label_image
from hpa_cells.report.settings import ReportSettings
from hpa_cells.report.truth import KnownTruth
from hpa_cells.table import CellTable, Column

__all__ = []
