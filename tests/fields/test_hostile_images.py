"""Images that promise far more than they hold: each is refused, in time and memory of an honest one."""

from __future__ import annotations

import io
import lzma
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from hpa_cells.fields.decode import decode_image
from hpa_cells.fields.ome import parse_ome
from hpa_cells.fields.source import UnreadableImageError

PLANE = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
MOST_MB, MOST_S = 150, 10.0


@pytest.fixture(autouse=True)
def little_time_and_memory() -> Iterator[None]:
    tracemalloc.start()
    began = time.perf_counter()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - began < MOST_S
    assert peak < MOST_MB << 20


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *, color: int, bits: int = 8, before: bytes = b"") -> bytes:
    """A PNG whose pixels are not there, but whose checksums are right."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + before + header + pixels + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("color", "bits", "num_bytes"), [(0, 8, 1), (0, 16, 2), (2, 8, 4), (6, 16, 8), (3, 8, 4)]
)
def test_a_small_png_of_30000_px(color: int, bits: int, num_bytes: int) -> None:
    promised = f"{30_000 * 30_000 * num_bytes:,} bytes"
    with pytest.raises(UnreadableImageError, match=f"it unpacks from .* to {promised}, more than an honest"):
        decode_image(png(30_000, 30_000, color=color, bits=bits))


def test_a_png_that_hides_its_size_behind_another_chunk() -> None:
    hidden = png(30_000, 30_000, color=0, before=png_chunk(b"tEXt", b"a\0" + struct.pack(">II", 4, 4) * 3))
    with pytest.raises(UnreadableImageError):
        decode_image(hidden)


def jpeg(*, progressive: bool = False) -> bytes:
    encoded = cv2.imencode(".jpg", np.dstack([PLANE] * 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[
        1
    ]
    return encoded.tobytes()


def test_a_jpeg_that_hides_its_size_behind_fill_bytes() -> None:
    hidden = jpeg().replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 30_000, 30_000), 1)
    hidden = hidden[:2] + b"\xff" * 9 + hidden[2:]
    with pytest.raises(UnreadableImageError, match=r"to 2,700,000,000 bytes"):
        decode_image(hidden)
    np.testing.assert_array_equal(
        decode_image(jpeg()[:2] + b"\xff" * 9 + jpeg()[2:]).planes, decode_image(jpeg()).planes
    )


def test_a_jpeg_that_goes_over_its_pixels_a_thousand_times() -> None:
    whole = jpeg(progressive=True)
    last = whole.rindex(b"\xff\xda")
    with pytest.raises(UnreadableImageError, match="scans, more than 100"):
        decode_image(whole[:last] + whole[last:-2] * 1000 + whole[-2:])


def tiff(**options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, PLANE, **options)
    return stream.getvalue()


def with_tags(data: bytes, **values: int) -> bytes:
    """The little-endian TIFF with other values in the tags of its first page."""
    content = bytearray(data)
    (page,) = struct.unpack_from("<I", content, 4)
    (num_tags,) = struct.unpack_from("<H", content, page)
    for at in range(page + 2, page + 2 + 12 * num_tags, 12):
        name = tifffile.TIFF.TAGS.get(struct.unpack_from("<H", content, at)[0], "")
        if name in values:
            struct.pack_into("<HII", content, at + 2, 4, 1, values[name])
    return bytes(content)


def test_a_tiff_of_100000_px() -> None:
    with pytest.raises(UnreadableImageError, match="100000 x 100000 px, more than 32768 px a side"):
        decode_image(with_tags(tiff(), ImageWidth=100_000, ImageLength=100_000, RowsPerStrip=100_000))


def test_a_small_tiff_of_30000_px() -> None:
    with pytest.raises(UnreadableImageError, match="to 900,000,000 bytes"):
        decode_image(with_tags(tiff(), ImageWidth=30_000, ImageLength=30_000, RowsPerStrip=30_000))


@pytest.mark.parametrize(
    ("compression", "pack"), [("zlib", zlib.compress), ("lzma", lambda data: lzma.compress(data, preset=0))]
)
def test_a_strip_that_unpacks_to_far_more_than_its_pixels(
    compression: str, pack: Callable[[bytes], bytes]
) -> None:
    whole = tiff(compression=compression)
    bomb = pack(bytes(1 << 25))
    changed = with_tags(whole, StripOffsets=len(whole), StripByteCounts=len(bomb)) + bomb
    with pytest.raises(
        UnreadableImageError, match="a strip or tile of it unpacks to more than its 256 bytes"
    ):
        decode_image(changed)


def pages(num_pages: int, last: int = 0) -> bytes:
    """A TIFF of so many pages of no tags; the last points to the page of that number."""
    size = 2 + 4
    offsets = [8 + size * index for index in range(num_pages)]
    following = [*offsets[1:], offsets[last] if last else 0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(struct.pack("<HI", 0, each) for each in following)


@pytest.mark.parametrize("last", [1, 99, 120])
def test_pages_that_go_round_in_a_circle(last: int) -> None:
    # tifffile looks for a circle when it has found a hundred pages, and never again.
    with pytest.raises(UnreadableImageError, match="its pages go round in a circle"):
        decode_image(pages(150, last=last))


def test_a_hundred_thousand_pages() -> None:
    with pytest.raises(UnreadableImageError, match="it has over 4096 pages"):
        decode_image(pages(100_000))


def test_pages_of_lzw_are_not_all_unpacked() -> None:
    encoded = cv2.imencodemulti(".tif", [PLANE] * 3, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    with pytest.raises(UnreadableImageError):
        decode_image(encoded)


def ome(pixels: str, *, more: str = "", inside: str = '<TiffData IFD="0"/>') -> str:
    return (
        f'<?xml version="1.0"?>{more}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="I">'
        f'<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" {pixels}>{inside}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("xml", "found"),
    [
        (ome('SizeC="1" SizeZ="1" SizeT="1000000000"'), "SizeT is 1e.09, more than 4096"),
        (ome('SizeC="4000" SizeZ="4000" SizeT="4000"'), "describe 6.4e.10 planes"),
        (ome('SizeC="1e999" SizeZ="1" SizeT="1"'), "SizeC is inf"),
        (
            ome('SizeC="1" SizeZ="1" SizeT="1"', inside='<TiffData IFD="0" PlaneCount="9999999999"/>'),
            "PlaneCount is 1e.10",
        ),
        (ome('SizeC="1" SizeZ="1" SizeT="1"', inside="<ModuloAlongC/>"), "sort planes by ModuloAlongC"),
    ],
)
def test_ome_metadata_of_planes_without_end(xml: str, found: str) -> None:
    with pytest.raises(UnreadableImageError, match=found):
        decode_image(tiff(description=xml, metadata=None), is_stack=True)


def test_entities_of_entities_are_not_written_out() -> None:
    entities = "".join(f'<!ENTITY e{index + 1} "{f"&e{index};" * 10}">' for index in range(12))
    laughs = f'<!DOCTYPE x [<!ENTITY e0 "{"ha" * 50}">{entities}]>'
    with pytest.raises(UnreadableImageError, match="not XML"):
        parse_ome(ome('SizeC="1" SizeZ="1" SizeT="1"', more=laughs, inside="&e12;"))


def test_ome_metadata_cannot_bring_in_another_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "secret.tif", 255 - PLANE)
    inside = f'<TiffData IFD="0"><UUID FileName="{tmp_path / "secret.tif"}">urn:uuid:b</UUID></TiffData>'
    elsewhere = ome('SizeC="1" SizeZ="1" SizeT="1"', inside=inside)
    decoded = decode_image(tiff(description=elsewhere, metadata=None), is_stack=True)
    np.testing.assert_array_equal(decoded.planes[0], PLANE)


def test_a_png_whose_part_claims_two_gigabytes() -> None:
    whole = cv2.imencode(".png", PLANE)[1].tobytes()
    claimed = whole.replace(whole[33:41], struct.pack(">I", 2**31 - 1) + b"IDAT")
    with pytest.raises(
        UnreadableImageError, match=r"cut off after .* bytes, or damaged: a part of it goes on"
    ):
        decode_image(claimed)
