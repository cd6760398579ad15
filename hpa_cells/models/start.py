"""Where the first weights of a classifier come from: the model in the package, published ones, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hpa_cells.hub import HubModel, is_on_hub, pull
from hpa_cells.models.checkpoint import FILES, Checkpoint, load_checkpoint, read_encoder
from hpa_cells.models.classifier import CellClassifier

__all__ = [
    "FILES_ON_HUB",
    "SHIPPED",
    "SHIPPED_MODEL",
    "checkpoint_folder",
    "pinned_model",
    "shipped_encoder",
    "take_over",
]

SHIPPED: Final = "shipped"
# A small model that has seen simulated cells only.
SHIPPED_MODEL: Final = Path(__file__).parent / "shipped"


# Of a repository no other file is fetched, whatever lies there: the first one makes it a model.
FILES_ON_HUB: Final = (*FILES, *(f"fold-*/{name}" for name in FILES))


def checkpoint_folder(place: Path | str) -> Path:
    """The folder of a checkpoint; ``shipped`` names the one in the package, ``hf://owner/name`` one that is pulled.

    Raises
    ------
    OSError, ValueError
        If a model on a hub cannot be had, see `hpa_cells.hub.pull`.
    """
    if is_on_hub(place):
        return pull(HubModel.parse(str(place)), FILES_ON_HUB).folder
    return SHIPPED_MODEL if str(place) == SHIPPED else Path(place)


def pinned_model(place: str) -> str:
    """The address of a model on a hub with the commit that it has now; the model is here then. Errors as `pull`."""
    return str(pull(HubModel.parse(place), FILES_ON_HUB).pinned)


def shipped_encoder() -> tuple[str, dict[str, Any]]:
    """Name and options of the encoder of the model in the package; its weights are not read."""
    return read_encoder(SHIPPED_MODEL)


def take_over(
    classifier: CellClassifier, place: Path | str, *, class_set: str, heads: bool = True
) -> Checkpoint:
    """Go on from an earlier model: from its encoder and, where the classes are the same, its heads and its pooling.

    Parameters
    ----------
    classifier
        Gets the weights.
    place
        A checkpoint folder, ``shipped`` or ``hf://owner/name``.
    class_set
        Name of the class set of `classifier`.
    heads
        Whether its heads are taken over too, and what the same kind of pooling has learned.

    Returns
    -------
    Checkpoint
        The earlier model.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or has another encoder.
    """
    earlier = load_checkpoint(checkpoint_folder(place))
    own, theirs = classifier.settings, earlier.model.settings
    if (own.encoder, own.encoder_options) != (theirs.encoder, theirs.encoder_options):
        raise ValueError(
            f"init={place} has encoder {theirs.encoder} with {theirs.encoder_options}, the training "
            f"{own.encoder} with {own.encoder_options}: choose the same `encoder`, or init=none."
        )
    classifier.encoder.load_state_dict(earlier.model.encoder.state_dict())
    if heads and earlier.class_set.name == class_set:
        classifier.cell_head.load_state_dict(earlier.model.cell_head.state_dict())
        if classifier.field_head is not None:
            # A field is pooled from its cells: what is said of one is the best first guess for the other.
            head = earlier.model.field_head or earlier.model.cell_head
            classifier.field_head.load_state_dict(head.state_dict())
        if own.pooling == theirs.pooling:
            # Which cells to look at may be learned too.
            classifier.pooling.load_state_dict(earlier.model.pooling.state_dict())
    return earlier
