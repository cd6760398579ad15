"""Every reader of files that may come from strangers, with whole files to begin from."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_mutations import (
    Mutate,
    damaged,
    damaged_json,
    damaged_mask_string,
    damaged_png,
    damaged_safetensors,
    damaged_text,
    damaged_zip,
)
from fuzz_seeds import (
    OME,
    PLANE,
    cell_table,
    checkpoint,
    counts,
    crop_arrays,
    encoded_images,
    jpegs,
    label_arrays,
    label_tables,
    learned_scores,
    mask_strings,
    paths_csv,
    stacks,
    table_file,
    tiffs,
    torch_files,
    training_fields,
    unet_weights,
    zips,
)

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A reader.

    Attributes
    ----------
    name
        For the table.
    seeds
        Makes whole files.
    read
        Reads a file of these bytes; `scratch` is a folder for it.
    mutate
        Makes another file of a whole one.
    share
        How many runs it gets among all; a slow one few.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutate = field(default=damaged)
    share: int = 10


def _file(scratch: Path, name: str, data: bytes) -> Path:
    path = scratch / name
    path.write_bytes(data)
    return path


def _decode(is_stack: bool) -> Callable[[bytes, Path], object]:
    from hpa_cells.fields.decode import decode_image

    return lambda data, _: decode_image(data, is_stack=is_stack)


def _read_fields(location: Path) -> None:
    from hpa_cells.fields import read_field, scan_fields

    sources, _ = scan_fields(location)
    for source in sources:
        # One field that cannot be read is no reason to leave out the others.
        with contextlib.suppress(ValueError):
            read_field(source)


def _read_labels(suffix: str) -> Callable[[bytes, Path], object]:
    from hpa_cells.segmentation.label_files import read_labels

    return lambda data, scratch: read_labels(_file(scratch, f"f{suffix}", data))


def _read_label_table(data: bytes, scratch: Path) -> None:
    from hpa_cells.fields import read_label_table

    read_label_table(_file(scratch, "labels.csv", data))


def _read_shard(data: bytes, scratch: Path) -> None:
    from hpa_cells.parquet import read_parquet
    from hpa_cells.provenance import read_provenance

    path = _file(scratch, "cells-000000.parquet", data)
    read_provenance(path)
    read_parquet(path)


def _read_cells_csv(data: bytes, scratch: Path) -> None:
    from hpa_cells.export import read_csv

    read_csv(_file(scratch, "cells.csv", data))


def _read_2021(data: bytes, scratch: Path) -> None:
    from hpa_cells.export import read_kaggle2021, validate_kaggle2021

    path = _file(scratch, "submission.csv", data)
    problems = validate_kaggle2021(path)
    with contextlib.suppress(ValueError):
        read_kaggle2021(path)
        assert not problems, problems


def _read_coco(data: bytes, scratch: Path) -> None:
    from hpa_cells.export import read_coco

    read_coco(_file(scratch, "instances.json", data))


def _read_geojson(data: bytes, scratch: Path) -> None:
    from hpa_cells.export import read_geojson

    read_geojson(_file(scratch, "f1.geojson", data))


def _read_2018(data: bytes, scratch: Path) -> None:
    from hpa_cells.export import read_kaggle2018, validate_kaggle2018

    path = _file(scratch, "submission.csv", data)
    validate_kaggle2018(path)
    read_kaggle2018(path)


def _read_ids(data: bytes, scratch: Path) -> None:
    from hpa_cells.export.cell_ids import read_ids

    read_ids(_file(scratch, "s.cells.csv", data))


def _read_counts(data: bytes, _: Path) -> None:
    from hpa_cells.masks import counts_boxes, decode_counts, paint_labels

    decode_counts(data, *PLANE.shape)
    counts_boxes([data], *PLANE.shape)
    paint_labels([1], [data], *PLANE.shape)


def _read_mask_string(data: bytes, scratch: Path) -> None:
    from hpa_cells.masks import from_challenge_string

    _read_counts(from_challenge_string(data.decode("utf-8", "replace")), scratch)


def _read_checkpoint_json(data: bytes, scratch: Path) -> None:
    from hpa_cells.models import load_checkpoint

    _file(scratch, "model.safetensors", checkpoint()["model.safetensors"])
    _file(scratch, "checkpoint.json", data)
    load_checkpoint(scratch)


def _read_checkpoint_weights(data: bytes, scratch: Path) -> None:
    config = json.loads(checkpoint()["checkpoint.json"])
    # As a forger would: the checksum in the one file is that of the other.
    config["weights_sha256"] = hashlib.sha256(data).hexdigest()
    _file(scratch, "model.safetensors", data)
    _file(scratch, "checkpoint.json", json.dumps(config).encode())
    from hpa_cells.models import load_checkpoint

    load_checkpoint(scratch)


def _read_unet(data: bytes, scratch: Path) -> None:
    from hpa_cells.segmentation.network import read_network

    read_network(_file(scratch, "unet.safetensors", data))


def _read_pth(data: bytes, scratch: Path) -> None:
    from hpa_cells.segmentation.hpacellseg.pth_file import read_pth

    read_pth(_file(scratch, "n.pth", data))


def _read_encoder_weights(data: bytes, scratch: Path) -> None:
    from hpa_cells.models.encoder_weights import read_weights

    read_weights(_file(scratch, "n.pth", data))


def _read_scores(data: bytes, scratch: Path) -> None:
    from hpa_cells.prediction import read_learned_fusion

    read_learned_fusion(_file(scratch, "scores.json", data))


def _read_settings(data: bytes, scratch: Path) -> None:
    from hpa_cells.training.run_folder import RunFolder

    folder = RunFolder(out=scratch)
    folder.settings.parent.mkdir(exist_ok=True)
    folder.settings.write_bytes(data)
    folder.read_settings()


def _read_training_field(data: bytes, scratch: Path) -> None:
    from hpa_cells.training.segmenter.store import read_training_field

    read_training_field(_file(scratch, "a.npz", data))


def _read_array(data: bytes, scratch: Path) -> None:
    from hpa_cells.training.crop_store import map_array

    map_array(_file(scratch, "a.npy", data), 2, "crops")


def _read_ome(data: bytes, _: Path) -> None:
    from hpa_cells.fields.ome import channels_of_planes, parse_ome

    channels_of_planes(parse_ome(data.decode("utf-8", "replace")))


def _read_zip(data: bytes, scratch: Path) -> None:
    _read_fields(_file(scratch, "fields.zip", data))


def _read_paths_csv(data: bytes, scratch: Path) -> None:
    _file(scratch, "a.png", encoded_images(".png")[0])
    _read_fields(_file(scratch, "fields.csv", data))


READERS = (
    Reader(
        name="png", seeds=lambda: encoded_images(".png"), read=_decode(False), mutate=damaged_png, share=120
    ),
    Reader(name="jpeg", seeds=jpegs, read=_decode(False), share=120),
    Reader(name="tiff", seeds=tiffs, read=_decode(False), share=60),
    Reader(name="ome-tiff", seeds=stacks, read=_decode(True), share=30),
    Reader(name="ome-xml", seeds=lambda: [OME.encode()], read=_read_ome, mutate=damaged_text, share=100),
    Reader(name="zip of fields", seeds=zips, read=_read_zip, mutate=damaged_zip, share=20),
    Reader(name="csv of paths", seeds=paths_csv, read=_read_paths_csv, mutate=damaged_text, share=50),
    Reader(name="label table", seeds=label_tables, read=_read_label_table, mutate=damaged_text, share=100),
    Reader(
        name="label png",
        seeds=lambda: encoded_images(".png"),
        read=_read_labels(".png"),
        mutate=damaged_png,
        share=50,
    ),
    Reader(name="label tiff", seeds=tiffs, read=_read_labels(".tif"), share=50),
    Reader(name="label npz", seeds=label_arrays, read=_read_labels(".npz"), mutate=damaged_zip, share=30),
    Reader(name="cell table parquet", seeds=cell_table, read=_read_shard, share=20),
    Reader(
        name="cell table csv",
        seeds=lambda: table_file("cells.csv"),
        read=_read_cells_csv,
        mutate=damaged_text,
    ),
    Reader(
        name="submission 2021",
        seeds=lambda: table_file("s.csv"),
        read=_read_2021,
        mutate=damaged_text,
        share=20,
    ),
    Reader(
        name="submission 2018",
        seeds=lambda: [b"Id,Predicted\na,1 2\nb,\n"],
        read=_read_2018,
        mutate=damaged_text,
        share=60,
    ),
    Reader(name="coco", seeds=lambda: table_file("c.json"), read=_read_coco, mutate=damaged_json, share=20),
    Reader(name="coco text", seeds=lambda: table_file("c.json"), read=_read_coco, mutate=damaged_text),
    Reader(
        name="geojson",
        seeds=lambda: table_file("g.geojson"),
        read=_read_geojson,
        mutate=damaged_json,
        share=20,
    ),
    Reader(name="geojson packed", seeds=lambda: table_file("g.geojson.gz"), read=_read_geojson),
    Reader(
        name="cell ids",
        seeds=lambda: table_file("s.cells.csv"),
        read=_read_ids,
        mutate=damaged_text,
        share=50,
    ),
    Reader(
        name="mask string", seeds=mask_strings, read=_read_mask_string, mutate=damaged_mask_string, share=60
    ),
    Reader(name="run lengths", seeds=counts, read=_read_counts, share=80),
    Reader(
        name="checkpoint json",
        seeds=lambda: [checkpoint()["checkpoint.json"]],
        read=_read_checkpoint_json,
        mutate=damaged_json,
        share=2,
    ),
    Reader(
        name="checkpoint weights",
        seeds=lambda: [checkpoint()["model.safetensors"]],
        read=_read_checkpoint_weights,
        mutate=damaged_safetensors,
        share=2,
    ),
    Reader(
        name="segmenter weights", seeds=unet_weights, read=_read_unet, mutate=damaged_safetensors, share=2
    ),
    Reader(name="hpacellseg pth", seeds=torch_files, read=_read_pth, share=20),
    Reader(name="encoder weights", seeds=torch_files, read=_read_encoder_weights, share=20),
    Reader(name="learned fusion", seeds=learned_scores, read=_read_scores, mutate=damaged_json, share=20),
    Reader(
        name="training settings",
        seeds=lambda: [b'{"seed": 0, "data": {"root": "sim", "labels": ["a.csv"]}}'],
        read=_read_settings,
        mutate=damaged_json,
        share=30,
    ),
    Reader(name="training field", seeds=training_fields, read=_read_training_field, mutate=damaged_zip),
    Reader(name="crop store", seeds=crop_arrays, read=_read_array, share=30),
)
