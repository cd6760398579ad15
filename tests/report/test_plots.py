"""Figures of matplotlib: what they show, not how they look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hpa_cells.figures import save_figure
from hpa_cells.report import plot_class_montage, plot_gallery, plot_overlay, plot_side_by_side, tile_grid
from hpa_cells.table import Column


def title(axes: Axes) -> str:
    return axes.get_title(loc="left")


def words(figure) -> list[str]:
    return [axes.texts[0].get_text() for axes in figure.axes]


def test_an_overlay_has_its_field_and_a_scale_bar(world) -> None:
    source = world.sources[0]
    num_cells = (world.table.cells[Column.FIELD_ID] == source.field_id).sum()
    figure = plot_overlay(world.table, source)
    (axes,) = figure.axes
    assert title(axes) == f"{source.field_id}: {num_cells} cells"
    left, right = axes.lines[0].get_xdata()
    # Below the picture: nothing is covered, and the picture is not made smaller for it.
    assert min(axes.lines[0].get_ydata()) > axes.get_ylim()[0]
    bar_um = float(axes.texts[0].get_text().removesuffix(" µm"))
    assert (right - left) * 0.3 == pytest.approx(bar_um)
    height, width = world.table.fields.iloc[0][[Column.HEIGHT_PX, Column.WIDTH_PX]]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, width), (height, 0))
    assert axes.images[0].get_extent() == [0, width, height, 0]


def test_no_scale_bar_where_the_size_of_a_pixel_is_not_known(world) -> None:
    table = replace(world.table, fields=world.table.fields.assign(pixel_size_um=np.nan))
    (axes,) = plot_overlay(table, world.sources[0]).axes
    assert len(axes.images) == 1
    assert not axes.lines
    assert not any("µm" in text.get_text() for text in axes.texts)


def test_the_legend_names_the_classes_of_the_outlines(world) -> None:
    certain = world.table.cells.copy()
    columns = Column.probabilities(world.table.class_set)
    certain[columns] = 0.1
    certain["p_nucleoli"] = 0.9
    (legend,) = plot_overlay(
        type(world.table)(
            cells=certain,
            fields=world.table.fields,
            class_set=world.table.class_set,
            provenance=world.table.provenance,
        ),
        world.sources[0],
    ).legends
    assert [text.get_text() for text in legend.get_texts()] == ["Nucleoli"]


def test_a_gallery_shows_the_cells_asked_for_in_their_order(world) -> None:
    figure = plot_gallery(world.table, world.sources[0], num_columns=2)
    rows = world.table.cells[world.table.cells[Column.FIELD_ID] == world.sources[0].field_id]
    assert [int(text.split("\n")[0].split(",")[0]) for text in words(figure)] == rows[Column.CELL_ID].tolist()
    chosen = rows[Column.CELL_ID].tolist()[::-1][:2]
    figure = plot_gallery(world.table, world.sources[0], cell_ids=chosen)
    assert [int(text.split("\n")[0].split(",")[0]) for text in words(figure)] == chosen


def test_a_gallery_names_the_most_probable_classes(world) -> None:
    row = world.table.cells.iloc[0]
    figure = plot_gallery(world.table, world.sources[0], cell_ids=[int(row[Column.CELL_ID])])
    probabilities = row[Column.probabilities(world.table.class_set)].to_numpy(np.float32)
    shown = [float(line.split()[0]) for line in words(figure)[0].split("\n")[1:]]
    assert shown == [round(float(each), 2) for each in np.sort(probabilities)[::-1][:3]]


def test_a_montage_falls_in_probability_over_all_fields(world) -> None:
    figure = plot_class_montage(world.table, world.sources, "nucleoli", num_cells=3, num_columns=2)
    shown = [float(text.split("\n")[0]) for text in words(figure)]
    best = np.sort(world.table.cells["p_nucleoli"].to_numpy())[::-1][:3]
    assert shown == [round(float(each), 2) for each in best]


def test_side_by_side_tells_cells_that_the_other_lacks(world, make_table, label_images, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "hpa_cells.report.field_plots.draw_over_field",
        lambda channels, marks: drawn.append(marks) or np.zeros((4, 4, 3), np.uint8),
    )
    fewer = {field_id: image.copy() for field_id, image in label_images.items()}
    source = world.sources[0]
    image = fewer[source.field_id]
    lost = int(image.max())
    image[image == lost] = 0
    figure = plot_side_by_side(world.table, make_table(fewer), source, names=("run", "truth"))
    ours, theirs = drawn
    told = figure.legends[0].get_patches()[-1]
    assert told.get_label() == "only here, none on the other side at IoU 0.6"
    assert told.get_facecolor() == (1, 1, 1, 1)
    assert [mark.cell_id for mark in ours if mark.classes == ("only here",)] == [lost]
    assert not [mark for mark in theirs if mark.classes == ("only here",)]


def test_the_legend_has_no_white_where_both_sides_have_all_cells(world) -> None:
    (legend,) = plot_side_by_side(world.table, world.table, world.sources[0]).legends
    assert not [text for text in legend.get_texts() if "only here" in text.get_text()]


@pytest.mark.parametrize("field_id", ["a$_$b", "$f^$", "細胞 $1"])
def test_an_id_is_no_formula_and_may_have_letters_of_any_script(
    world, tmp_path: Path, caplog, field_id: str
) -> None:
    source = replace(world.sources[0], field_id=field_id)
    names = {Column.FIELD_ID: {world.sources[0].field_id: field_id}}
    table = replace(
        world.table, cells=world.table.cells.replace(names), fields=world.table.fields.replace(names)
    )
    for number, figure in enumerate(
        [
            plot_overlay(table, source),
            plot_side_by_side(table, table, source),
            plot_gallery(table, source),
            plot_class_montage(table, [source], "nucleoli", num_cells=2),
        ]
    ):
        path = tmp_path / f"{number}.png"
        save_figure(figure, path)
        assert path.stat().st_size
    # Once for a letter, not for each figure, and not as a warning with a line of the program.
    assert len(caplog.messages) == len(set(caplog.messages)) <= 2


def test_what_is_not_there_is_told(world) -> None:
    with pytest.raises(ValueError, match="has no cell 999, only"):
        plot_gallery(world.table, world.sources[0], cell_ids=[999])
    with pytest.raises(ValueError, match="'nucleolus' is not a class of hpa2021"):
        plot_class_montage(world.table, world.sources, "nucleolus")
    with pytest.raises(ValueError, match="num_columns is 0"):
        plot_gallery(world.table, world.sources[0], num_columns=0)
    other = type(world.table)(
        cells=world.table.cells.iloc[:0],
        fields=world.table.fields.iloc[:0],
        class_set=world.table.class_set,
        provenance=world.table.provenance,
    )
    with pytest.raises(ValueError, match="is not in the table"):
        plot_overlay(other, world.sources[0])


def test_a_field_without_cells(world, make_table, label_images) -> None:
    empty = make_table({field_id: np.zeros_like(image) for field_id, image in label_images.items()})
    assert title(plot_overlay(empty, world.sources[0]).axes[0]).endswith(": 0 cells")
    assert not plot_gallery(empty, world.sources[0]).axes
    assert not plot_class_montage(empty, world.sources, "nucleoli").axes


def test_montages_share_their_tiles_and_read_each_field_once(world, monkeypatch) -> None:
    from hpa_cells.report import CellTiles, cell_tiles

    read: list[str] = []
    read_pixels = cell_tiles.read_pixels

    def counted(table, source):
        read.append(source.field_id)
        return read_pixels(table, source)

    monkeypatch.setattr(cell_tiles, "read_pixels", counted)
    keys = ["nucleoli", "cytosol", "negative"]
    tiles = CellTiles(world.table, world.sources, class_keys=keys, num_cells=3)
    for key in keys:
        shared = plot_class_montage(world.table, world.sources, key, num_cells=3, tiles=tiles)
        assert len(read) == len(set(read))
        alone = plot_class_montage(world.table, world.sources, key, num_cells=3)
        del read[-len(set(read)) :]
        assert words(shared) == words(alone)
        for mine, own in zip(shared.axes, alone.axes, strict=True):
            np.testing.assert_array_equal(mine.images[0].get_array(), own.images[0].get_array())


def test_a_cell_below_one_half_is_marked(world) -> None:
    column = "p_nucleoli"
    figure = plot_class_montage(world.table, world.sources, "nucleoli", num_cells=100)
    probabilities = sorted(world.table.cells[column], reverse=True)
    assert min(probabilities) < 0.5 < max(probabilities)
    assert [text.split("\n")[0] for text in words(figure)] == [
        f"{each:.2f}{'' if each >= 0.5 else '?'}" for each in probabilities
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0", "000a6c98-bb9b-11e8-b2b9-\nac1f6b6435d0"),
        ("also Nucleoplasm, Nuclear membrane", "also Nucleoplasm,\nNuclear membrane"),
        ("cell 3", "cell 3"),
        ("", ""),
    ],
)
def test_words_below_a_tile_are_all_there(line: str, shown: str) -> None:
    figure = tile_grid([np.zeros((4, 4, 3), dtype=np.uint8)], [f"{line}\nlast"], 1, "a title")
    (text,) = figure.axes[0].texts
    assert text.get_text() == f"{shown}\nlast"
    # Below the tile there is room for all of them.
    assert text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).y0 > 0


def test_an_id_without_end_keeps_both_ends() -> None:
    figure = tile_grid([np.zeros((4, 4, 3), dtype=np.uint8)], ["a" * 100 + "b" * 100], 1, "a title")
    shown = figure.axes[0].texts[0].get_text()
    assert shown.count("\n") == 2
    assert "".join(shown.split("\n")) == "a" * 35 + "…" + "b" * 35
