"""Where the networks of segmenters run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

__all__ = ["chosen_device", "device_kind"]

_KINDS: Final = ("cpu", "cuda", "mps")


def chosen_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ... or ``mps``.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> chosen_device("cpu")
    device(type='cpu')
    """
    import torch

    kind = device_kind(name)
    device = torch.device(kind if name == "auto" else name)
    num_gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise ValueError(
            f"The device is {name!r}, but torch finds {num_gpus or 'no'} GPU here: give cpu or auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"The device is {name!r}, but torch finds no Metal here: give cpu or auto.")
    return device


def device_kind(name: str) -> str:
    """``cpu``, ``cuda`` or ``mps``: of a named device that need not be here; ``auto`` is what is here.

    Raises
    ------
    ValueError
        If no device is called so.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = None
    if kind not in _KINDS:
        raise ValueError(f"The device is {name!r}: give auto, cpu, cuda or cuda:0.")
    return kind
