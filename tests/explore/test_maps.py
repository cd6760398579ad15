from __future__ import annotations

import logging

import numpy as np
import pytest

import hpa_cells.explore.maps as maps
from hpa_cells.classes import get_class_set
from hpa_cells.explore import CellEmbeddings, EmbeddingSettings, MapMethod, place_cells
from hpa_cells.explore.embeddings import plane
from hpa_cells.explore.maps import lay_out
from hpa_cells.explore.neighbours import nearest

needs_umap = pytest.mark.skipif(
    not maps.find_spec("umap"), reason="umap-learn is not installed: pip install 'hpa-cells[maps]'"
)


def groups(num_each: int = 40, num_groups: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in groups that differ along axes of which the first two principal components know little."""
    draw = np.random.default_rng(0)
    middles = 6 * np.eye(num_groups, 12)
    group = np.repeat(np.arange(num_groups), num_each)
    return (middles[group] + draw.normal(size=(len(group), 12))).astype(np.float32), group


def test_the_method_is_known_by_its_name() -> None:
    assert MapMethod.parse("pca") is MapMethod.PCA
    with pytest.raises(ValueError, match="map is 'tsne': use umap or pca"):
        MapMethod.parse("tsne")


def test_without_umap_there_are_principal_components_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert MapMethod.parse("umap") is MapMethod.PCA
    assert "a UMAP needs umap-learn, which pip install 'hpa-cells[maps]' brings" in caplog.text
    caplog.clear()
    assert MapMethod.parse("pca") is MapMethod.PCA
    assert not caplog.text


def test_few_cells_are_on_principal_components() -> None:
    assert MapMethod.UMAP.of_cells(44) is MapMethod.PCA
    assert MapMethod.UMAP.of_cells(45) is MapMethod.UMAP
    vectors, _ = groups(10)
    rows = np.arange(len(vectors))
    places = lay_out(vectors, rows, nearest(vectors, rows, 5), MapMethod.PCA)
    np.testing.assert_array_equal(places, plane(vectors))


@pytest.mark.slow
@needs_umap
def test_a_umap_is_the_same_each_time_and_keeps_groups_together() -> None:
    vectors, group = groups()
    # Three copies of one cell, which have no distance.
    vectors[[5, 6, 7]] = vectors[4]
    sample = np.sort(np.random.default_rng(1).choice(len(vectors), 90, replace=False))
    neighbours = nearest(vectors, sample, 5)
    places = lay_out(vectors, sample, neighbours, MapMethod.UMAP)
    assert places.dtype == np.float32
    assert np.isfinite(places).all()
    np.testing.assert_array_equal(places, lay_out(vectors, sample, neighbours, MapMethod.UMAP))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (group[apart.argmin(axis=1)] == group).mean() > 0.95
    # Slow and obvious: where those lie that the map was not made of.
    for row in set(range(len(vectors))) - set(sample.tolist()):
        weights = [1 / max(distance, 1e-9) for distance in neighbours[0][row]]
        expected = sum(
            weight * places[other] for weight, other in zip(weights, neighbours[1][row], strict=True)
        ) / sum(weights)
        np.testing.assert_allclose(places[row], expected, rtol=1e-4)


@pytest.mark.slow
@needs_umap
def test_cells_are_placed_by_umap_and_are_as_odd_as_without() -> None:
    vectors, _ = groups()
    class_set = get_class_set("hpa2021")
    cells = CellEmbeddings(
        class_set=class_set,
        field_ids=("a",),
        field_of_cell=np.zeros(len(vectors), dtype=np.int64),
        cell_ids=np.arange(1, len(vectors) + 1, dtype=np.int32),
        vectors=vectors,
        probabilities=np.zeros((len(vectors), len(class_set)), dtype=np.float32),
    )
    settings = EmbeddingSettings(
        neighbours=5, max_deviation=3.5, max_copy_distance=0.1, reference_cells=20_000
    )
    by_umap, by_pca = (place_cells(cells, settings, method) for method in (MapMethod.UMAP, MapMethod.PCA))
    assert by_umap.drop(columns=["x", "y"]).equals(by_pca.drop(columns=["x", "y"]))
    assert not np.allclose(by_umap[["x", "y"]], by_pca[["x", "y"]])


@needs_umap
def test_cells_that_are_all_alike_have_a_place() -> None:
    vectors = np.zeros((60, 8), dtype=np.float32)
    rows = np.arange(60)
    assert np.isfinite(lay_out(vectors, rows, nearest(vectors, rows, 5), MapMethod.UMAP)).all()
