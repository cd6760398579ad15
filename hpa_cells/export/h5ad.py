"""AnnData as HDF5, also where the disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpa_cells.export.extra import import_extra

__all__ = ["write_h5ad"]


def write_h5ad(cells: Any, path: Path, *, compression: str | None = None, wanted_by: str) -> None:
    """Write an AnnData by way of memory: HDF5 ends the process where the disk has no room for what it holds back.

    Texts stay texts; `AnnData.write_h5ad` would make categories of masks wherever two cells have the same one.

    Parameters
    ----------
    cells
        The AnnData.
    path
        The file.
    compression
        Of all arrays, as h5py calls it.
    wanted_by
        What needs anndata, for the message where it is not installed.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    h5py, anndata_io = (import_extra(name, wanted_by=wanted_by) for name in ("h5py", "anndata.io"))
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        anndata_io.write_elem(file, "/", cells, dataset_kwargs={"compression": compression})
        # An empty note that there are no raw counts, which older readers do not know.
        file.pop("raw", None)
        file.flush()
        content = file.id.get_file_image()
    path.write_bytes(content)
