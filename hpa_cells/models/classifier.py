"""The classifier: one encoder for every cell, a head for cells and a pooled head for their field.

Shapes: N cells of F fields, S crop side, K classes, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from hpa_cells.models.encoder import EncoderSettings, build_encoder
from hpa_cells.models.pooling import PoolingSettings, build_pooling

__all__ = ["CellClassifier", "CellOutputs", "ClassifierSettings"]

# Mean and spread of the channels of masked cells, in [0, 1]: they bring crops close enough to zero mean and
# unit spread, and are fixed, so that a file of weights says all there is to say.
_INPUT_MEAN, _INPUT_SPREAD = 0.15, 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierSettings:
    """Everything needed to build a classifier again.

    Attributes
    ----------
    num_classes
        K.
    encoder
        Name of the timm network.
    encoder_options
        Its further arguments.
    pooling
        How the cells of a field become the field; its exceptions name classes by position.
    field_head
        ``own``: the field has a head of its own on the pooled embeddings. ``shared``: its logits are the
        pooled logits of its cells, which some poolings need.
    """

    num_classes: int
    encoder: str
    encoder_options: dict[str, Any] = field(default_factory=dict)
    pooling: PoolingSettings = field(default_factory=PoolingSettings)
    field_head: str = "own"

    def __post_init__(self) -> None:
        if self.field_head not in ("own", "shared"):
            raise ValueError(f"Field head {self.field_head!r} is unknown: use own or shared.")
        if self.field_head == "own" and self.pooling.needs_class_logits:
            reason = (
                "has exceptions for classes" if self.pooling.exceptions else "pools probabilities of classes"
            )
            raise ValueError(
                f"Pooling {self.pooling.name} {reason}, but field head own pools embeddings: set "
                "method.field_head=shared, or choose another pooling."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CellOutputs:
    """What the network says, before the sigmoid.

    Attributes
    ----------
    cell_logits
        (N, K) float.
    field_logits
        (F, K) float; where they are pooled, float32 at least.
    embeddings
        (N, D) float.
    """

    cell_logits: Tensor
    field_logits: Tensor
    embeddings: Tensor


class CellClassifier(nn.Module):
    """Locations of each cell and of the field they come from.

    Parameters
    ----------
    settings
        What to build.
    encoder_start
        Where the encoder's first weights come from; without it they are random.
    """

    def __init__(self, settings: ClassifierSettings, *, encoder_start: EncoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = build_encoder(
            encoder_start or EncoderSettings(name=settings.encoder, options=settings.encoder_options)
        )
        self.embedding_size = cast(int, self.encoder.head_hidden_size)
        self.cell_head = nn.Linear(self.embedding_size, settings.num_classes)
        shared = settings.field_head == "shared"
        self.field_head = None if shared else nn.Linear(self.embedding_size, settings.num_classes)
        self.pooling = build_pooling(
            settings.pooling, settings.num_classes if shared else self.embedding_size, self.embedding_size
        )

    def forward(self, crops: Tensor, bag_index: Tensor) -> CellOutputs:
        """Score cells and fields.

        Parameters
        ----------
        crops
            (N, 4, S, S) float in [0, 1], see `models.inputs.model_input`.
        bag_index
            (N,) int64: the field of each cell, numbered from 0 without gaps, in any order.

        Returns
        -------
        CellOutputs
            For F = ``bag_index.max() + 1`` fields.
        """
        return self.classify(self.embed(crops), bag_index)

    def embed(self, crops: Tensor) -> Tensor:
        """(N, D) float: the embedding of each crop, which no other crop changes."""
        return cast(Tensor, self.encoder((crops - _INPUT_MEAN) / _INPUT_SPREAD))

    def classify(self, embeddings: Tensor, bag_index: Tensor) -> CellOutputs:
        """Score cells and fields from the embeddings (N, D) and fields (N,) of their cells.

        The crops of a field may be embedded in several batches, but all its cells are needed here at once.
        """
        cell_logits = self.cell_head(embeddings)
        num_fields = int(bag_index.max()) + 1
        if self.field_head is None:
            field_logits = self.pooling(cell_logits, bag_index, num_fields, embeddings)
        else:
            pooled = self.pooling(embeddings, bag_index, num_fields, embeddings)
            field_logits = self.field_head(pooled.to(embeddings.dtype))
        return CellOutputs(cell_logits=cell_logits, field_logits=field_logits, embeddings=embeddings)

    @torch.inference_mode()
    def probabilities(self, crops: Tensor, bag_index: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K) and (F, K) float32 in [0, 1]: the probabilities of cells and of fields."""
        outputs = self(crops, bag_index)
        return outputs.cell_logits.float().sigmoid(), outputs.field_logits.float().sigmoid()
