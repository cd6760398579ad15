"""Where a cell table comes from, in a form that travels inside its files and can be compared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hpa_cells.parquet import arrow_file
from hpa_cells.places import Place
from hpa_cells.shown import redacted_settings

__all__ = ["Provenance", "read_provenance"]

_METADATA_KEY = b"hpa_cells"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a table comes from; travels in the metadata of every shard.

    Attributes
    ----------
    version
        Version of hpa_cells that wrote it.
    class_set
        Name of the class set of the probability columns.
    source
        What made the probabilities, for a reader: ``model``, ``simulation truth`` ...
    weights_hash
        SHA-256 of the model's weights; empty where no model was used.
    settings
        Every setting that changes the content, by group: plain numbers, strings, lists and dictionaries. Passwords and
        tokens in addresses are hidden: with others, it is the same run.
    """

    version: str
    class_set: str
    source: str
    weights_hash: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", redacted_settings(self.settings))

    def differences(self, other: Provenance) -> list[str]:
        """What differs, one ``name: mine -> other's`` an entry, in words for an error message."""
        # By way of JSON, as in the file: a tuple of settings comes back from there as a list.
        mine, theirs = (
            pd.json_normalize(json.loads(json.dumps(asdict(each)))).iloc[0].to_dict()
            for each in (self, other)
        )
        names = sorted({str(name) for name in (*mine, *theirs)})
        return [
            f"{name}: {mine.get(name, 'unset')} -> {theirs.get(name, 'unset')}"
            for name in names
            if mine.get(name) != theirs.get(name)
        ]

    def as_metadata(self) -> dict[bytes, bytes]:
        """Itself as metadata of a Parquet schema; `read_provenance` is the way back."""
        return {_METADATA_KEY: json.dumps(asdict(self)).encode()}


def read_provenance(path: Place) -> Provenance:
    """The provenance in the metadata of a shard.

    Raises
    ------
    ValueError
        If the file is not Parquet or carries none.
    """
    source = arrow_file(path)
    try:
        metadata = pq.read_schema(source).metadata or {}
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a Parquet file ({error}): delete it and run predict again."
        ) from error
    if _METADATA_KEY not in metadata:
        raise ValueError(f"{path} was not written by hpa_cells: it carries no provenance.")
    try:
        found = Provenance(**json.loads(metadata[_METADATA_KEY]))
        # The class set is looked up by it, and the settings are compared.
        if {type(found.version), type(found.class_set), type(found.source)} == {str} and type(
            found.settings
        ) is dict:
            return found
        problem = "its class set or settings are of another kind"
    except (ValueError, TypeError, RecursionError) as error:
        problem = str(error)
    raise ValueError(f"{path} carries a provenance that cannot be read ({problem}): copy the run again.")
