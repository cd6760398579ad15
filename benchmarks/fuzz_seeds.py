"""Whole files of every kind that is read, small ones: what the fuzzing begins from."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
import tifffile

__all__ = [
    "OME",
    "PLANE",
    "cell_table",
    "checkpoint",
    "counts",
    "crop_arrays",
    "encoded_images",
    "jpegs",
    "label_arrays",
    "label_tables",
    "learned_scores",
    "mask_strings",
    "paths_csv",
    "stacks",
    "table_file",
    "tiffs",
    "torch_files",
    "training_fields",
    "unet_weights",
    "zips",
]

OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
    '<Image ID="Image:0"><Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="9" SizeY="8" SizeC="4" SizeZ="1" '
    'SizeT="1" PhysicalSizeX="0.08" PhysicalSizeXUnit="um"><Channel Name="red" SamplesPerPixel="1"/>'
    '<Channel Name="green"/><Channel Name="blue"/><Channel Name="yellow"/><TiffData IFD="0" PlaneCount="4"/>'
    "</Pixels></Image></OME>"
)


PLANE = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)


def encoded_images(suffix: str) -> list[bytes]:
    images = [PLANE, PLANE.astype(np.uint16) * 200, np.dstack([PLANE] * 3), np.dstack([PLANE] * 4)]
    images = images if suffix == ".png" else [PLANE, np.dstack([PLANE] * 3)]
    return [cv2.imencode(suffix, each)[1].tobytes() for each in images]


def jpegs() -> list[bytes]:
    progressive = cv2.imencode(".jpg", np.dstack([PLANE] * 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    return [*encoded_images(".jpg"), progressive]


def tiff(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def tiffs() -> list[bytes]:
    made = [tiff(PLANE, compression=each) for each in (None, "zlib", "lzma")]
    by_opencv = [
        cv2.imencode(".tif", PLANE, [cv2.IMWRITE_TIFF_COMPRESSION, each])[1].tobytes()
        for each in (5, 32946, 32773)
    ]
    many = tiff(np.stack([PLANE] * 3), photometric="minisblack", metadata=None)
    tiled = tiff(np.tile(PLANE, (4, 4)), tile=(16, 16), compression="zlib")
    return [*made, *by_opencv, many, tiled, tiff(PLANE, bigtiff=True), tiff(PLANE, byteorder=">")]


def stacks() -> list[bytes]:
    stack = np.stack([PLANE] * 4)
    channels = {"axes": "CYX", "Channel": {"Name": ["red", "green", "blue", "yellow"]}}
    whole = tiff(stack, metadata=channels, ome=True, photometric="minisblack")
    other = tiff(stack, description=OME, metadata=None, photometric="minisblack", compression="zlib")
    return [whole, other]


def zips() -> list[bytes]:
    made = []
    for suffix, files in (
        (".png", encoded_images(".png")[:1]),
        (".tif", tiffs()[:1]),
        (".ome.tif", stacks()[:1]),
    ):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for color in ("",) if "ome" in suffix else ("_red", "_green", "_blue", "_yellow"):
                archive.writestr(f"sub/f1{color}{suffix}", files[0])
        made.append(stream.getvalue())
    return made


def label_arrays() -> list[bytes]:
    stream, both = io.BytesIO(), io.BytesIO()
    np.savez_compressed(stream, PLANE)
    np.savez(both, cells=PLANE.astype(np.int32), nuclei=PLANE)
    return [stream.getvalue(), both.getvalue()]


@cache
def cell_table() -> tuple[bytes, bytes]:
    """The two files of a shard."""
    from hpa_cells.cells import cell_rows, field_row
    from hpa_cells.classes import get_class_set
    from hpa_cells.table import Provenance, TableWriter
    from hpa_cells.types import CellScores, Segmentation

    cells = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 3))).astype(np.int32)
    found = Segmentation(
        field_id="f1", cells=cells, nuclei=np.where(PLANE > 99, cells, 0), pixel_size_um=0.16
    )
    random = np.random.default_rng(0)
    scores = CellScores(
        field_id="f1",
        cell_ids=np.arange(1, 6, dtype=np.int32),
        probabilities=random.random((5, 19), dtype=np.float32),
        embeddings=random.random((5, 3), dtype=np.float32),
        field_probabilities=random.random(19, dtype=np.float32),
        class_set=get_class_set("hpa2021"),
    )
    with TemporaryDirectory() as folder:
        provenance = Provenance(version="0", class_set="hpa2021", source="test")
        with TableWriter(Path(folder), provenance=provenance) as writer:
            writer.add(cells=cell_rows(found, scores), field_row=field_row(found, scores))
        return tuple(path.read_bytes() for path in sorted(Path(folder).glob("*.parquet")))


def table_file(suffix: str) -> list[bytes]:
    from hpa_cells.export import write_coco, write_csv, write_geojson, write_kaggle2021
    from hpa_cells.table import read_table

    with TemporaryDirectory() as folder:
        for name, data in zip(("cells", "fields"), cell_table(), strict=True):
            (Path(folder) / f"{name}-000000.parquet").write_bytes(data)
        table = read_table(folder)
        write_csv(table, Path(folder) / "cells.csv")
        write_kaggle2021(table, Path(folder) / "s.csv")
        write_coco(table, Path(folder) / "c.json")
        for name in ("g.geojson", "g.geojson.gz"):
            write_geojson(table, Path(folder) / name)
        return [(Path(folder) / suffix).read_bytes()]


def counts() -> list[bytes]:
    from hpa_cells.masks import encode_labels

    return encode_labels((PLANE // 50).astype(np.int32))[1]


def mask_strings() -> list[bytes]:
    from hpa_cells.masks import to_challenge_string

    return [to_challenge_string(each).encode() for each in counts()]


@cache
def checkpoint() -> dict[str, bytes]:
    import torch

    from hpa_cells.cells import CropSettings
    from hpa_cells.classes import get_class_set
    from hpa_cells.models import CellClassifier, Checkpoint, ClassifierSettings, save_checkpoint

    torch.manual_seed(0)
    options = {"channels": [4, 4, 8, 8], "stem_width": 4}
    settings = ClassifierSettings(num_classes=19, encoder="resnet10t", encoder_options=options)
    made = Checkpoint(
        model=CellClassifier(settings),
        class_set=get_class_set("hpa2021"),
        crop_settings={name: getattr(CropSettings(), name) for name in CropSettings.__slots__},
        thresholds=np.full(19, 0.5, dtype=np.float32),
    )
    with TemporaryDirectory() as folder:
        save_checkpoint(folder, made)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def unet_weights() -> list[bytes]:
    from hpa_cells.segmentation.network import CellUNet, NetworkSettings, write_network

    with TemporaryDirectory() as folder:
        settings = NetworkSettings(encoder="test_resnet", decoder_channels=[16, 8, 8, 8])
        write_network(CellUNet(settings), Path(folder) / "unet.safetensors", provenance={})
        return [(Path(folder) / "unet.safetensors").read_bytes()]


def torch_files() -> list[bytes]:
    import torch
    from torch import nn

    made = []
    for new in (True, False):
        for content in (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict(),
            {"a": torch.zeros(3)},
        ):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=new)
            made.append(stream.getvalue())
    return made


def learned_scores() -> list[bytes]:
    from hpa_cells.classes import get_class_set
    from hpa_cells.prediction.calibration import fit_calibration
    from hpa_cells.prediction.learned_fusion import CELL_ALONE, FusionRules, LearnedFusion
    from hpa_cells.prediction.scores_file import SCORES_FILE, write_learned_fusion

    random = np.random.default_rng(0)
    scores, labels = random.random((40, 19), dtype=np.float32), random.random((40, 19)) < 0.3
    learned = LearnedFusion(
        class_set=get_class_set("hpa2021"),
        rules=FusionRules(common=CELL_ALONE, of_classes=(CELL_ALONE,) * 19, negative="own"),
        cells=fit_calibration(scores, labels, "isotonic"),
        fields=fit_calibration(scores, labels, "platt"),
        provenance_of_scores={"table_weights_hash": "abc", "table_settings": {}, "num_fields": 3},
    )
    with TemporaryDirectory() as folder:
        write_learned_fusion(folder, learned, scores={})
        return [(Path(folder) / SCORES_FILE).read_bytes()]


def training_fields() -> list[bytes]:
    from hpa_cells.training.segmenter.store import write_training_field
    from hpa_cells.training.segmenter.training_field import TrainingField

    planes = np.dstack([PLANE] * 3).astype(np.float16)
    cells = (PLANE // 60).astype(np.int32)
    made = TrainingField(
        name="a",
        source="s",
        planes=planes,
        ends=np.ones((3, 2), np.float32),
        cells=cells,
        in_nucleus=PLANE > 200,
    )
    with TemporaryDirectory() as folder:
        write_training_field(made, Path(folder) / "a.npz")
        return [(Path(folder) / "a.npz").read_bytes()]


def crop_arrays() -> list[bytes]:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 4, 8, 8), np.uint8))
    return [stream.getvalue()]


def paths_csv() -> list[bytes]:
    return [b"field_id,red,green,blue,yellow\nf1,a.png,b.png,c.png,d.png\nf2,a.png,a.png,a.png,a.png\n"]


def label_tables() -> list[bytes]:
    rows = pd.DataFrame({"ID": ["a", "b", "c"], "Label": ["1|2", "18", "Cytosol"], "gene": ["x", "y", "z"]})
    return [rows.to_csv(index=False).encode(), b"Id,Target\na,1 2\nb,0\n"]
