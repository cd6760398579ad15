from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import hpa_cells.explore.embedding_figures as embedding_figures
from hpa_cells.classes import CLASS_SETS, ClassSet
from hpa_cells.explore import MapMethod, write_label_map, write_line_map, write_score_map


def world(num_cells: int, class_set: ClassSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    scores = draw.random((num_cells, len(class_set))).astype(np.float32)
    return draw.normal(size=(num_cells, 2)).astype(np.float32), scores, np.arange(num_cells) == 0


def dark_share(path: Path) -> float:
    """Share of the pixels of the map that are dark and blue, as what stands out is."""
    blue, _, red = cv2.imread(str(path)).astype(int).transpose(2, 0, 1)
    return float(((blue - red > 40) & (red < 120)).mean())


@pytest.mark.parametrize(("name", "num_cells"), [("hpa2021", 1), ("hpa2018", 90)])
def test_maps_are_drawn(tmp_path: Path, name: str, num_cells: int) -> None:
    class_set = CLASS_SETS[name]
    places, scores, is_odd = world(num_cells, class_set)
    write_score_map(
        places,
        scores,
        is_odd=is_odd,
        class_set=class_set,
        method=MapMethod.UMAP,
        path=tmp_path / "scores.png",
    )
    write_label_map(
        places,
        scores > 0.5,
        is_odd=is_odd,
        class_set=class_set,
        method=MapMethod.UMAP,
        path=tmp_path / "labels.png",
    )
    assert dark_share(tmp_path / "scores.png") > 0
    assert dark_share(tmp_path / "labels.png") > 0


def test_only_what_is_labelled_or_scores_high_stands_out(tmp_path: Path) -> None:
    class_set = CLASS_SETS["hpa2021"]
    places, scores, is_odd = world(90, class_set)
    shares = []
    for level in (0.0, 1.0):
        write_score_map(
            places,
            level + 0 * scores,
            is_odd=is_odd,
            class_set=class_set,
            method=MapMethod.UMAP,
            path=tmp_path / "scores.png",
        )
        write_label_map(
            places,
            scores < level,
            is_odd=is_odd,
            class_set=class_set,
            method=MapMethod.UMAP,
            path=tmp_path / "labels.png",
        )
        shares.append((dark_share(tmp_path / "scores.png"), dark_share(tmp_path / "labels.png")))
    assert shares[0][1] == 0
    assert shares[1][1] > 0.01
    assert shares[1][0] > shares[0][0]


def test_a_cell_far_out_does_not_press_the_others_together() -> None:
    places = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    places[0] = 1e4
    held = embedding_figures._held(places)
    assert held.max() < 10
    middle = np.abs(places).max(axis=1) < 1
    np.testing.assert_array_equal(held[middle], places[middle])


def test_of_very_many_cells_always_the_same_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_figures, "_MOST_POINTS", 50)
    rows = np.arange(0, 2000, 2)
    shown = embedding_figures._some(rows)
    assert len(set(shown)) == 50
    assert set(shown) < set(rows)
    assert shown.max() > 1000
    np.testing.assert_array_equal(shown, embedding_figures._some(rows))
    assert embedding_figures._some(rows[:7]).tolist() == rows[:7].tolist()


def test_a_long_name_keeps_its_number() -> None:
    short = embedding_figures._shortened("Vesicles and punctate cytosolic patterns: 12,345")
    assert short.endswith("…: 12,345")
    assert len(short) == embedding_figures._LONGEST_TITLE + 2
    assert embedding_figures._shortened("Cytosol: 3") == "Cytosol: 3"


def test_each_panel_has_a_frame_in_which_all_its_cells_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a group at the edge of one panel is taken for one of the next."""
    class_set = CLASS_SETS["hpa2021"]
    places, scores, is_odd = world(200, class_set)
    seen = []
    monkeypatch.setattr(embedding_figures, "save_figure", lambda figure, path: seen.append(figure))
    write_label_map(
        places,
        scores > 0.5,
        is_odd=is_odd,
        class_set=class_set,
        method=MapMethod.PCA,
        path=tmp_path / "l.png",
    )
    panels = [axes for axes in seen[0].get_axes() if axes.get_title(loc="left")]
    assert len(panels) == 1 + len(class_set)
    held = embedding_figures._held(places)
    for axes in panels:
        assert axes.axison
        assert all(spine.get_visible() for spine in axes.spines.values())
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left < held[:, 0].min() - 0.02 * np.ptp(held[:, 0])
        assert right > held[:, 0].max() + 0.02 * np.ptp(held[:, 0])
        assert bottom < held[:, 1].min() < held[:, 1].max() < top
    # Places without a panel stay empty.
    assert not any(axes.axison for axes in seen[0].get_axes() if axes not in panels)


@pytest.mark.parametrize("num_lines", [1, 45])
def test_cell_lines_stand_out_each_in_its_panel(
    tmp_path: Path, num_lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, _, is_odd = world(200, CLASS_SETS["hpa2021"])
    lines = [f"line {row % num_lines}" for row in range(200)]
    seen = []
    monkeypatch.setattr(embedding_figures, "save_figure", lambda figure, path: seen.append(figure))
    write_line_map(places, lines, is_odd=is_odd, method=MapMethod.PCA, path=tmp_path / "lines.png")
    titles = [axes.get_title(loc="left") for axes in seen[0].get_axes()]
    shown = [title for title in titles if title.startswith("line ")]
    assert shown[0] == f"line 0: {-(-200 // num_lines)}"
    assert len(shown) == min(num_lines, embedding_figures._MOST_LINES)
    assert "on its first two principal components" in seen[0].get_suptitle().replace("\n", " ")
