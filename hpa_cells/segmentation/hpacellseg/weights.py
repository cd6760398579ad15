"""The files of the published networks: where they lie, how they are read, and their form without pickle.

The networks were published as whole pickled modules [1]_. A file is read once, with nothing in it run, checked
against the network it must fit, and kept as safetensors with a checksum.

References
----------
.. [1] HPA cell segmentation models, Zenodo record 4665863, doi:10.5281/zenodo.4665863.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hpa_cells.atomic import replaced_on_success
from hpa_cells.segmentation.hpacellseg.download import download
from hpa_cells.segmentation.hpacellseg.networks import DPN_92, DPNUNet
from hpa_cells.segmentation.hpacellseg.pth_file import read_pth

__all__ = [
    "ADDRESS",
    "CELLS",
    "CELLS_WITHOUT_ER",
    "NUCLEI",
    "convert",
    "published_checksum",
    "published_network",
    "read_network",
    "weights_folder",
]

log = logging.getLogger(__name__)

ADDRESS: Final = "https://zenodo.org/record/4665863/files"
NUCLEI: Final = "dpn_unet_nuclei_v1.pth"
CELLS: Final = "dpn_unet_cell_3ch_v1.pth"
CELLS_WITHOUT_ER: Final = "dpn_unet_cell_v2.pth"

FOLDER_VARIABLE: Final = "HPA_CELLS_WEIGHTS"

# A file of 139 million numbers of 32 bits has 557 MB.
_MAX_BYTES: Final = 1 << 30

# Those of 8 bits are of use only with scales that the network has no place for.
_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def weights_folder(setting: str | None = None) -> Path:
    """Where weights are kept: `setting`, else the variable ``HPA_CELLS_WEIGHTS``, else the user's cache."""
    if chosen := setting or os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(caches).expanduser() / "hpa_cells"


def published_network(name: str, folder: Path) -> DPNUNet:
    """One of the published networks, in evaluation mode, on the CPU, in float32.

    It is read from its safetensors in `folder`. Where these are missing, they are made from the published file
    in `folder`, or else from that of the Zenodo record.

    Parameters
    ----------
    name
        `NUCLEI`, `CELLS` or `CELLS_WITHOUT_ER`.
    folder
        See `weights_folder`; it is made when it is missing.

    Raises
    ------
    FileNotFoundError
        If neither is there and the download fails.
    ValueError
        If the file is damaged or does not hold this network.
    """
    return read_network(_kept(name, folder))


def published_checksum(name: str, folder: Path) -> str:
    """SHA-256 of the numbers of one of the published networks, as its file states it; else of the file.

    Files with the same numbers may differ. Whether the numbers are those, `published_network` checks.

    Raises
    ------
    FileNotFoundError, ValueError
        As of `published_network`.
    """
    kept = _kept(name, folder)
    with suppress(SafetensorError), safe_open(kept, framework="pt") as file:
        if stated := (file.metadata() or {}).get("sha256"):
            return str(stated)
    with kept.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _kept(name: str, folder: Path) -> Path:
    """The safetensors of a network, which are made where they are missing."""
    kept = folder / Path(name).with_suffix(".safetensors")
    if not kept.is_file():
        _obtain(name, folder, kept)
    return kept


def _obtain(name: str, folder: Path, kept: Path) -> None:
    given = folder / name
    if given.is_file():
        convert(given, kept)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".download.") as scratch:
        try:
            download(f"{ADDRESS}/{name}", Path(scratch) / name, max_bytes=_MAX_BYTES)
        except OSError as error:
            raise FileNotFoundError(
                f"{given} does not exist, and downloading {ADDRESS}/{name} failed ({error}): download it on a "
                f"machine that is online and put it there, or set `{FOLDER_VARIABLE}` to the folder that has it."
            ) from error
        convert(Path(scratch) / name, kept, called=f"{ADDRESS}/{name}, downloaded for {kept},")


def convert(path: Path, kept: Path, *, called: str | None = None) -> None:
    """Write the network of a file as safetensors.

    The metadata has the checksums of the numbers and of the file they came from, and that file's name.

    Parameters
    ----------
    path
        As for `read_network`.
    kept
        The new file.
    called
        What an error calls the file; None for its path.

    Raises
    ------
    ValueError
        If the file is damaged or does not hold such a network.
    """
    tensors = _weights(read_network(path, called=called))
    with path.open("rb") as file:
        source_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    metadata = {
        "format": "pt",
        "sha256": _checksum(tensors),
        "source": path.name,
        "source_sha256": source_sha256,
    }
    with replaced_on_success(kept) as temporary:
        # `save_file` would make a file that nobody else may read, of no use in a shared folder.
        temporary.write_bytes(save(tensors, metadata=metadata))
    log.info("The network of %s is kept in %s", path.name, kept)


def read_network(path: Path, *, called: str | None = None) -> DPNUNet:
    """The network of a file, in evaluation mode, on the CPU, in float32.

    Parameters
    ----------
    path
        safetensors, or what ``torch.save`` wrote of a whole module, also in DataParallel, or of a state dict.
    called
        What an error calls the file; None for its path.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is cut off, damaged, hostile, or of another network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a file such as {ADDRESS}/{NUCLEI}.")
    # Without numbers of its own: those of the file take their places.
    with torch.device("meta"):
        network = DPNUNet(DPN_92)
    try:
        tensors = _read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
        _fill(network, tensors)
    except ValueError as error:
        raise ValueError(
            f"{called or path} is not a network of hpacellseg: {error}. Wanted is a DPN-92 U-Net, as in {NUCLEI}, "
            f"{CELLS} or {CELLS_WITHOUT_ER}: delete it or download it again from {ADDRESS}."
        ) from error
    return network.eval()


def _fill(network: DPNUNet, tensors: Mapping[str, Tensor]) -> None:
    """Give the tensors to the network.

    Raises
    ------
    ValueError
        If the network has other tensors, or others of their shapes, or there are numbers that are not finite.
    """
    wanted = _weights(network)
    # How often a batch was seen in training: older files lack it, and nothing here uses it.
    found = {name: value for name, value in tensors.items() if not name.endswith(".num_batches_tracked")}
    if missing := sorted(wanted.keys() - found.keys()):
        raise ValueError(f"it lacks {len(missing)} of {len(wanted)} tensors, such as {missing[0]}")
    if others := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"it has {len(others)} tensors too many, such as {others[0]}")
    for name, value in found.items():
        if value.shape != wanted[name].shape or value.dtype not in _FLOATS:
            raise ValueError(
                f"{name} in it is {value.dtype} {tuple(value.shape)}, expected {tuple(wanted[name].shape)} of "
                "floats of 16 to 64 bits"
            )
    state = {name: value.float().contiguous() for name, value in found.items()}
    for name, value in state.items():
        if num_wrong := int((~value.isfinite()).sum()):
            raise ValueError(f"{name} in it has {num_wrong} of {value.numel()} numbers that are not finite")
    unused = {name: torch.tensor(0) for name in network.state_dict().keys() - wanted.keys()}
    network.load_state_dict(state | unused, assign=True)


def _weights(network: DPNUNet) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith(".num_batches_tracked")
    }


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except SafetensorError as error:
        raise ValueError(f"it is cut off or damaged ({error})") from error
    if stated is not None and stated != _checksum(tensors):
        raise ValueError("its numbers do not have the checksum that was taken when they were written")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and numbers, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        # As bytes: numpy lacks some of torch's types.
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
