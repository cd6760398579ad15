"""Batches of crops for the segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from hpa_cells.segmentation.representations import Representation
from hpa_cells.training.segmenter.crops import CropAugmentation, draw_crop
from hpa_cells.training.segmenter.training_field import TrainingField

__all__ = ["CropBatch", "CropData", "CropDataset", "CropLoader", "MixSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixSettings:
    """How batches are made up.

    Attributes
    ----------
    batch_size
        Crops a batch.
    num_batches
        Of an epoch; no epoch repeats the crops of another.
    simulated_share, cells_share, nuclei_share
        Shares of crops from each source; a source without fields leaves its share to the others.
    workers
        Processes that cut crops ahead; 0: none.
    """

    batch_size: int = 8
    num_batches: int = 6000
    simulated_share: float = 0.6
    cells_share: float = 0.25
    nuclei_share: float = 0.15
    workers: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """By source."""
        return {
            "simulated": self.simulated_share,
            "cells": self.cells_share,
            "nuclei": self.nuclei_share,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CropBatch:
    """N crops.

    Attributes
    ----------
    planes
        (N, 3, S, S) float32.
    targets
        (N, T, S, S) float32, maps of the representation.
    knows_cells
        (N,) bool, whether more than nuclei is known of the crop and can be seen.
    """

    planes: Tensor
    targets: Tensor
    knows_cells: Tensor

    def to(self, device: torch.device) -> CropBatch:
        """The same on another device."""
        return CropBatch(
            planes=self.planes.to(device, memory_format=torch.channels_last),
            targets=self.targets.to(device),
            knows_cells=self.knows_cells.to(device),
        )


class CropDataset(Dataset[tuple[Tensor, Tensor, bool]]):
    """Crop `index` is a function of the seed and `index` alone, so that a training that was stopped goes on alike."""

    def __init__(
        self,
        fields: Sequence[TrainingField],
        *,
        representation: Representation,
        um_per_px: float,
        augmentation: CropAugmentation,
        mix: MixSettings,
        seed: int,
    ) -> None:
        self._by_source: Mapping[str, list[TrainingField]] = {
            source: [field for field in fields if field.source == source] for source in mix.shares
        }
        self._shares = _shares(self._by_source, mix)
        if not self._shares:
            raise ValueError(
                "There is nothing to train on: give segmentation.material.simulated_fields, cell_fields or "
                "nuclei, with a share above 0."
            )
        self._num_crops = mix.batch_size * mix.num_batches
        self._representation = representation
        self._um_per_px = um_per_px
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        """Crops of an epoch; there are crops of any further index."""
        return self._num_crops

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, bool]:
        rng = np.random.default_rng((self._seed, index))
        fields = self._by_source[rng.choice(list(self._shares), p=list(self._shares.values()))]
        field = fields[rng.integers(len(fields))]
        crop = draw_crop(field, self._augmentation, rng, um_per_px=self._um_per_px)
        targets = self._representation.targets(crop.cells, crop.nuclei, um_per_px=self._um_per_px)
        return torch.from_numpy(crop.planes), torch.from_numpy(targets), crop.knows_cells


class CropLoader:
    """Batches of crops in the order of their indices; it knows where it is, so that a training can go on anywhere."""

    def __init__(self, crops: CropDataset, mix: MixSettings) -> None:
        self._crops, self._mix = crops, mix
        self.next_batch = 0

    def __len__(self) -> int:
        return self._mix.num_batches

    def __iter__(self) -> Iterator[CropBatch]:
        size, begun = self._mix.batch_size, self.next_batch
        end = (begun // len(self) + 1) * len(self)
        batches = DataLoader(
            self._crops,
            batch_size=size,
            sampler=range(begun * size, end * size),
            num_workers=self._mix.workers,
            collate_fn=_collate,
        )
        for batch in batches:
            self.next_batch += 1
            yield batch


class CropData(LightningDataModule):
    """Batches for training, whole fields for validation."""

    def __init__(self, crops: CropDataset, validation: Sequence[TrainingField], mix: MixSettings) -> None:
        super().__init__()
        self._loader, self._validation = CropLoader(crops, mix), list(validation)

    @override
    def state_dict(self) -> dict[str, int]:
        """Where the crops are; Lightning restores it before anything asks for a batch."""
        return {"next_batch": self._loader.next_batch}

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self._loader.next_batch = state_dict["next_batch"]

    @override
    def train_dataloader(self) -> CropLoader:
        """Crops in the order of their indices."""
        return self._loader

    @override
    def val_dataloader(self) -> DataLoader[TrainingField]:
        """One field at a time."""
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]

    @override
    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        """Crops go to the device; whole fields are taken there by the network."""
        return batch.to(device) if isinstance(batch, CropBatch) else batch


def _collate(crops: list[tuple[Tensor, Tensor, bool]]) -> CropBatch:
    planes, targets, knows_cells = zip(*crops, strict=True)
    return CropBatch(
        planes=torch.stack(planes), targets=torch.stack(targets), knows_cells=torch.tensor(knows_cells)
    )


def _shares(by_source: Mapping[str, list[TrainingField]], mix: MixSettings) -> dict[str, float]:
    """Shares of the sources that have fields, 1 together; none if there is nothing to draw from."""
    shares = {source: mix.shares[source] for source, fields in by_source.items() if fields}
    total = sum(shares.values())
    return {source: share / total for source, share in shares.items()} if total else {}
