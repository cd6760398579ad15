from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hpa_cells.fields import find_fields, read_field, scan_fields
from hpa_cells.types import Channel

Touch = Callable[..., Path]
NamesOf = Callable[..., list[str]]


def test_fields_are_sorted_and_each_channel_has_its_file(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("b"), *names_of("a", "tif"), *names_of("a_b", "jpg"), *names_of("c", "JPEG"))
    sources = find_fields(folder)
    assert [source.field_id for source in sources] == ["a", "a_b", "b", "c"]
    assert sources[0].files[Channel.ER].path == folder / "a_yellow.tif"
    assert list(sources[0].files) == list(Channel)


def test_other_files_are_left_aside_and_told(
    touch: Touch, names_of: NamesOf, caplog: pytest.LogCaptureFixture
) -> None:
    folder = touch(*names_of("f"), "f_cells.png", "f_nuclei.png", ".f_red.1.tmp.png", "plain.tif")
    (folder / "below").mkdir()
    with caplog.at_level(logging.INFO):
        assert len(find_fields(str(folder))) == 1
    assert "ignored 4 others: .f_red.1.tmp.png, f_cells.png, f_nuclei.png, plain.tif" in caplog.text


def test_a_missing_channel_is_an_error_unless_it_is_optional(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("f", without=(Channel.ER,)))
    with pytest.raises(
        ValueError, match=r"Field f has no yellow file \(found f_blue.png, .*add it, e\.g\. f_yellow"
    ):
        find_fields(folder)
    (source,) = find_fields(folder, optional=frozenset({Channel.ER}))
    assert source.missing == {Channel.ER}


def test_two_files_for_a_channel_are_refused(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("f"), "f_green.tif")
    with pytest.raises(
        ValueError, match=r"Field f has two files for green \(.*f_green.*f_green.*\): keep one"
    ):
        find_fields(folder)


def test_all_problems_are_counted_and_five_are_told(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("good"), *(f"bad{i}_red.png" for i in range(7)))
    with pytest.raises(ValueError, match="7 of 8 fields cannot be used") as caught:
        find_fields(folder)
    assert str(caught.value).count("has no green and no blue and no yellow file") == 5
    assert str(caught.value).endswith("and 2 more")


def test_a_broken_field_does_not_take_the_others_along(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("good"), "bad_red.png", *names_of("..evil"))
    sources, problems = scan_fields(folder)
    assert [source.field_id for source in sources] == ["good"]
    assert [problem.field_id for problem in problems] == ["..evil", "bad"]


def test_an_id_that_leaves_the_output_folder_is_refused(touch: Touch, names_of: NamesOf) -> None:
    folder = touch(*names_of("a\\..\\evil"), *names_of("nul"), *names_of("a\nb"))
    _, problems = scan_fields(folder)
    assert len(problems) == 3
    assert all("rename the field" in problem.message for problem in problems)


def test_an_empty_place_says_what_was_found_and_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"found nothing; expected <id>_red\.png"):
        find_fields(tmp_path)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"found readme\.txt; expected"):
        find_fields(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_fields(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"readme\.txt is a file, expected a folder"):
        find_fields(tmp_path / "readme.txt")


class TestCsv:
    @staticmethod
    def write(folder: Path, text: str) -> Path:
        path = folder / "fields.csv"
        path.write_text(text)
        return path

    def test_paths_start_from_its_folder(self, touch: Touch, names_of: NamesOf) -> None:
        folder = touch(*names_of("anything"))
        row = ",".join([*names_of("anything")[:3], str(folder / "anything_yellow.png")])
        (source,) = find_fields(self.write(folder, f"field_id,red,green,blue,yellow,note\nf,{row},hello\n"))
        assert source.field_id == "f"
        assert source.files[Channel.MICROTUBULES].path == folder / "anything_red.png"
        assert read_field(source).image.shape == (4, 4, 5)

    def test_an_empty_cell_is_a_missing_channel(self, touch: Touch, names_of: NamesOf) -> None:
        folder = touch(*names_of("x"))
        path = self.write(folder, "field_id,red,green,blue,yellow\nf,x_red.png,x_green.png,x_blue.png,\n")
        with pytest.raises(ValueError, match="Field f has no yellow file"):
            find_fields(path)
        assert find_fields(path, optional=frozenset({Channel.ER}))[0].missing == {Channel.ER}

    def test_problems_name_field_and_file(self, touch: Touch, names_of: NamesOf) -> None:
        folder = touch(*names_of("x"))
        good = ",".join(names_of("x"))
        sources, problems = scan_fields(
            self.write(
                folder, f"field_id,red,green,blue,yellow\ng,{good}\nempty,,,,\nlost,no.png,,,\n../e,{good}\n"
            )
        )
        assert [source.field_id for source in sources] == ["g"]
        messages = {problem.field_id: problem.message for problem in problems}
        assert "its row names no file" in messages["empty"]
        assert "no.png cannot be used: there is no such file" in messages["lost"]
        assert "holds '/'" in messages["../e"]

    def test_a_field_in_two_rows_is_refused(self, touch: Touch, names_of: NamesOf) -> None:
        folder = touch(*names_of("x"))
        good = ",".join(names_of("x"))
        with pytest.raises(ValueError, match="two files for red"):
            find_fields(self.write(folder, f"field_id,red,green,blue,yellow\nf,{good}\nf,{good}\n"))

    def test_other_columns_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match="has columns ID, Label; expected field_id, red, green, blue, yellow"
        ):
            find_fields(self.write(tmp_path, "ID,Label\nf,1\n"))


class TestOmeTiff:
    PLANES = np.arange(4 * 6 * 8, dtype=np.uint16).reshape(4, 6, 8)

    def write(self, path: Path, names: list[str] | None = None, num_channels: int = 4) -> Path:
        metadata: dict[str, object] = {"axes": "CYX"}
        if names:
            metadata["Channel"] = {"Name": names}
        tifffile.imwrite(
            path, self.PLANES[:num_channels], ome=True, metadata=metadata, photometric="minisblack"
        )
        return path

    def test_channels_without_known_names_are_in_the_usual_order(self, tmp_path: Path) -> None:
        self.write(tmp_path / "f.ome.tif")
        self.write(tmp_path / "g.ome.tiff", ["A", "B", "C", "D"])
        for source in find_fields(tmp_path):
            np.testing.assert_array_equal(read_field(source).image, self.PLANES)

    @pytest.mark.parametrize(
        "names", [["blue", "Yellow", "red", "green"], ["Nucleus", "ER", "Microtubules", "protein"]]
    )
    def test_channels_are_found_by_name(self, tmp_path: Path, names: list[str]) -> None:
        self.write(tmp_path / "f.ome.tif", names)
        (source,) = find_fields(tmp_path)
        np.testing.assert_array_equal(read_field(source).image, self.PLANES[[2, 3, 0, 1]])

    def test_three_channels_lack_er(self, tmp_path: Path) -> None:
        self.write(tmp_path / "f.ome.tif", num_channels=3)
        with pytest.raises(ValueError, match="no yellow file"):
            find_fields(tmp_path)
        (source,) = find_fields(tmp_path, optional=frozenset({Channel.ER}))
        field = read_field(source)
        assert field.missing == {Channel.ER}
        assert not field.image[Channel.ER].any()

    def test_metadata_that_promise_more_planes_are_told(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "f.ome.tif", num_channels=3)
        path.write_bytes(path.read_bytes().replace(b'SizeC="3"', b'SizeC="4"'))
        (source,) = find_fields(tmp_path)
        with pytest.raises(ValueError, match=r"Field f: .*f\.ome\.tif cannot be used: it"):
            read_field(source)

    def test_ambiguous_channels_are_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path / "half.ome.tif", ["red", "B", "C", "D"])
        self.write(tmp_path / "twice.ome.tif", ["red", "microtubules", "blue", "yellow"])
        self.write(tmp_path / "two.ome.tif", num_channels=2)
        tifffile.imwrite(tmp_path / "plain.ome.tif", self.PLANES, ome=False, photometric="minisblack")
        (tmp_path / "text.ome.tif").write_text("hello")
        _, problems = scan_fields(tmp_path)
        messages = {problem.field_id: problem.message for problem in problems}
        assert "its channels are named red, B, C, D" in messages["half"]
        assert "its channels are named red, microtubules, blue, yellow" in messages["twice"]
        assert "it has 2 channels" in messages["two"]
        assert "it has no OME metadata" in messages["plain"]
        assert "text.ome.tif cannot be used: it is not a whole TIFF" in messages["text"]
