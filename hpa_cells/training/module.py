"""The training module: what happens in a step, and how good the model is on the validation fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from hpa_cells.metrics import average_precision_per_class
from hpa_cells.models import CellClassifier, CellOutputs, model_input
from hpa_cells.training.augmentation import Augmentation
from hpa_cells.training.bags import Bags
from hpa_cells.training.losses import BagLoss
from hpa_cells.training.made_up import MadeUpCells

__all__ = [
    "FieldScores",
    "MakeOptimizer",
    "MakeScheduler",
    "TrainingModule",
    "macro_average_precision",
    "parameter_groups",
]

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[..., LRScheduler]


class FieldScores:
    """Collects probabilities and labels of fields, batch by batch."""

    def __init__(self) -> None:
        self._probabilities: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add (F, K) probabilities and (F, K) labels."""
        self._probabilities.append(probabilities.float().cpu())
        self._labels.append(labels.bool().cpu())

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """All of them: (F, K) float32 and (F, K) bool."""
        return torch.cat(self._probabilities).numpy(), torch.cat(self._labels).numpy()


class TrainingModule(LightningModule):
    """A classifier being trained.

    Parameters
    ----------
    classifier
        The model.
    loss
        What is minimised.
    augmentation
        Changes the crops of a training step.
    made_up
        Makes further cells of those, which are of no field.
    make_optimizer
        Called with the parameter groups: those with weight decay and, second, those without.
    make_scheduler
        Called with the optimizer and ``num_steps``; its schedule advances once a step.
    seed
        Every random number of a step is a function of this and the step's number, so that a training that was
        stopped goes on as if it had not been.
    compile_model
        Whether `torch.compile` makes the encoder faster, after some minutes.
    """

    def __init__(
        self,
        classifier: CellClassifier,
        *,
        loss: BagLoss,
        augmentation: Augmentation,
        made_up: MadeUpCells,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler,
        seed: int,
        compile_model: bool,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.loss = loss
        self.augmentation = augmentation
        self.made_up = made_up
        self._make_optimizer = make_optimizer
        self._make_scheduler = make_scheduler
        self._seed = seed
        if compile_model:
            self.classifier.encoder.compile()
        self._validation = FieldScores()

    @override
    def forward(self, crops: Tensor, bag_index: Tensor) -> CellOutputs:
        """Score cells and fields; see `CellClassifier.forward`."""
        outputs = self.classifier(crops, bag_index)
        assert isinstance(outputs, CellOutputs)
        return outputs

    @override
    def on_train_batch_start(self, batch: Bags, batch_idx: int) -> None:
        """Seed the step."""
        torch.manual_seed(self._seed * 1_000_003 + self.trainer.fit_loop.total_batch_idx)

    @override
    def training_step(self, batch: Bags, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        crops = self.augmentation(model_input(batch.crops, self.device), batch.bag_index)
        made_up, labels = self.made_up.make(crops)
        together = crops
        if len(made_up):
            # So that normalisation over the batch sees one batch; joining forgets the layout that is fast.
            together = torch.cat([crops, made_up]).contiguous(memory_format=torch.channels_last)
        embeddings = self.classifier.embed(together)
        own, further = embeddings[: len(crops)], embeddings[len(crops) :]
        terms = self.loss(self.classifier.classify(own, batch.bag_index), batch)
        of_made_up = self.loss.of_cells(self.classifier.cell_head(further), labels)
        total: Tensor = terms.total + self.made_up.settings.weight * of_made_up
        size = len(batch.field_labels)
        self.log("train/loss", total, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        self.log("train/loss_field", terms.field, on_step=False, on_epoch=True, batch_size=size)
        self.log("train/loss_cell", terms.cell, on_step=False, on_epoch=True, batch_size=size)
        return total

    @override
    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the last validation."""
        self._validation = FieldScores()

    @override
    def validation_step(self, batch: Bags, batch_idx: int) -> None:
        """Scores of the fields of one batch."""
        outputs = self(model_input(batch.crops, self.device), batch.bag_index)
        terms = self.loss(outputs, batch)
        self.log("val/loss", terms.total, batch_size=len(batch.field_labels))
        self._validation.add(outputs.field_logits.float().sigmoid(), batch.field_labels)

    @override
    def on_validation_epoch_end(self) -> None:
        """Macro average precision of the fields: what the best weights are chosen by."""
        self.log("val/ap", macro_average_precision(*self._validation.arrays()), prog_bar=True)

    @override
    def configure_optimizers(self) -> Any:
        """Optimizer and schedule."""
        optimizer = self._make_optimizer(parameter_groups(self.classifier))
        scheduler = self._make_scheduler(optimizer, num_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def macro_average_precision(probabilities: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """Mean over the classes that some field has; 0 where none has any, so that a training can go on."""
    each = average_precision_per_class(probabilities, labels)
    return float(np.nanmean(each)) if labels.any() else 0.0


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices and kernels are decayed; biases and the scales of normalisation are not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [each for each in parameters if each.ndim > 1]},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
