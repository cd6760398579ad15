import concurrent.futures
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hpa_cells.table
from hpa_cells.classes import get_class_set
from hpa_cells.table import (
    CELL_COLUMNS,
    DESCRIPTIONS,
    FIELD_COLUMNS,
    Column,
    Provenance,
    TableWriter,
    read_table,
)

HPA2021 = get_class_set("hpa2021")
PROBABILITIES = Column.probabilities(HPA2021)
PROVENANCE = Provenance(
    version="1.0",
    class_set="hpa2021",
    source="model",
    weights_hash="abc",
    settings={"tta": {"num_turns": 1}, "pixel_size_um": None, "sizes": [1, 2]},
)


def cell_rows(field_id: str, cell_ids: list[int], *, embedding_size: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(len(cell_ids))
    rows: dict[str, Any] = {
        name: ["text"] * len(cell_ids) if pa.types.is_string(kind) else np.ones(len(cell_ids))
        for name, kind in CELL_COLUMNS.items()
    }
    rows |= {Column.FIELD_ID: field_id, Column.CELL_ID: cell_ids, Column.TOUCHES_BORDER: True}
    rows |= dict(zip(PROBABILITIES, rng.random((19, len(cell_ids)), dtype=np.float32), strict=True))
    if embedding_size:
        rows[Column.EMBEDDING] = list(rng.random((len(cell_ids), embedding_size), dtype=np.float32))
    return pd.DataFrame(rows, index=pd.RangeIndex(len(cell_ids)))


def field_row(field_id: str, num_cells: int) -> dict[str, Any]:
    row = {
        Column.FIELD_ID: field_id,
        Column.HEIGHT_PX: 48,
        Column.WIDTH_PX: 64,
        Column.PIXEL_SIZE_UM: 0.08,
        Column.NUM_CELLS: num_cells,
    }
    return row | dict.fromkeys(PROBABILITIES, 0.25 if num_cells else np.nan)


def write(folder: Path, fields: dict[str, list[int]], *, shard_fields: int = 2, **changes: Any) -> None:
    with TableWriter(folder, provenance=replace(PROVENANCE, **changes), shard_fields=shard_fields) as writer:
        for field_id, cell_ids in fields.items():
            writer.add(cells=cell_rows(field_id, cell_ids), field_row=field_row(field_id, len(cell_ids)))


def test_columns_have_distinct_names_in_one_place() -> None:
    assert PROBABILITIES[2] == "p_nucleoli"
    assert len({*CELL_COLUMNS, *PROBABILITIES, Column.EMBEDDING}) == len(CELL_COLUMNS) + 20
    assert set(FIELD_COLUMNS) - {Column.NUM_CELLS} <= set(CELL_COLUMNS)


def test_what_is_written_comes_back_sorted(tmp_path: Path) -> None:
    write(tmp_path, {"b": [300, 7], "a": [70_000], "c": [1, 2, 3]})
    table = read_table(tmp_path)
    assert table.provenance == PROVENANCE
    assert table.class_set is HPA2021
    assert table.fields[Column.FIELD_ID].tolist() == ["a", "b", "c"]
    assert table.fields[Column.NUM_CELLS].tolist() == [1, 2, 3]
    assert list(zip(table.cells[Column.FIELD_ID], table.cells[Column.CELL_ID], strict=True)) == [
        ("a", 70_000), ("b", 7), ("b", 300), ("c", 1), ("c", 2), ("c", 3),
    ]  # fmt: skip
    expected = cell_rows("c", [1, 2, 3])
    np.testing.assert_array_equal(table.probabilities()[3:], expected[PROBABILITIES])
    np.testing.assert_array_equal(
        np.stack(table.cells[Column.EMBEDDING][3:]), np.stack(expected[Column.EMBEDDING])
    )
    assert table.field_probabilities().shape == (3, 19)
    assert table.probabilities().dtype == table.field_probabilities().dtype == np.float32


def test_types_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1]})
    schema = pq.read_schema(tmp_path / "cells-000000.parquet")
    assert {name: schema.field(name).type for name in CELL_COLUMNS} == CELL_COLUMNS
    assert {schema.field(name).type for name in PROBABILITIES} == {pa.float32()}
    assert schema.field(Column.EMBEDDING).type == pa.list_(pa.float32())
    assert pq.read_schema(tmp_path / "fields-000000.parquet").names == [*FIELD_COLUMNS, *PROBABILITIES]


def test_shards_hold_the_number_of_fields_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {name: [1] for name in "abcde"}, shard_fields=2)
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        f"{kind}-{number:06d}.parquet" for kind in ("cells", "fields") for number in range(3)
    ]
    assert pq.read_metadata(tmp_path / "fields-000001.parquet").num_rows == 2


@pytest.mark.parametrize("shard_fields", [1, 4])
def test_fields_without_cells(tmp_path: Path, shard_fields: int) -> None:
    write(tmp_path, {"a": [], "b": [5], "c": []}, shard_fields=shard_fields)
    table = read_table(tmp_path)
    assert table.fields[Column.NUM_CELLS].tolist() == [0, 1, 0]
    assert np.isnan(table.field_probabilities()[[0, 2]]).all()
    assert table.cells[Column.CELL_ID].tolist() == [5]
    assert table.cells[Column.CELL_ID].dtype == np.int32


def test_one_field_alone(tmp_path: Path) -> None:
    write(tmp_path, {"a": [2, 5], "b": [], "c": [1]})
    table = read_table(tmp_path)
    alone = table.of_field("a")
    assert alone.cells[[Column.FIELD_ID, Column.CELL_ID]].to_numpy().tolist() == [["a", 2], ["a", 5]]
    assert alone.fields[Column.FIELD_ID].tolist() == ["a"]
    assert alone.provenance == table.provenance
    assert (len(table.of_field("b").cells), len(table.of_field("c").cells)) == (0, 1)
    with pytest.raises(
        ValueError, match=r"Field d is not in the table: give one of its 3 fields, such as a, b, c"
    ):
        table.of_field("d")


@pytest.mark.parametrize("num_fields", [1, 2, 3, 50])
def test_parts_are_the_table(tmp_path: Path, num_fields: int) -> None:
    write(tmp_path, {"a": [2, 5], "b": [], "c": [1], "d": [], "e": [7, 8, 9]})
    table = read_table(tmp_path)
    parts = list(table.parts(num_fields))
    assert [len(part.fields) for part in parts[:-1]] == [num_fields] * (len(parts) - 1)
    for name in ("fields", "cells"):
        together = pd.concat([getattr(part, name) for part in parts], ignore_index=True)
        pd.testing.assert_frame_equal(together, getattr(table, name))
    for part in parts:
        assert set(part.cells[Column.FIELD_ID]) <= set(part.fields[Column.FIELD_ID])
    nothing = replace(table, cells=table.cells.iloc[:0], fields=table.fields.iloc[:0])
    assert [len(part.fields) for part in nothing.parts(num_fields)] == [0]


def test_a_run_of_empty_fields_only(tmp_path: Path) -> None:
    write(tmp_path, {"a": [], "b": []})
    table = read_table(tmp_path)
    assert len(table.cells) == 0
    assert table.probabilities().shape == (0, 19)
    assert table.cells[Column.CELL_ID].dtype == np.int32


def test_a_shard_holds_a_field(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shard_fields is 0: give at least 1"):
        TableWriter(tmp_path, provenance=PROVENANCE, shard_fields=0)


def test_no_field_no_shard(tmp_path: Path) -> None:
    write(tmp_path / "run", {})
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_writer_goes_on(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1], "b": [1], "c": [1]})
    writer = TableWriter(tmp_path, provenance=PROVENANCE)
    assert writer.finished == {"a", "b", "c"}
    write(tmp_path, {"d": [4]})
    assert read_table(tmp_path).fields[Column.FIELD_ID].tolist() == ["a", "b", "c", "d"]


def test_a_new_folder_has_nothing_finished(tmp_path: Path) -> None:
    assert TableWriter(tmp_path / "new" / "run", provenance=PROVENANCE).finished == frozenset()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1]})
    settings = PROVENANCE.settings | {"tta": {"num_turns": 4}}
    with pytest.raises(ValueError, match=r"settings\.tta\.num_turns: 1 -> 4.*choose another `out`"):
        TableWriter(tmp_path, provenance=replace(PROVENANCE, settings=settings))


def test_differences_name_what_only_one_has() -> None:
    other = replace(PROVENANCE, weights_hash="def", settings={"tta": {"num_turns": 1}, "fusion": "cell"})
    assert PROVENANCE.differences(other) == [
        "settings.fusion: unset -> cell",
        "settings.sizes: [1, 2] -> unset",
        "weights_hash: abc -> def",
    ]
    assert PROVENANCE.differences(PROVENANCE) == []


@pytest.mark.parametrize(
    "settings",
    [{}, {"none": None, "text": "a"}, {"tuple": (1, 2)}, {"empty": {}, "list": []}, {"deep": [{"a": None}]}],
)
def test_settings_are_the_same_after_a_round_trip(tmp_path: Path, settings: dict[str, Any]) -> None:
    write(tmp_path, {"a": [1]}, settings=settings)
    TableWriter(tmp_path, provenance=replace(PROVENANCE, settings=settings))


def test_a_stop_in_the_block_keeps_what_was_added(tmp_path: Path) -> None:
    def stop() -> None:
        with TableWriter(tmp_path, provenance=PROVENANCE) as writer:
            writer.add(cells=cell_rows("a", [1]), field_row=field_row("a", 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert TableWriter(tmp_path, provenance=PROVENANCE).finished == {"a"}


def test_a_stop_between_the_two_shards_leaves_the_fields_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells of the shard are there, its fields are not: the next run writes both again."""
    write(tmp_path, {"a": [1]})
    (tmp_path / "fields-000000.parquet").rename(tmp_path / "lost")
    assert TableWriter(tmp_path, provenance=PROVENANCE).finished == frozenset()
    write(tmp_path, {"b": [2, 3]})
    table = read_table(tmp_path)
    assert table.cells[Column.FIELD_ID].tolist() == ["b", "b"]


def test_a_failed_write_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer = TableWriter(tmp_path, provenance=PROVENANCE)
    writer.add(cells=cell_rows("a", [1]), field_row=field_row("a", 1))
    with monkeypatch.context() as patch:
        patch.setattr(hpa_cells.table.writing.pq, "write_table", full_disk)
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    assert list(tmp_path.iterdir()) == []
    writer.flush()
    writer.flush()
    assert read_table(tmp_path).fields[Column.FIELD_ID].tolist() == ["a"]


def test_the_manifest_says_what_is_done_and_how(tmp_path: Path) -> None:
    def told() -> Any:
        return json.loads((tmp_path / "manifest.json").read_text())

    with TableWriter(tmp_path, provenance=PROVENANCE, shard_fields=1) as writer:
        for name, number in (("a", 2), ("b", 0), ("c", 3)):
            writer.add(cells=cell_rows(name, [*range(1, number + 1)]), field_row=field_row(name, number))
        # The last shard may still be on its way.
        assert told()["num_fields"] >= 1
    assert (told()["num_fields"], told()["num_cells"]) == (3, 5)
    assert Provenance(**told()["provenance"]) == PROVENANCE
    write(tmp_path, {"d": [1]})
    assert (told()["num_fields"], told()["num_cells"]) == (4, 6)
    # A stop before it was written leaves one that says less, until the command is repeated.
    (tmp_path / "manifest.json").unlink()
    assert len(read_table(tmp_path).fields) == 4
    write(tmp_path, {})
    assert told()["num_fields"] == 4


def test_a_copy_that_lacks_a_shard_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {name: [1] for name in "abc"}, shard_fields=1)
    (tmp_path / "fields-000001.parquet").unlink()
    with pytest.raises(ValueError, match=r"has 2 fields, by its manifest.json there were 3: copy the run"):
        read_table(tmp_path)
    # Repeated, the command does what is missing.
    write(tmp_path, {"b": [1]})
    assert len(read_table(tmp_path).fields) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"num_fields": "many"}', "[" * 100_000, "\xff"])
def test_a_manifest_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"a": [1]})
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"manifest.json cannot be read .*: copy the run again"):
        read_table(tmp_path)


def test_a_folder_without_table(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"holds no cell table .* give the folder that `hpa-cells predict`"
    ):
        read_table(tmp_path)


def test_shards_of_two_runs(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1]})
    write(tmp_path / "other", {"b": [1]}, weights_hash="def")
    for kind in ("cells", "fields"):
        (tmp_path / "other" / f"{kind}-000000.parquet").rename(tmp_path / f"{kind}-000001.parquet")
    with pytest.raises(ValueError, match=r"000001.parquet differs from .*weights_hash: abc -> def"):
        read_table(tmp_path)


def test_files_that_are_no_shards(tmp_path: Path) -> None:
    path = tmp_path / "fields-000000.parquet"
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match=r"fields-000000.parquet is not a Parquet file"):
        read_table(tmp_path)
    pq.write_table(pa.table({Column.FIELD_ID: ["a"]}), path)
    with pytest.raises(ValueError, match="was not written by hpa_cells: it carries no provenance"):
        read_table(tmp_path)
    path.rename(tmp_path / "fields-old.parquet")
    with pytest.raises(ValueError, match=r"fields-old.parquet is not a shard"):
        TableWriter(tmp_path, provenance=PROVENANCE)


def test_a_shard_whose_cells_are_gone(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1]})
    (tmp_path / "cells-000000.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"cells-000000.parquet"):
        read_table(tmp_path)


def test_a_table_without_embedding(tmp_path: Path) -> None:
    with TableWriter(tmp_path, provenance=PROVENANCE) as writer:
        writer.add(cells=cell_rows("a", [1, 2], embedding_size=0), field_row=field_row("a", 2))
    assert Column.EMBEDDING not in read_table(tmp_path).cells


def test_two_writers_of_one_run_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with TableWriter(tmp_path, provenance=PROVENANCE) as first:
        with pytest.raises(BlockingIOError, match="Another command is writing"):
            write(tmp_path, {"b": [1]})
        first.add(cells=cell_rows("a", [1]), field_row=field_row("a", 1))
    write(tmp_path, {"b": [1]})
    assert list(read_table(tmp_path).fields[Column.FIELD_ID]) == ["a", "b"]


def test_a_folder_whose_relative_path_looks_like_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("day:1"), {"a": [1]})
    assert len(read_table(Path("day:1")).cells) == 1
    write(Path("day:1"), {"b": [1]})
    assert len(read_table(Path("day:1")).cells) == 2


def test_a_table_at_an_address_that_cannot_be_reached_is_not_called_broken(bucket: Any) -> None:
    with pytest.raises(OSError, match=r"s3://locked/run cannot be reached \(NoCredentialsError"):
        read_table("s3://locked/run")
    bucket.objects["bucket/run/fields-000000.parquet"] = b"no parquet"
    with pytest.raises(ValueError, match=r"s3://bucket/run/fields-000000\.parquet is not a Parquet file"):
        read_table("s3://bucket/run")
    with pytest.raises(FileNotFoundError, match=r"s3://bucket/nothing holds no cell table"):
        read_table("s3://bucket/nothing")


def test_a_stop_while_a_shard_is_written_writes_no_field_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C comes while the first shard is on its way; the writer is killed between the files of the second."""
    writer = TableWriter(tmp_path, provenance=PROVENANCE, shard_fields=2)
    write_one, written = writer._write, []

    def slow(path: Path, *rest: Any) -> None:
        written.append(path.name)
        if len(written) == 1:
            time.sleep(0.2)
        if len(written) == 4:
            raise SystemError("killed")
        write_one(path, *rest)

    monkeypatch.setattr(writer, "_write", slow)
    waited = []

    def interrupted(futures: list[Any]) -> Any:
        waited.append(futures)
        if len(waited) == 1:
            raise KeyboardInterrupt
        return concurrent.futures.wait(futures)

    monkeypatch.setattr(hpa_cells.table.writing, "wait", interrupted)

    def stop() -> None:
        with writer:
            for name in "abcd":
                writer.add(cells=cell_rows(name, [1, 2]), field_row=field_row(name, 2))

    with pytest.raises(SystemError):
        stop()
    assert written == [
        "cells-000000.parquet", "fields-000000.parquet", "cells-000001.parquet", "fields-000001.parquet",
    ]  # fmt: skip
    missing = set("abcd") - TableWriter(tmp_path, provenance=PROVENANCE).finished
    assert missing == {"c", "d"}
    write(tmp_path, {name: [1, 2] for name in sorted(missing)})
    assert read_table(tmp_path).cells[Column.FIELD_ID].tolist() == [*"aabbccdd"]


def test_cells_of_fields_that_were_not_written_with_them_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1]})
    fields = (tmp_path / "fields-000000.parquet").read_bytes()
    write(tmp_path / "more", {"a": [1], "b": [1]})
    (tmp_path / "more" / "cells-000000.parquet").rename(tmp_path / "cells-000000.parquet")
    assert (tmp_path / "fields-000000.parquet").read_bytes() == fields
    assert read_table(tmp_path).cells[Column.FIELD_ID].tolist() == ["a"]


def test_a_writer_sees_what_another_one_wrote_before_it_came_in(tmp_path: Path) -> None:
    late = TableWriter(tmp_path, provenance=PROVENANCE)
    write(tmp_path, {"a": [1]})
    (tmp_path / ".cells-000007.beef.tmp.parquet").write_bytes(b"half")
    with late:
        assert late.finished == {"a"}
        late.add(cells=cell_rows("b", [1]), field_row=field_row("b", 1))
    assert len(read_table(tmp_path).fields) == 2
    assert not list(tmp_path.glob(".*"))


def test_the_page_tells_every_column_as_the_code_does() -> None:
    page = (Path(__file__).parents[1] / "docs" / "table.md").read_text(encoding="utf-8")
    of_cells, of_fields = page.split("## Columns of fields")
    names = {
        pa.string(): "text",
        pa.bool_(): "true or false",
        pa.float32(): "float32",
        pa.float64(): "float64",
    }
    for part, columns in ((of_cells, CELL_COLUMNS), (of_fields, FIELD_COLUMNS)):
        told = [line for line in part.splitlines() if line.startswith("| `") and "p_…" not in line]
        expected = [
            f"| `{name}` | {names.get(kind, str(kind))} | {DESCRIPTIONS[name]} |"
            for name, kind in columns.items()
        ]
        if columns is CELL_COLUMNS:
            expected.append(f"| `{Column.EMBEDDING}` | list of float32 | {DESCRIPTIONS[Column.EMBEDDING]} |")
        assert told == expected
