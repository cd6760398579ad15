from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpa_cells.addresses import Address
from hpa_cells.segmentation.label_files import read_labels
from hpa_cells.types import Field

LABELS = np.array([[0, 1, 2, 2], [300, 300, 0, 7], [0, 0, 65_535, 7]], dtype=np.int32)


def save(path: Path, array: NDArray[np.generic], **options: str) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_16_bit(tmp_path: Path, suffix: str) -> None:
    labels = read_labels(save(tmp_path / f"a{suffix}", LABELS.astype(np.uint16)))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, LABELS)


def test_8_bit_and_palette(tmp_path: Path) -> None:
    small = np.minimum(LABELS, 255).astype(np.uint8)
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a.png", small)), small)
    painted = Image.fromarray(small)
    painted.putpalette(list(range(256)) * 3)
    painted.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "b.png"), small)


@pytest.mark.parametrize("compression", ["raw", "tiff_deflate", "tiff_lzw", "packbits"])
def test_32_bit_tiff(tmp_path: Path, compression: str) -> None:
    large = LABELS * 30_000
    path = save(tmp_path / "a.tif", large, compression=compression)
    np.testing.assert_array_equal(read_labels(path), large)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.bool_])
def test_npz_of_any_whole_type(tmp_path: Path, dtype: type[np.generic]) -> None:
    labels = (LABELS > 0).astype(dtype)
    np.savez_compressed(tmp_path / "a.npz", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz"), LABELS > 0)


def test_npz_of_several_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cells=LABELS, nuclei=LABELS // 2)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz", array="nuclei"), LABELS // 2)
    with pytest.raises(ValueError, match="holds the arrays cells, nuclei, expected `other`"):
        read_labels(tmp_path / "a.npz", array="other")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([{"code": "here"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read \(Object arrays cannot be loaded"):
        read_labels(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npz"])
def test_damaged_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 65_535, (80, 90)).astype(np.uint16)
    if suffix == ".npz":
        np.savez_compressed(path, noise)
    else:
        save(path, noise)
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 60):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.\w+ cannot be read"):
            read_labels(path)


def test_what_is_no_label_image(tmp_path: Path) -> None:
    colored = save(tmp_path / "a.png", np.zeros((4, 5, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"shape \(4, 5, 3\), expected one plane of ids"):
        read_labels(colored)
    for name, values, message in (
        ("float", np.full((2, 2), 0.5), "holds float64 values"),
        ("negative", np.full((2, 2), -3), "ids from -3 to -3"),
        ("huge", np.full((2, 2), 2**40), "expected 0 .background. to 2147483647"),
    ):
        np.savez(tmp_path / f"{name}.npz", values)
        with pytest.raises(ValueError, match=message):
            read_labels(tmp_path / f"{name}.npz")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\n(%pipe%touch harm) (w) file\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_another_program_would_have_to_run_is_not_opened(tmp_path: Path, suffix: str) -> None:
    # Pillow goes by the content, and has Ghostscript run a page of PostScript.
    path = tmp_path / f"a{suffix}"
    path.write_bytes(EPS)
    with pytest.raises(ValueError, match=r"cannot be read \(cannot identify image file"):
        read_labels(path)


def npz(path: Path, *, shape: tuple[int, ...], dtype: str = "<i4") -> Path:
    """An npz whose array has a header and next to nothing behind it."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cells.npy", b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + bytes(1000))
    return path


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((100_000, 100_000), "<i4", "header says 100000 x 100000 px"),
        ((1 << 40,), "<i4", "it holds an array of shape"),
        ((4, 3), "<U1000000", "it holds values of 4000000 bytes each"),
    ],
)
def test_an_npz_that_promises_too_much(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, found: str
) -> None:
    with pytest.raises(ValueError, match=found):
        read_labels(npz(tmp_path / "a.npz", shape=shape, dtype=dtype))


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_an_image_of_another_size_than_its_field_is_not_unpacked(tmp_path: Path, suffix: str) -> None:
    field = Field(field_id="f", image=np.zeros((4, 3, 4), np.uint8), pixel_size_um=0.08)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        npz(path, shape=(20_000, 30_000))
    else:
        # The pixels are not there: who unpacks them fails in another way.
        save(path, np.zeros((8, 9), np.uint8))
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(
        ValueError, match=r"has height x width \(\d+, \d+\), field f has \(3, 4\): segment the field"
    ):
        read_labels(path, field=field)


def test_numbers_of_a_header_are_not_run(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        text = f"{{'descr': open({str(harm)!r}, 'w'), 'fortran_order': False, 'shape': (1, 1)}}\n".encode()
        archive.writestr("cells.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="cannot be read"):
        read_labels(tmp_path / "a.npz")
    assert not harm.exists()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npz"])
def test_a_file_at_an_address(far: Any, tmp_path: Path, name: str) -> None:
    if name == "a.npz":
        np.savez(tmp_path / name, cells=LABELS, nuclei=LABELS // 2)
    else:
        save(tmp_path / name, LABELS.astype(np.uint16))
    address = Address(f"{far.url}/{name}")
    address.write_bytes((tmp_path / name).read_bytes())
    np.testing.assert_array_equal(read_labels(address), LABELS)
    address.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"Mask {address} cannot be read \(.*\): make it again"):
        read_labels(address)
