"""The classifier: one encoder for every cell, a head for cells and a pooled head for their field.

A cell is seen as a crop of its own (view ``crops``), or as its part of the map of the whole field (view ``field``). In
view ``squares`` it is no cell at all: a square of the field takes its place.

Shapes: N cells of F fields, S crop side, H x W px of a field, K classes, D embedding size, h x w places of a map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from hpa_cells.models.encoder import EncoderSettings, build_encoder
from hpa_cells.models.feature_map import check_stride, find_places, read_map, with_stride
from hpa_cells.models.pooling import PoolingSettings, build_pooling

__all__ = ["VIEWS", "CellClassifier", "CellOutputs", "ClassifierSettings"]

VIEWS: Final = ("crops", "field", "squares")

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
    view
        ``crops``: each cell has an image of its own. ``field``: a cell is the mean of the field's map under its mask.
        ``squares``: squares of the field are seen as cells are in ``crops``; what the model says of one is no answer.
    map_stride
        Pixels of a field, along a side, for one place of its map: 8, 16 or 32; None is what the network has of itself.
    """

    num_classes: int
    encoder: str
    encoder_options: dict[str, Any] = field(default_factory=dict)
    pooling: PoolingSettings = field(default_factory=PoolingSettings)
    field_head: str = "own"
    view: str = "crops"
    map_stride: int | None = None

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"View {self.view!r} is unknown: use {' or '.join(VIEWS)}.")
        if self.view != "field" and self.map_stride is not None:
            raise ValueError(
                f"The map has a stride of {self.map_stride}, but view={self.view} makes no map: use view=field."
            )
        check_stride(self.map_stride)
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
        start = encoder_start or EncoderSettings(name=settings.encoder, options=settings.encoder_options)
        self.encoder = build_encoder(with_stride(start, settings.map_stride))
        self.embedding_size = cast(int, self.encoder.head_hidden_size)
        self.cell_head = nn.Linear(self.embedding_size, settings.num_classes)
        shared = settings.field_head == "shared"
        self.field_head = None if shared else nn.Linear(self.embedding_size, settings.num_classes)
        self.pooling = build_pooling(
            settings.pooling, settings.num_classes if shared else self.embedding_size, self.embedding_size
        )

    def forward(self, images: Tensor, bag_index: Tensor, masks: Tensor | None = None) -> CellOutputs:
        """Score cells and fields.

        Parameters
        ----------
        images
            (N, 4, S, S) float in [0, 1], the crops, or with `masks` (B, 4, H, W), whole fields; see
            `models.inputs.model_input`.
        bag_index
            (N,) int64: the field of each cell, numbered from 0 without gaps, in any order.
        masks
            (B, H, W) int32: the number of the cell that a pixel is of, from 1 to N, or 0. Only for view ``field``.

        Returns
        -------
        CellOutputs
            For F = ``bag_index.max() + 1`` fields.
        """
        return self.classify(self.embed(images, masks), bag_index)

    def embed(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """(N, D) float: the embedding of each crop, which no other crop changes, or of each cell of whole fields.

        Raises
        ------
        ValueError
            If there are masks for view ``crops`` or ``squares``, or none for view ``field``.
        """
        if (masks is None) == (self.settings.view == "field"):
            found = "crops" if masks is None else "whole fields with masks"
            raise ValueError(f"The model has view {self.settings.view}, but was given {found}.")
        if masks is None:
            return cast(Tensor, self.encoder(_normalised(images)))
        feature_map = self.read_map(images)
        return find_places(masks, *feature_map.shape[2:]).mean(feature_map)

    def read_map(self, images: Tensor) -> Tensor:
        """(B, D, h, w) float: the embedding at each place of whole fields (B, 4, H, W), see `embed`."""
        return read_map(self.encoder, _normalised(images))

    def class_map(self, feature_map: Tensor) -> Tensor:
        """(B, K, h, w) float: the class activation map, the head of cells at each place of a map (B, D, h, w).

        The head is linear: the mean of this map under a cell's mask is the logit of the cell.
        """
        return cast(Tensor, self.cell_head(feature_map.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

    def compile_encoder(self) -> None:
        """Let `torch.compile` make the encoder faster, after some minutes."""
        if self.settings.view == "field":
            own: Any = self.encoder
            own.forward_features = torch.compile(own.forward_features)
        else:
            self.encoder.compile()

    def classify(self, embeddings: Tensor, bag_index: Tensor) -> CellOutputs:
        """Score cells and fields from the embeddings (N, D) and fields (N,) of their cells.

        The crops of a field may be embedded in several batches, but all its cells are needed here at once.
        """
        cell_logits = self.cell_head(embeddings)
        # Not by `int`, which would fix the number while a model is exported.
        num_fields = cast(int, bag_index.max().item()) + 1
        if self.field_head is None:
            field_logits = self.pooling(cell_logits, bag_index, num_fields, embeddings)
        else:
            pooled = self.pooling(embeddings, bag_index, num_fields, embeddings)
            field_logits = self.field_head(pooled.to(embeddings.dtype))
        return CellOutputs(cell_logits=cell_logits, field_logits=field_logits, embeddings=embeddings)

    @torch.inference_mode()
    def probabilities(
        self, images: Tensor, bag_index: Tensor, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, K) and (F, K) float32 in [0, 1]: the probabilities of cells and of fields; see `forward`."""
        outputs = self(images, bag_index, masks)
        return outputs.cell_logits.float().sigmoid(), outputs.field_logits.float().sigmoid()


def _normalised(images: Tensor) -> Tensor:
    return (images - _INPUT_MEAN) / _INPUT_SPREAD
