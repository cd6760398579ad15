"""COCO instances: what pycocotools reads and scores, and the way back."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hpa_cells.export import CocoFormat, read_coco, write_coco
from hpa_cells.masks import decode_counts
from hpa_cells.metrics import challenge_average_precision, mean_average_precision
from hpa_cells.table import CELL_COLUMNS, CellTable, Column

# Of pycocotools with numpy 2.
of_pycocotools = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def loaded(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def average_precisions(predicted: COCO, truth: COCO, num_classes: int) -> list[float]:
    """The metric of 2021 by COCOeval: with recalls at 1/n, 2/n ... 1, the mean precision is the envelope's area."""
    areas = []
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, predicted, "segm")
        evaluation.params.iouThrs = np.array([0.6])
        evaluation.params.maxDets = [10**6]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        for category in range(1, num_classes + 1):
            num_truths = len(truth.getAnnIds(catIds=[category]))
            if num_truths == 0:
                areas.append(float("nan"))
                continue
            evaluation.params.recThrs = np.arange(1, num_truths + 1) / num_truths
            evaluation.accumulate()
            # -1 marks a class that is nowhere detected.
            areas.append(max(evaluation.eval["precision"][0, :, category - 1, 0, 0].mean(), 0.0))
    return areas


def blocks(height: int, width: int, side: int) -> NDArray[np.int32]:
    """Square cells with ids that have gaps."""
    rows, columns = np.indices((height, width)) // side
    return (3 + 7 * (rows * -(-width // side) + columns)).astype(np.int32)


def as_truth(table: CellTable, share: float = 0.2) -> CellTable:
    columns = Column.probabilities(table.class_set)
    is_true = (table.cells[columns] < share).astype(np.float32)
    # Each cell has one class at least, as in truth.
    is_true.iloc[:, 5] = np.where(is_true.sum(axis=1) == 0, np.float32(1), is_true.iloc[:, 5])
    return replace(table, cells=table.cells.assign(**dict(is_true.items())))


@pytest.fixture(scope="module")
def both(make_table: Any) -> tuple[CellTable, CellTable]:
    """Predictions and a truth of fields that are not square, one of them with 300 cells, one with none."""
    images = {
        "a": blocks(60, 90, 12),
        "b": blocks(150, 180, 9),
        "c": blocks(33, 20, 11),
        "d": np.zeros((9, 7), np.int32),
    }
    images["c"][images["c"] > 5] += 70_000
    shifted = {field_id: np.roll(image, (1, 1), axis=(0, 1)) for field_id, image in images.items()}
    return make_table(shifted, seed=1), as_truth(make_table(images, seed=2))


def test_cocoeval_gives_our_average_precision(both: tuple[CellTable, CellTable], tmp_path: Path) -> None:
    predicted, truth = both
    write_coco(predicted, tmp_path / "predicted.json")
    write_coco(predicted, tmp_path / "results.json", results=True)
    write_coco(truth, tmp_path / "truth.json")
    ours = challenge_average_precision(predicted, truth)
    assert 0.05 < mean_average_precision(ours) < 0.95
    true = loaded(tmp_path / "truth.json")
    with contextlib.redirect_stdout(io.StringIO()):
        results = true.loadRes(str(tmp_path / "results.json"))
    for found in (loaded(tmp_path / "predicted.json"), results):
        areas = average_precisions(found, true, len(truth.class_set))
        np.testing.assert_allclose(areas, ours["ap"], rtol=0, atol=1e-12)


@of_pycocotools
def test_what_pycocotools_sees(both: tuple[CellTable, CellTable], tmp_path: Path) -> None:
    predicted, _ = both
    write_coco(predicted, tmp_path / "p.json")
    coco = loaded(tmp_path / "p.json")
    assert len(coco.imgs) == len(predicted.fields) == 4
    assert [each["name"] for each in coco.loadCats(range(1, 20))] == list(predicted.class_set.names)
    rows = predicted.cells.set_index([Column.FIELD_ID, Column.CELL_ID])
    assert len(coco.anns) == len(rows) * 19
    assert 0 not in coco.anns
    seen = set()
    for annotation in list(coco.anns.values())[::7]:
        image = coco.imgs[annotation["image_id"]]
        row = rows.loc[(image["field_id"], annotation["cell_id"])]
        mask = decode_counts(row[Column.CELL_RLE].encode(), image["height"], image["width"])
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        box = [Column.BBOX_X_PX, Column.BBOX_Y_PX, Column.BBOX_WIDTH_PX, Column.BBOX_HEIGHT_PX]
        assert annotation["bbox"] == row[box].tolist()
        assert annotation["area"] == row[Column.AREA_PX] == mask.sum()
        assert annotation["iscrowd"] == 0
        column = Column.probabilities(predicted.class_set)[annotation["category_id"] - 1]
        assert np.float32(annotation["score"]) == row[column]
        seen.add(image["field_id"])
    assert seen == {"a", "b", "c"}


def test_a_truth_has_its_positives_only(both: tuple[CellTable, CellTable], tmp_path: Path) -> None:
    _, truth = both
    write_coco(truth, tmp_path / "t.json")
    annotations = json.loads((tmp_path / "t.json").read_text())["annotations"]
    assert len(annotations) == int(truth.probabilities().sum())
    assert {each["score"] for each in annotations} == {1.0}
    write_coco(truth, tmp_path / "all.json", truth=False)
    assert len(json.loads((tmp_path / "all.json").read_text())["annotations"]) == truth.probabilities().size


def test_the_same_field_has_the_same_number_in_every_file(
    both: tuple[CellTable, CellTable], tmp_path: Path
) -> None:
    predicted, truth = both
    few = replace(
        predicted,
        cells=predicted.cells[predicted.cells[Column.FIELD_ID] == "b"].reset_index(drop=True),
        fields=predicted.fields[predicted.fields[Column.FIELD_ID] == "b"].reset_index(drop=True),
    )
    write_coco(few, tmp_path / "few.json")
    write_coco(truth, tmp_path / "truth.json")
    numbers = [
        {each["field_id"]: each["id"] for each in json.loads((tmp_path / name).read_text())["images"]}
        for name in ("few.json", "truth.json")
    ]
    assert numbers[0]["b"] == numbers[1]["b"]
    assert max(numbers[1].values()) < 2**53


@pytest.mark.parametrize("index", [0, 1])
def test_export_then_import_keeps_ids_masks_and_probabilities(
    both: tuple[CellTable, CellTable], tmp_path: Path, index: int
) -> None:
    table = both[index]
    write_coco(table, tmp_path / "c.json")
    read = read_coco(tmp_path / "c.json")
    no_nuclei = [name for name in table.cells if name != Column.NUCLEUS_RLE]
    pd.testing.assert_frame_equal(read.cells[no_nuclei], table.cells[no_nuclei], check_dtype=False)
    np.testing.assert_array_equal(read.probabilities(), table.probabilities())
    sizes = [Column.FIELD_ID, Column.HEIGHT_PX, Column.WIDTH_PX, Column.PIXEL_SIZE_UM, Column.NUM_CELLS]
    pd.testing.assert_frame_equal(read.fields[sizes], table.fields[sizes], check_dtype=False)
    assert read.class_set == table.class_set
    assert max(read.cells[Column.CELL_ID]) > 65_535


def test_least_confidence(both: tuple[CellTable, CellTable], tmp_path: Path) -> None:
    predicted, _ = both
    CocoFormat(min_confidence=0.9).write(predicted, tmp_path / "p.json")
    read = read_coco(tmp_path / "p.json")
    probabilities = predicted.probabilities()
    assert np.isfinite(read.probabilities()).sum() == (probabilities >= 0.9).sum()
    assert len(read.cells) == (probabilities >= 0.9).any(axis=1).sum() < len(predicted.cells)
    with pytest.raises(ValueError, match=r"format\.min_confidence is -1"):
        CocoFormat(min_confidence=-1)


def test_cells_without_probabilities_are_refused(both: tuple[CellTable, CellTable], tmp_path: Path) -> None:
    predicted, _ = both
    none = dict.fromkeys(Column.probabilities(predicted.class_set), np.float32(np.nan))
    with pytest.raises(ValueError, match="has a probability: predict with a model"):
        write_coco(replace(predicted, cells=predicted.cells.assign(**none)), tmp_path / "p.json")
    empty = replace(predicted, cells=predicted.cells.iloc[:0])
    with pytest.raises(ValueError, match="and no cell"):
        write_coco(empty, tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []


def test_fields_without_cells_only(make_table: Any, tmp_path: Path) -> None:
    write_coco(make_table({"a": np.zeros((4, 5), np.int32)}), tmp_path / "p.json")
    read = read_coco(tmp_path / "p.json")
    assert len(read.cells) == 0
    assert read.cells.columns.tolist() == [*CELL_COLUMNS, *Column.probabilities(read.class_set)]
    assert len(loaded(tmp_path / "p.json").imgs) == 1


@pytest.mark.parametrize(
    "field_id", ['"</script><script>alert(1)</script>', "=1+1", "ÄÖ 细胞 🧫", "a\nb", "../../x", "{}", "NA"]
)
def test_hostile_ids_come_back(make_table: Any, tmp_path: Path, field_id: str) -> None:
    table = make_table({"x": np.ones((4, 5), np.int32)})
    named = replace(
        table,
        cells=table.cells.assign(**{Column.FIELD_ID: field_id}),
        fields=table.fields.assign(**{Column.FIELD_ID: field_id}),
    )
    write_coco(named, tmp_path / "p.json")
    assert read_coco(tmp_path / "p.json").cells[Column.FIELD_ID].tolist() == [field_id]
    assert (tmp_path / "p.json").read_bytes().isascii()


def small(**changes: Any) -> dict[str, Any]:
    """A file of another program: no ids of cells, no keys, no class set."""
    mask = {"size": [1, 5], "counts": "41"}
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": mask, "score": 0.5},
        {"id": 2, "image_id": 7, "category_id": 4, "segmentation": mask},
    ]
    whole = {
        "images": [{"id": 7, "height": 1, "width": 5, "file_name": "x/y.png"}],
        "categories": [{"id": 3, "name": "Cytosol"}, {"id": 4, "name": "nucleoli"}],
        "annotations": annotations,
    }
    return whole | changes


def test_a_file_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(small()))
    with pytest.raises(ValueError, match="does not say what its classes are: give `class_set`"):
        read_coco(tmp_path / "c.json")
    read = read_coco(tmp_path / "c.json", class_set="hpa2021", pixel_size_um=2.0)
    [row] = read.cells.to_dict("records")
    assert (row["field_id"], row["cell_id"], row["bbox_x_px"], row["area_um2"]) == ("y", 1, 4, 4.0)
    assert (row["p_cytosol"], row["p_nucleoli"]) == (0.5, 1.0)
    assert np.isfinite(read.probabilities()).sum() == 2


def changed(name: str, **values: Any) -> dict[str, Any]:
    whole = small()
    whole[name][0] = whole[name][0] | values
    return whole


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        (small(images=None), r"its images \(None\) is no list"),
        (small(images=[3]), r"images\[0\] is no object"),
        (small(images=small()["images"] * 2), r"images\[1\]: its id \(7\) is that of an earlier image"),
        (
            small(images=[*small()["images"], small()["images"][0] | {"id": 8}]),
            "has two images of one field: keep one",
        ),
        (changed("images", height=0), r"its height \(0\) is no whole number from 1 to 32768"),
        (changed("images", height=1e400), r"its height \(inf\) is no whole number"),
        (changed("images", width=10**400), r"its width \(1000.*\.\.\.\) is no whole number"),
        (changed("images", height=5, width=1), r"is not of the size of its image, 5 x 1 \(height x width\)"),
        (changed("images", field_id=""), r"its field_id \(''\) is no text"),
        (changed("images", pixel_size_um=0), r"its pixel_size_um \(0\) is no number"),
        (small(categories=[{"id": 3, "name": "Cat"}]), r"its name \('Cat'\) is no class of hpa2021"),
        (small(categories=small()["categories"] * 2), r"categories\[2\]: its id \(3\) or its name"),
        (changed("annotations", id=2), r"annotations\[1\]: its id \(2\) is that of an earlier annotation"),
        (changed("annotations", image_id=8), r"its image_id \(8\) is that of no image"),
        (changed("annotations", category_id=True), r"its category_id \(True\) is no whole number"),
        (changed("annotations", category_id=9), "is that of no category"),
        (changed("annotations", category_id=4), "is there a second time for this cell"),
        (changed("annotations", score="1"), r"its score \('1'\) is no number"),
        (changed("annotations", score=float("nan")), r"its score \(nan\) is no number"),
        (changed("annotations", score=10**400), r"its score \(1000.* is no number"),
        (changed("annotations", cell_id=0), r"its cell_id \(0\) is no whole number from 1"),
        (changed("annotations", segmentation=[[0, 0, 1, 0, 1, 1]]), "is no compressed run-length mask"),
        (
            changed("annotations", segmentation={"size": [1, 5], "counts": [4, 1]}),
            "is no compressed run-length",
        ),
        (changed("annotations", segmentation={"size": [1, 5], "counts": "ä"}), "that COCO does not write"),
        (
            changed("annotations", segmentation={"size": [1, 5], "counts": "31"}),
            "field y: Mask of cell 1 covers 4",
        ),
        (
            changed("annotations", segmentation={"size": [1, 5], "counts": "4~"}),
            "Mask of cell 1 is not a COCO",
        ),
        (changed("annotations", segmentation={"size": [1, 5], "counts": "5"}), "mask of cell 1 is empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, whole: dict[str, Any], message: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=message) as error:
        read_coco(tmp_path / "c.json", class_set="hpa2021")
    assert str(tmp_path / "c.json") in str(error.value)


def test_one_id_for_two_masks_is_refused(tmp_path: Path) -> None:
    whole = small()
    other = {"size": [1, 5], "counts": "311"}
    whole["annotations"][0] |= {"cell_id": 4}
    whole["annotations"][1] |= {"cell_id": 4, "segmentation": other}
    (tmp_path / "c.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="is that of a cell with another mask"):
        read_coco(tmp_path / "c.json", class_set="hpa2021")


def test_cells_of_one_mask_stay_apart(tmp_path: Path) -> None:
    whole = small()
    for cell_id, annotation in zip((9, 4), whole["annotations"], strict=True):
        annotation |= {"cell_id": cell_id}
    (tmp_path / "c.json").write_text(json.dumps(whole))
    assert read_coco(tmp_path / "c.json", class_set="hpa2021").cells[Column.CELL_ID].tolist() == [4, 9]


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"images":', b"[" * 100_000])
def test_files_that_are_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"c\.json (cannot be read as JSON|holds a list)"):
        read_coco(tmp_path / "c.json")
    with pytest.raises(FileNotFoundError):
        read_coco(tmp_path / "absent.json")


@of_pycocotools
def test_real_masks(real_data: Path, make_table: Any, tmp_path: Path) -> None:
    import cv2

    masks = sorted((real_data / "hpa2021" / "masks").glob("*_cells.png"))
    images = {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32) for path in masks}
    table = make_table(images)
    write_coco(table, tmp_path / "c.json")
    read = read_coco(tmp_path / "c.json")
    for column in (Column.FIELD_ID, Column.CELL_ID, Column.CELL_RLE, Column.AREA_PX):
        assert read.cells[column].tolist() == table.cells[column].tolist()
    coco = loaded(tmp_path / "c.json")
    for image_id, image in coco.imgs.items():
        labels = np.zeros((image["height"], image["width"]), np.int32)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image_id], catIds=[1])):
            labels[coco.annToMask(annotation).astype(bool)] = annotation["cell_id"]
        np.testing.assert_array_equal(labels, images[image["field_id"]])
