"""Cells that are already segmented: label images in a folder, in the layouts that are in use."""

from __future__ import annotations

import hashlib
import logging
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpa_cells.places import Address, Place, local_or_bytes, place
from hpa_cells.segmentation.label_files import LABEL_SUFFIXES, read_labels
from hpa_cells.segmentation.storage import SETTINGS_FILE
from hpa_cells.types import Channel, Field, Segmentation, label_ids

__all__ = ["Precomputed"]

log = logging.getLogger(__name__)

_CELL_ENDINGS = ("_cells", "_cellmask", "")
_NUCLEUS_ENDINGS = ("_nuclei", "_nucleimask")


@dataclass(frozen=True, kw_only=True, slots=True)
class Precomputed:
    """Reads the label images of cells, and of nuclei where there are any.

    For each field, one of these is read, as PNG, TIFF or npz: ``<id>_cells`` and ``<id>_nuclei`` (written by
    ``hpa-cells segment``), ``<id>_cellmask`` and ``<id>_nucleimask`` (hpacellseg), or ``<id>`` alone. One npz
    may hold both, as arrays ``cells`` and ``nuclei``. Ids stay as they are.

    Attributes
    ----------
    folder
        Where the label images of cells are; may be an address, such as ``s3://bucket/masks``.
    nuclei_folder
        Where those of nuclei are, then also as ``<id>`` alone; None: in `folder`.
    match_nuclei
        Give each nucleus the id of the cell it overlaps most, for label images that were numbered apart.
        Nuclei outside all cells are dropped.
    """

    folder: Place | str
    nuclei_folder: Place | str | None = None
    match_nuclei: bool = False

    def __post_init__(self) -> None:
        for folder in (self.folder, self.nuclei_folder):
            if folder is not None and not _is_folder(place(folder)):
                raise FileNotFoundError(
                    f"segmenter folder {place(folder)} does not exist: give the folder of the label images."
                )

    @property
    def optional_channels(self) -> frozenset[Channel]:
        """All: no pixel of the field is looked at."""
        return frozenset(Channel)

    def prepare(self) -> None:
        """Nothing: its folders were looked for when it was built, its files are those of single fields."""

    def fingerprint(self) -> str | None:
        """SHA-256 of what ``hpa-cells segment`` has put on record beside the label images; None where it made none.

        To hash all label images would be to read them twice, and their list grows with each field that is added: masks
        of other programs are known by their folder alone.
        """
        folders = [place(each) for each in (self.folder, self.nuclei_folder) if each is not None]
        records = [each / SETTINGS_FILE for each in folders if _has_file(each, SETTINGS_FILE)]
        digest = hashlib.sha256()
        for record in records:
            with record.open("rb") if isinstance(record, Path) else record.open() as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest() if records else None

    def segment(self, fields: Sequence[Field]) -> list[Segmentation]:
        """Cells and nuclei of each field.

        Raises
        ------
        FileNotFoundError
            If a field has no label image of cells.
        ValueError
            If there are two, or they are damaged, of another shape than the field, or have nuclei without
            cell.
        """
        return [self._segment(field) for field in fields]

    def _segment(self, field: Field) -> Segmentation:
        cells_path = self._find_cells(field.field_id)
        cells = read_labels(cells_path, field=field)
        nuclei_path = self._find_nuclei(field.field_id, cells_path)
        nuclei = (
            np.zeros_like(cells)
            if nuclei_path is None
            else read_labels(nuclei_path, array="nuclei", field=field)
        )
        if self.match_nuclei:
            nuclei = _matched_to_cells(nuclei, cells, field.field_id)
        lost = np.setdiff1d(label_ids(nuclei), label_ids(cells))
        if lost.size:
            raise ValueError(
                f"Mask {nuclei_path} has {lost.size} nuclei absent from {cells_path} "
                f"({', '.join(map(str, lost[:5]))}): give each nucleus the id of its cell, or set "
                "segmenter.match_nuclei=true."
            )
        return Segmentation(
            field_id=field.field_id, cells=cells, nuclei=nuclei, pixel_size_um=field.pixel_size_um
        )

    def _find_cells(self, field_id: str) -> Place:
        path = _only_file(place(self.folder), field_id, _CELL_ENDINGS)
        if path is None:
            raise FileNotFoundError(
                f"Field {field_id} has no label image in {place(self.folder)}: "
                f"add {field_id}_cells.png (or .tif, .npz; or {field_id}_cellmask.png, {field_id}.png)."
            )
        return path

    def _find_nuclei(self, field_id: str, cells_path: Place) -> Place | None:
        if self.nuclei_folder is not None:
            return _only_file(place(self.nuclei_folder), field_id, (*_NUCLEUS_ENDINGS, ""))
        if cells_path.suffix == ".npz" and _holds_nuclei(cells_path):
            return cells_path
        return _only_file(place(self.folder), field_id, _NUCLEUS_ENDINGS)


def _is_folder(folder: Place) -> bool:
    if not isinstance(folder, Address):
        return folder.is_dir()
    # Anew for each segmenter: there may be more masks than an earlier one has seen.
    _names_at.cache_clear()
    try:
        return bool(_names_at(folder))
    except FileNotFoundError:
        return False


@lru_cache
def _names_at(folder: Address) -> frozenset[str]:
    """The names of the files at an address: one request for all, instead of twenty a field."""
    return frozenset(file.name for file in folder.files())


def _has_file(folder: Place, name: str) -> bool:
    return name in _names_at(folder) if isinstance(folder, Address) else (folder / name).is_file()


def _only_file(folder: Place, field_id: str, endings: Sequence[str]) -> Place | None:
    candidates = [folder / f"{field_id}{ending}{suffix}" for ending in endings for suffix in LABEL_SUFFIXES]
    found = [path for path in candidates if _has_file(folder, path.name)]
    if len(found) > 1:
        raise ValueError(
            f"Field {field_id} has {len(found)} label images in {folder} "
            f"({', '.join(path.name for path in found)}): keep one."
        )
    return found[0] if found else None


def _holds_nuclei(path: Place) -> bool:
    try:
        with zipfile.ZipFile(local_or_bytes(path)) as arrays:
            return "nuclei.npy" in arrays.namelist()
    except (zipfile.BadZipFile, RuntimeError, struct.error):
        # Said when its cells are read.
        return False


def _matched_to_cells(
    nuclei: NDArray[np.int32], cells: NDArray[np.int32], field_id: str
) -> NDArray[np.int32]:
    """`nuclei` with the ids of the cells they overlap most; of two cells alike, the one of the smaller id."""
    nucleus_ids, cell_ids = label_ids(nuclei), label_ids(cells)
    both = (nuclei > 0) & (cells > 0)
    rows = np.searchsorted(nucleus_ids, nuclei[both])
    columns = np.searchsorted(cell_ids, cells[both])
    pairs, overlaps_px = np.unique(rows * max(len(cell_ids), 1) + columns, return_counts=True)
    cell_of_nucleus = np.zeros(len(nucleus_ids), dtype=np.int32)
    # By rising overlap, so that the largest is assigned last.
    for pair in pairs[np.lexsort((-pairs, overlaps_px))]:
        row, column = divmod(int(pair), len(cell_ids))
        cell_of_nucleus[row] = cell_ids[column]
    outside = nucleus_ids[cell_of_nucleus == 0]
    if outside.size:
        log.warning("Field %s: dropped %d nuclei that lie outside all cells.", field_id, outside.size)
    matched = np.zeros_like(nuclei)
    matched[nuclei > 0] = cell_of_nucleus[np.searchsorted(nucleus_ids, nuclei[nuclei > 0])]
    return matched
