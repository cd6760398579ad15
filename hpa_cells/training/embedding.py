"""What a network that stays as it is makes of every cell, computed once and kept on disk.

    STORE/<hash of the network>/<hash of the pixels>.npy   (n, D) float32, the cells of some fields

A file is named after the weights and the very pixels it was made of, so that it is never stale, and whoever asks for
the same again, after a stop or with other heads, reads it.

Shapes: F fields, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success
from hpa_cells.models import CellClassifier, model_input
from hpa_cells.shown import bar_console
from hpa_cells.training.data import BagData, LabelledCells
from hpa_cells.training.embedding_store import EmbeddingStore
from hpa_cells.training.field_store import FieldStore

__all__ = ["FieldEmbeddings", "all_fields", "embed_cells", "embed_fields", "heads_alone"]

_FIELDS_PER_FILE = 16
# Crops the encoder sees at once.
_BATCH_CELLS = 128
_NAME_LENGTH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldEmbeddings:
    """Embeddings of F fields and of their N cells.

    Attributes
    ----------
    means
        (F, D) float64, the mean embedding of the cells of each field.
    sizes
        (F,) int64, the number of cells of each.
    files
        Where the embeddings of the cells are: field after field.
    """

    means: NDArray[np.float64]
    sizes: NDArray[np.int64]
    files: tuple[Path, ...]

    def of_cells(self) -> Iterator[NDArray[np.float32]]:
        """Yield (n, D) float32, the embeddings of all cells, some fields at a time."""
        sizes = np.add.reduceat(self.sizes, np.arange(0, len(self.sizes), _FIELDS_PER_FILE))
        for path, size in zip(self.files, sizes, strict=True):
            yield _load(path, (int(size), self.means.shape[1]))


def embed_fields(
    folder: Path, classifier: CellClassifier, cells: LabelledCells, *, batch_cells: int, device: torch.device
) -> FieldEmbeddings:
    """The embedding of every cell of these fields.

    Parameters
    ----------
    folder
        The store; may hold embeddings of other networks and fields too.
    classifier
        The network; goes to `device`, into evaluation mode.
    cells
        F fields with their cells, all of which count.
    batch_cells
        Number of crops the network sees at once. Whole fields are seen one at a time.
    device
        Where the network computes.

    Raises
    ------
    ValueError
        If a file of the store is damaged.
    """
    classifier.to(device).eval()
    folder = folder / _name_of_network(classifier)
    means, sizes, files = [], [len(rows) for rows in cells.rows_of_field], []
    starts = range(0, len(cells.field_ids), _FIELDS_PER_FILE)
    for start in track(starts, "Embedding cells", console=bar_console()):
        own = slice(start, start + _FIELDS_PER_FILE)
        images = [_read(cells, rows) for rows in cells.rows_of_field[own]]
        path = folder / f"{_name_of_pixels(images)}.npy"
        if not path.exists():
            with replaced_on_success(path) as temporary:
                np.save(temporary, _embed(classifier, images, batch_cells, device), allow_pickle=False)
        embeddings = _load(path, (sum(sizes[own]), classifier.embedding_size))
        parts = np.split(embeddings, np.cumsum(sizes[own])[:-1])
        means += [part.mean(axis=0, dtype=np.float64) for part in parts]
        files.append(path)
    return FieldEmbeddings(means=np.stack(means), sizes=np.array(sizes, dtype=np.int64), files=tuple(files))


def embed_cells(folder: Path, classifier: CellClassifier, data: BagData, *, device: torch.device) -> BagData:
    """The same training and validation, with the embedding of every cell in place of its pixels.

    Parameters
    ----------
    folder, classifier, device
        See `embed_fields`.
    data
        Fields for training and validation, of one store.
    """
    cells = all_fields(data)
    embedded = embed_fields(folder, classifier, cells, batch_cells=_BATCH_CELLS, device=device)
    embeddings = np.full((len(cells.store.cells), classifier.embedding_size), np.nan, dtype=np.float32)
    embeddings[np.concatenate(cells.rows_of_field)] = np.concatenate(list(embedded.of_cells()))
    store = EmbeddingStore(cells=cells.store.cells, embeddings=embeddings)
    return BagData(replace(data.training, store=store), replace(data.validation, store=store), data.settings)


@contextmanager
def heads_alone(classifier: CellClassifier) -> Iterator[None]:
    """Take the encoder out while heads learn, so that nothing averages, moves or saves what stays as it is."""
    encoder = classifier.encoder
    classifier.encoder = nn.Identity()
    try:
        yield
    finally:
        classifier.encoder = encoder


def all_fields(data: BagData) -> LabelledCells:
    """Those for training and for validation in one order, so that every fold finds what another one embedded."""
    parts = (data.training, data.validation)
    together = replace(
        data.training,
        field_ids=tuple(field_id for part in parts for field_id in part.field_ids),
        labels=np.concatenate([part.labels for part in parts]),
        rows_of_field=tuple(rows for part in parts for rows in part.rows_of_field),
        weights=None,
    )
    return together.take(np.argsort(together.field_ids))


Pixels = tuple[NDArray[np.uint8], NDArray[np.int32] | None]


def _read(cells: LabelledCells, rows: NDArray[np.int64]) -> Pixels:
    """What the network sees of the cells of a field: crops, or the field with its masks."""
    assert not isinstance(cells.store, EmbeddingStore)
    if isinstance(cells.store, FieldStore):
        return cells.store.read(rows, np.zeros(len(rows), dtype=np.int64))
    return cells.store.read(rows), None


@torch.inference_mode()
def _embed(
    classifier: CellClassifier, fields: list[Pixels], batch_cells: int, device: torch.device
) -> NDArray[np.float32]:
    """(n, D) float32, the cells of these fields."""
    if fields[0][1] is None:
        crops = np.concatenate([images for images, _ in fields])
        batches: list[Pixels] = [
            (crops[start : start + batch_cells], None) for start in range(0, len(crops), batch_cells)
        ]
    else:
        batches = fields
    embeddings = [
        classifier.embed(
            model_input(images, device), None if masks is None else torch.from_numpy(masks).to(device)
        )
        for images, masks in batches
    ]
    return torch.cat(embeddings).float().cpu().numpy()


def _load(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        embeddings: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to compute it again.") from error
    if embeddings.shape != shape:
        raise ValueError(
            f"{path} is damaged (its shape is {embeddings.shape}, expected {shape}): delete it to compute it again."
        )
    return embeddings


def _name_of_network(classifier: CellClassifier) -> str:
    """All that an embedding depends on but the pixels."""
    own = classifier.settings
    settings = [__version__, own.encoder, own.encoder_options, own.view, own.map_stride]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in classifier.encoder.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:_NAME_LENGTH]


def _name_of_pixels(fields: list[Pixels]) -> str:
    digest = hashlib.sha256()
    for images, masks in fields:
        for array in (images, masks):
            digest.update(str(None if array is None else array.shape).encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()[:_NAME_LENGTH]
