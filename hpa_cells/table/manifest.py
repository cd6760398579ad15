"""What is done in the folder of a cell table, and with which settings: a small file for people and for copies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hpa_cells.atomic import replaced_on_success
from hpa_cells.places import Place
from hpa_cells.provenance import Provenance

__all__ = ["MANIFEST_FILE", "Manifest", "check_whole", "write_manifest"]

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What is done.

    Attributes
    ----------
    num_fields, num_cells
        Of all shards together.
    provenance
        With which settings.
    """

    num_fields: int
    num_cells: int
    provenance: Provenance


def write_manifest(folder: Place, manifest: Manifest) -> None:
    """Write ``manifest.json`` in one go."""
    with replaced_on_success(folder / MANIFEST_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def check_whole(folder: Place, *, num_fields: int) -> None:
    """Refuse the folder of a table that has lost shards, as a copy that was cut off has.

    More fields than the manifest has on record are well: it is written after the shards.

    Raises
    ------
    ValueError
        If the manifest has more fields on record than there are, or cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return
    try:
        wanted = int(json.loads(path.read_text(encoding="utf-8"))["num_fields"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): copy the run again, or remove the file."
        ) from error
    if num_fields < wanted:
        raise ValueError(
            f"{folder} has {num_fields:,} fields, by its {MANIFEST_FILE} there were {wanted:,}: copy the run again, or "
            "repeat the command that made it."
        )
