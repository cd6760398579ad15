"""The training module: what happens in a step, and how good the model is on the validation fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from hpa_cells.training.cell_cam import CellCam
from hpa_cells.training.field_augmentation import FieldAugmentation
from hpa_cells.training.losses import BagLoss, LossTerms
from hpa_cells.training.made_up import MadeUpCells
from hpa_cells.training.neighbours import field_means, neighbour_votes
from hpa_cells.training.processes import gather_parts, process_rank, total_over_processes
from hpa_cells.training.self_supervision import SelfSupervision

__all__ = [
    "FieldScores",
    "MakeOptimizer",
    "MakeScheduler",
    "TrainingModule",
    "classify_bags",
    "macro_average_precision",
    "parameter_groups",
]

# More than there are steps of trainings of any seed.
_SEEDS_A_PROCESS = 2**48

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
        """All of them, of all processes: (F, K) float32 and (F, K) bool."""
        probabilities, labels = (
            gather_parts([part.numpy() for part in parts]) for parts in (self._probabilities, self._labels)
        )
        return np.concatenate(probabilities), np.concatenate(labels)


class TrainingModule(LightningModule):
    """A classifier being trained.

    Parameters
    ----------
    classifier
        The model.
    loss
        What is minimised.
    augmentation
        Changes the crops, or the whole fields, of a training step.
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
    cell_cam
        Compares whole fields with their pieces; None does not.
    self_supervision
        Compares two views of each cell; None does not.
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
        cell_cam: CellCam | None = None,
        self_supervision: SelfSupervision | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.loss = loss
        self.augmentation = augmentation
        self.field_augmentation = FieldAugmentation(augmentation.settings)
        self.cell_cam = cell_cam
        self.made_up = made_up
        self.self_supervision = self_supervision
        self._make_optimizer = make_optimizer
        self._make_scheduler = make_scheduler
        self._seed = seed
        if compile_model:
            self.classifier.compile_encoder()
        self._validation = FieldScores()

    @override
    def forward(self, images: Tensor, bag_index: Tensor, masks: Tensor | None = None) -> CellOutputs:
        """Score cells and fields; see `CellClassifier.forward`."""
        outputs = self.classifier(images, bag_index, masks)
        assert isinstance(outputs, CellOutputs)
        return outputs

    @override
    def on_train_batch_start(self, batch: Bags, batch_idx: int) -> None:
        """Seed the step."""
        step = self._seed * 1_000_003 + self.trainer.fit_loop.total_batch_idx
        # Several processes draw apart from each other, and the first as one alone.
        torch.manual_seed(step + process_rank() * _SEEDS_A_PROCESS)

    @override
    def training_step(self, batch: Bags, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        total: Tensor
        if batch.is_embedded:
            terms = self.loss(self.classifier.classify(batch.images, batch.bag_index), batch)
            total = terms.total
        elif batch.masks is None:
            total, terms = self._of_crops(batch)
        else:
            total, terms = self._of_fields(batch, batch.masks)
        # That of the whole batch: of its processes each weighs the same.
        size = total_over_processes(len(batch.field_labels), self.device)
        whole: dict[str, Any] = {"on_epoch": True, "batch_size": size, "sync_dist": True}
        self.log("train/loss", total, prog_bar=True, on_step=True, **whole)
        self.log("train/loss_field", terms.field, on_step=False, **whole)
        self.log("train/loss_cell", terms.cell, on_step=False, **whole)
        return total

    def _of_crops(self, batch: Bags) -> tuple[Tensor, LossTerms]:
        """The loss of cells cut out of their fields, and its terms without those of made-up cells."""
        crops = self.augmentation(model_input(batch.images, self.device), batch.bag_index)
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
        return total + self._of_views(batch, own), terms

    def _of_fields(self, batch: Bags, masks: Tensor) -> tuple[Tensor, LossTerms]:
        """The loss of fields that are seen as a whole, and its terms without those of their pieces."""
        images, masks = self.field_augmentation(model_input(batch.images, self.device), masks)
        if self.cell_cam is None:
            outputs = self(images, batch.bag_index, masks)
            terms = self.loss(outputs, batch)
            return terms.total + self._of_views(batch, outputs.embeddings), terms
        total, terms, apart = self.cell_cam(self.classifier, self.loss, images, replace(batch, masks=masks))
        size = len(batch.field_labels)
        self.log("train/consistency", apart, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return total + self._of_views(batch, None), terms

    def _of_views(self, batch: Bags, embeddings: Tensor | None) -> Tensor | float:
        """The loss of two views of each cell, of which one may be embedded already; 0 where they are not compared."""
        if self.self_supervision is None:
            return 0.0
        one = self._embed_view(batch) if embeddings is None else embeddings
        loss: Tensor = self.self_supervision(one, self._embed_view(batch))
        self.log(
            "train/loss_views",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.field_labels),
            sync_dist=True,
        )
        return loss

    def _embed_view(self, batch: Bags) -> Tensor:
        """(N, D) float: the embeddings of the cells under another augmentation."""
        images = model_input(batch.images, self.device)
        if batch.masks is None:
            return self.classifier.embed(self.augmentation(images, batch.bag_index))
        images, masks = self.field_augmentation(images, batch.masks)
        return self.classifier.embed(images, masks)

    @override
    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the last validation."""
        self._validation = FieldScores()

    @override
    def validation_step(self, batch: Bags, batch_idx: int) -> None:
        """Scores of the fields of one batch."""
        outputs = classify_bags(self.classifier, batch)
        terms = self.loss(outputs, batch)
        size = total_over_processes(len(batch.field_labels), self.device)
        self.log("val/loss", terms.total, batch_size=size, sync_dist=True)
        says = outputs.field_logits.float().sigmoid()
        if not self.loss.learns_labels:
            says = field_means(outputs.embeddings, batch.bag_index, len(batch.field_labels))
        self._validation.add(says, batch.field_labels)

    @override
    def on_validation_epoch_end(self) -> None:
        """Macro average precision of the fields: what the best weights are chosen by.

        Where heads learn nothing it is that of the votes of a field's neighbours.
        """
        says, labels = self._validation.arrays()
        if not self.loss.learns_labels:
            says = neighbour_votes(says, labels)
        self.log("val/ap", macro_average_precision(says, labels), prog_bar=True)

    @override
    def configure_optimizers(self) -> Any:
        """Optimizer and schedule."""
        optimizer = self._make_optimizer(parameter_groups(self))
        scheduler = self._make_scheduler(optimizer, num_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def classify_bags(classifier: CellClassifier, bags: Bags) -> CellOutputs:
    """What the model says of a batch that is on its device, as it is: nothing is augmented."""
    if bags.is_embedded:
        return classifier.classify(bags.images, bags.bag_index)
    outputs = classifier(model_input(bags.images, bags.images.device), bags.bag_index, bags.masks)
    assert isinstance(outputs, CellOutputs)
    return outputs


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
