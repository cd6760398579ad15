"""The model card of a segmenter: its file of weights in words."""

from __future__ import annotations

from typing import Any

from hpa_cells.segmentation.network import NetworkSettings

__all__ = ["segmenter_card"]

_TEMPLATE = """\
# Cell segmenter: U-Net, {encoder}, {representation}

Finds nuclei and whole cells together in fluorescence fields of the Human Protein Atlas kind: microtubules, ER and
nucleus (the protein is never looked at; microtubules or ER may be missing). Trained with hpa_cells {version}.

Use it with `hpa-cells segment fields=DIR out=MASKS segmenter=unet segmenter.weights=FILE`. The weights are plain
tensors in half precision: opening them runs no code.

## Network

| | |
|---|---|
| encoder | {encoder}, {num_stages} stages |
| decoder | {decoder} channels |
| representation | {representation} |
| works at | {um_per_px} um a pixel; fields are brought there and labels back |

## Trained on

{training}

{sources}

## Validation

Fields that took no part in the training; F1 at several IoU thresholds.

{validation}

## Limits

Other stainings and tissues than cultured cells need a look at the outlines first. A cell without a nucleus in view
is not found. Not for diagnosis.
"""

_NAMES_OF_FIELDS = {
    "simulated": "simulated fields",
    "cells": "fields of known cells",
    "nuclei": "images of nuclei",
}
_ABOUT_SOURCES = {
    "simulated": """\
Simulated fields are random draws over cell lines, crowding, contrast, blur, noise, pixel size, missing and dead
channels, empty fields and debris.""",
    "cells": """\
Fields of known cells came with masks of whole cells; the nuclei inside of these were found by the watershed.""",
    "nuclei": """\
Images of nuclei came with masks of nuclei and show no other channel: nothing was learned from them of how far cells
reach.""",
}


def segmenter_card(settings: NetworkSettings, provenance: dict[str, Any]) -> str:
    """Markdown text; `provenance` as `write_segmenter` completes it."""
    sources = provenance["training_fields"]
    return _TEMPLATE.format(
        encoder=settings.encoder,
        num_stages=len(settings.decoder_channels),
        decoder=", ".join(map(str, settings.decoder_channels)),
        representation=settings.representation,
        um_per_px=settings.um_per_px,
        version=provenance["version"],
        training=_table(
            {_NAMES_OF_FIELDS[source]: number for source, number in sources.items()}
            | {"steps": provenance["steps"], "starting from": _start(provenance["start_sha256"])}
        ),
        sources="\n\n".join(text for source, text in _ABOUT_SOURCES.items() if source in sources),
        validation=_table(provenance["validation"]) if provenance["validation"] else "None was kept.",
    )


def _start(sha256: str | None) -> str:
    return "random weights" if sha256 is None else f"weights with SHA-256 `{sha256}`"


def _table(values: dict[str, Any]) -> str:
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"
