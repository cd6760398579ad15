"""What of a folder is a model, and what is only of its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpa_cells.hub import HubModel, is_on_hub, pull
from hpa_cells.models import SHIPPED, SHIPPED_MODEL, load_models
from hpa_cells.models import start as classifiers
from hpa_cells.models.ensemble import folds_of
from hpa_cells.segmentation import unet as segmenters
from hpa_cells.segmentation.network import read_network

__all__ = ["FILES_ON_HUB", "SHIPPED_SEGMENTER", "SharedModel", "find_model"]

SHIPPED_SEGMENTER: Final = "shipped_segmenter"
# Of classifiers and of segmenters.
FILES_ON_HUB: Final = (*dict.fromkeys((*classifiers.FILES_ON_HUB, *segmenters.FILES_ON_HUB)),)

_CONFIG, _WEIGHTS, _CARD = "checkpoint.json", "model.safetensors", "README.md"
_SEGMENTER: Final = "unet.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedModel:
    """The files of a model that loads.

    Attributes
    ----------
    kind
        ``classifier``, ``cross_fit``, which is several classifiers, or ``segmenter``.
    files
        Name in a repository -> where it is; weights first.
    """

    kind: str
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of its first file."""
        return next(iter(self.files.values())).parent


def find_model(place: Path | str) -> SharedModel:
    """The model in a folder, which is read once to see that others will be able to.

    Parameters
    ----------
    place
        The folder of a classifier, of a cross-fit or of a segmenter, or the file of a segmenter's weights;
        ``hf://owner/name``; ``shipped`` or ``shipped_segmenter``, those in the package.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    ValueError
        If there are two, or the model is damaged.
    OSError
        If one on a hub cannot be had.
    """
    if is_on_hub(place):
        path = pull(HubModel.parse(str(place)), FILES_ON_HUB).folder
    else:
        shipped = {SHIPPED: SHIPPED_MODEL, SHIPPED_SEGMENTER: segmenters.PACKAGED_WEIGHTS}
        path = shipped.get(str(place), Path(place))
    if path.is_file():
        return _segmenter(path)
    found = [_CONFIG] if any(path.glob(f"fold-*/{_CONFIG}")) else []
    found = [name for name in (_CONFIG, _SEGMENTER) if (path / name).is_file()] or found
    if len(found) == 2:
        raise ValueError(
            f"{path} holds a classifier and a segmenter ({_CONFIG} and {_SEGMENTER}): put them into folders of their "
            "own."
        )
    if not found:
        raise FileNotFoundError(
            f"{path} holds no model, neither {_CONFIG} nor {_SEGMENTER}: give the folder that `hpa-cells train` wrote "
            "to."
        )
    return _segmenter(path / _SEGMENTER) if found == [_SEGMENTER] else _classifier(path)


def _classifier(folder: Path) -> SharedModel:
    load_models(folder)
    folds = folds_of(folder)
    parts = [""] if folds == [folder] else [f"{fold.name}/" for fold in folds]
    names = [f"{part}{name}" for part in parts for name in (_WEIGHTS, _CONFIG, _CARD)]
    files = {name: folder / name for name in names if not name.endswith(_CARD) or (folder / name).is_file()}
    if parts != [""] and (folder / _CARD).is_file():
        files[_CARD] = folder / _CARD
    return SharedModel(kind="classifier" if parts == [""] else "cross_fit", files=files)


def _segmenter(weights: Path) -> SharedModel:
    read_network(weights)
    cards = (weights.with_suffix(".md"), weights.with_name(_CARD))
    card = next((each for each in cards if each.is_file()), None)
    return SharedModel(
        kind="segmenter", files={_SEGMENTER: weights} | ({} if card is None else {_CARD: card})
    )
