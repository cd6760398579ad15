"""``hpa-cells segment``: the label images of cells and nuclei of every field at a place."""

from __future__ import annotations

import json
import logging
from functools import partial

from hydra.utils import instantiate
from omegaconf import DictConfig

from hpa_cells import __version__
from hpa_cells.atomic import replaced_on_success, sole_writer
from hpa_cells.commands.outcomes import follow, refuse_failures
from hpa_cells.fields import scan_fields
from hpa_cells.places import Place, place
from hpa_cells.prediction import (
    Failure,
    ReadingMarks,
    Runner,
    StageTimes,
    segmentation_stages,
    write_failures,
)
from hpa_cells.segmentation import SETTINGS_FILE, Segmenter, write_segmentation, written_fields
from hpa_cells.shown import redacted_settings
from hpa_cells.types import Field, Segmentation

__all__ = ["run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write ``<id>_cells.png`` and ``<id>_nuclei.png`` of each field to `out`; finished fields stay.

    Raises
    ------
    FieldsFailedError
        If fields failed; all others are finished.
    """
    out = place(cfg.out)
    segmenter: Segmenter = instantiate(cfg.segmenter)
    runner: Runner = instantiate(cfg.runner)
    sources, problems = scan_fields(
        cfg.fields, optional=segmenter.optional_channels, csv_addresses=cfg.csv_addresses
    )
    failures = [Failure(field_id=each.field_id, stage="find", error=each.message) for each in problems]
    written = written_fields(out)
    todo = [source for source in sources if source.field_id not in written]
    if todo and runner.is_here:
        # Says what is missing before there is a folder.
        segmenter.prepare()
    fingerprint = segmenter.fingerprint()
    with sole_writer(out):
        _claim(out, cfg, fingerprint)
        if len(todo) < len(sources):
            log.info("%d of %d fields are finished already", len(sources) - len(todo), len(sources))

        times = StageTimes()
        try:
            with ReadingMarks(out) as marks:
                way = partial(
                    segmentation_stages,
                    segmenter,
                    partial(_write, out),
                    pixel_size_um=cfg.pixel_size_um,
                    num_fields=cfg.segment_fields,
                    marks=marks,
                )
                outcomes = runner.run(todo, way, times=times) if todo else []
                follow("segment", outcomes, failures, num_fields=len(todo), times=times)
        finally:
            write_failures(out, failures)
    refuse_failures(out, failures, num_fields=len(sources) + len(problems))
    log.info("%s: label images of %d fields", out, len(sources))


def _claim(out: Place, cfg: DictConfig, fingerprint: str | None) -> None:
    """Keep what makes the label images beside them, so that those of two segmenters never mix.

    Raises
    ------
    ValueError
        If `out` was begun with other settings.
    """
    node = {"version": __version__, "pixel_size_um": cfg.pixel_size_um, **cfg.segmenter}
    node |= {} if fingerprint is None else {"fingerprint": fingerprint}
    wanted = redacted_settings(json.loads(json.dumps(node)))
    path = out / SETTINGS_FILE
    if not path.exists():
        with replaced_on_success(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): choose another `out`, or copy the file again."
        ) from error
    if "fingerprint" in wanted.keys() - found.keys() and found.get("_target_") == wanted["_target_"]:
        raise ValueError(
            f"{out} holds label images of an earlier version, which did not put the weights on record: "
            "choose another `out`."
        )
    names = sorted(found.keys() | wanted.keys())
    differences = [
        f"{name}: {found.get(name, 'unset')} -> {wanted.get(name, 'unset')}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ValueError(
            f"{out} holds label images made with other settings ({'; '.join(differences)}): choose another "
            "`out`, or repeat the command with those settings to go on."
        )


def _write(out: Place, _: Field, segmentation: Segmentation) -> None:
    # A full disk is no fault of this field: an error in writing ends the run.
    write_segmentation(segmentation, out)
