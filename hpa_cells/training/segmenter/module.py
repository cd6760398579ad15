"""The training module of the segmenter."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from typing_extensions import override

from hpa_cells.metrics import score_instances
from hpa_cells.segmentation.network import CellUNet
from hpa_cells.training.module import MakeOptimizer, MakeScheduler, parameter_groups
from hpa_cells.training.segmenter.data import CropBatch
from hpa_cells.training.segmenter.loss import MapLoss
from hpa_cells.training.segmenter.training_field import TrainingField
from hpa_cells.training.segmenter.validation import LabelPair, segment_field

__all__ = ["SegmenterModule"]

_CELLS_IOU, _NUCLEI_IOU = 0.6, 0.5


class SegmenterModule(LightningModule):
    """A segmenter being trained.

    Parameters
    ----------
    network
        The network.
    make_optimizer, make_scheduler
        As for `hpa_cells.training.module.TrainingModule`.
    """

    def __init__(
        self, network: CellUNet, *, make_optimizer: MakeOptimizer, make_scheduler: MakeScheduler
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.loss = MapLoss(network.representation)
        self._make_optimizer = make_optimizer
        self._make_scheduler = make_scheduler
        self._found: dict[str, list[LabelPair]] = {}

    @override
    def training_step(self, batch: CropBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss: Tensor = self.loss(self.network(batch.planes), batch)
        self.log("train/loss", loss, prog_bar=True, on_step=True, batch_size=len(batch.planes))
        return loss

    @override
    def on_validation_epoch_start(self) -> None:
        """Forget what was found last time."""
        self._found = defaultdict(list)

    @override
    def validation_step(self, batch: TrainingField, batch_idx: int) -> None:
        """Find the cells and nuclei of one field."""
        for part, pair in segment_field(self.network, batch, self.device).items():
            self._found[f"{batch.source}_{part}"].append(pair)

    @override
    def on_validation_epoch_end(self) -> None:
        """F1 of each source's cells at IoU 0.6 and nuclei at 0.5; their mean is what the best weights are chosen by."""
        scores = []
        for name, pairs in sorted(self._found.items()):
            iou = _CELLS_IOU if name.endswith("cells") else _NUCLEI_IOU
            f1 = float(score_instances(pairs, iou_thresholds=[iou])["f1"].fillna(1.0).iloc[0])
            self.log(f"val/f1_{name}", f1)
            scores.append(f1)
        self.log("val/f1", sum(scores) / max(len(scores), 1), prog_bar=True)

    @override
    def configure_optimizers(self) -> Any:
        """Optimizer and schedule."""
        optimizer = self._make_optimizer(parameter_groups(self.network))
        scheduler = self._make_scheduler(optimizer, num_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
