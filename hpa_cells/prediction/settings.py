"""What a user chooses of a prediction, beside the segmenter, the models and the runner."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpa_cells.prediction.fusion import AreaWeight, Fusion, ScoreFusion
from hpa_cells.prediction.scoring import ScoringSettings
from hpa_cells.segmentation import device_kind

__all__ = ["PredictionSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionSettings:
    """Everything between a field and its rows, beside the segmenter and the model.

    Attributes
    ----------
    pixel_size_um
        Side of a pixel where a file does not say, in um; None for the rule of `hpa_cells.fields.read_field`.
    scoring
        Views, batch size and precision.
    fusion
        How the scores of cell and field combine.
    area_weight
        How cells of which little is in view lose confidence.
    embeddings
        Whether the table carries the embedding of each cell.
    segment_fields
        Number of fields that a segmenter's network sees at once on a GPU: memory and speed, hardly the result.
    device
        Where the models score, see `hpa_cells.prediction.pick_device`; None for where they are.
    """

    pixel_size_um: float | None = None
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    fusion: ScoreFusion = field(default_factory=Fusion)
    area_weight: AreaWeight = field(default_factory=AreaWeight)
    embeddings: bool = True
    segment_fields: int = 8
    device: str | None = None

    def __post_init__(self) -> None:
        if self.pixel_size_um is not None and not self.pixel_size_um > 0:
            raise ValueError(f"pixel_size_um is {self.pixel_size_um}: give a positive number of um, or null.")
        if self.segment_fields < 1:
            raise ValueError(f"segment_fields is {self.segment_fields}: give at least 1.")
        if self.device is not None:
            # Says what is wrong with its name; another machine than this one may have it.
            device_kind(self.device)
