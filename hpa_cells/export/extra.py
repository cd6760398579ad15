"""Packages that only some formats need."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["import_extra", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what these packages warn each other of, names to come and gone: nobody who exports can change it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated")
        warnings.filterwarnings("ignore", "zarr v3 autosharding")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def import_extra(package: str, *, wanted_by: str) -> Any:
    """The package, a part of the extra ``export``.

    Parameters
    ----------
    package
        Its name when imported, with dots where a part of it is wanted.
    wanted_by
        What needs it, for the message: ``format=anndata``.

    Raises
    ------
    ValueError
        If it is not installed.
    """
    root = package.partition(".")[0]
    if find_spec(root) is None:
        raise ValueError(
            f'{wanted_by} needs the package {root}, which is not installed: pip install "hpa-cells[export]".'
        )
    with quiet():
        return import_module(package)
