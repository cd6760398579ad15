"""Embeddings of a network that stays as it is: once computed, read ever after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpa_cells.models import CellClassifier, model_input
from hpa_cells.training.crop_store import CropStore
from hpa_cells.training.data import LabelledCells
from hpa_cells.training.embedding import embed_fields

CPU = torch.device("cpu")


def embed(folder: Path, classifier: CellClassifier, cells: LabelledCells, batch_cells: int = 7) -> np.ndarray:
    return embed_fields(folder, classifier, cells, batch_cells=batch_cells, device=CPU).means


@pytest.fixture
def many(cells: LabelledCells) -> LabelledCells:
    """Twenty fields of 0 to 3 cells fewer than the others: more than one file."""
    chosen = [*range(12), *range(8)]
    rows = tuple(cells.rows_of_field[field][: 5 - field % 4] for field in chosen)
    return replace(
        cells,
        field_ids=tuple(f"g{position:02d}" for position in range(20)),
        labels=cells.labels[chosen],
        rows_of_field=rows,
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops each call of a network was given."""
    seen: list[int] = []
    embed_crops = CellClassifier.embed

    def spy(self: CellClassifier, images: torch.Tensor, *more: Any) -> torch.Tensor:
        seen.append(len(images))
        return embed_crops(self, images, *more)

    monkeypatch.setattr(CellClassifier, "embed", spy)
    return seen


def test_a_field_is_the_mean_of_its_cells(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells
) -> None:
    means = embed(tmp_path, classifier, many)
    assert means.shape == (20, classifier.embedding_size)
    classifier.eval()
    for mean, rows in zip(means, many.rows_of_field, strict=True):
        with torch.inference_mode():
            one_by_one = [
                classifier.embed(model_input(many.store.read(rows[[position]])))
                for position in range(len(rows))
            ]
        np.testing.assert_allclose(mean, torch.cat(one_by_one).mean(dim=0).numpy(), rtol=1e-4, atol=1e-6)


def test_every_cell_comes_once_field_after_field(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells
) -> None:
    embedded = embed_fields(tmp_path, classifier, many, batch_cells=9, device=CPU)
    assert embedded.sizes.tolist() == [len(rows) for rows in many.rows_of_field]
    parts = list(embedded.of_cells())
    assert len(parts) == 2
    cells = np.split(np.concatenate(parts), np.cumsum(embedded.sizes)[:-1])
    np.testing.assert_allclose([each.mean(axis=0) for each in cells], embedded.means, rtol=1e-5, atol=1e-7)


def test_the_head_of_a_mean_says_the_mean_of_the_heads(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells
) -> None:
    means = torch.from_numpy(embed(tmp_path, classifier, many)).float()
    rows = np.concatenate(many.rows_of_field)
    bag_index = torch.arange(20).repeat_interleave(torch.tensor([len(each) for each in many.rows_of_field]))
    assert classifier.field_head is not None
    classifier.field_head.load_state_dict(classifier.cell_head.state_dict())
    with torch.inference_mode():
        outputs = classifier(model_input(many.store.read(rows)), bag_index)
        torch.testing.assert_close(classifier.cell_head(means), outputs.field_logits, rtol=1e-4, atol=1e-5)
    sums = torch.zeros(20, 19).index_add(0, bag_index, outputs.cell_logits)
    torch.testing.assert_close(
        sums / torch.bincount(bag_index)[:, None], outputs.field_logits, rtol=1e-4, atol=1e-5
    )


def test_what_was_computed_is_read(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells, calls: list[int]
) -> None:
    first = embed(tmp_path, classifier, many)
    num_cells = many.num_cells
    assert sum(calls) == num_cells
    assert max(calls) == 7
    calls.clear()
    np.testing.assert_array_equal(embed(tmp_path, classifier, many), first)
    assert not calls

    # After a stop what is missing is computed, and only that.
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == 2
    files[0].unlink()
    np.testing.assert_array_equal(embed(tmp_path, classifier, many), first)
    assert 0 < sum(calls) < num_cells
    assert not list(tmp_path.rglob("*.tmp*"))


def test_a_stop_leaves_whole_files(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed(tmp_path / "whole", classifier, many)
    save = np.save

    def stopped(file: Path, array: np.ndarray, **options: Any) -> None:
        save(file, array, **options)
        if len(list((tmp_path / "stopped").rglob("*.npy"))) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path / "stopped", classifier, many)
    monkeypatch.undo()
    assert len(list((tmp_path / "stopped").rglob("*.npy"))) == 1
    np.testing.assert_array_equal(embed(tmp_path / "stopped", classifier, many), first)


def test_other_weights_or_pixels_are_other_files(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells, calls: list[int]
) -> None:
    first = embed(tmp_path, classifier, many)
    calls.clear()
    # Heads are nothing that an embedding depends on.
    torch.nn.init.ones_(classifier.cell_head.weight)
    embed(tmp_path, classifier, many)
    assert not calls

    assert isinstance(many.store, CropStore)
    shards = tuple(shard.copy() for shard in many.store.shards)
    shards[0][0, 0, 0, 0] += 1
    changed = replace(many, store=replace(many.store, shards=shards))
    assert not np.array_equal(embed(tmp_path, classifier, changed)[0], first[0])
    assert calls

    calls.clear()
    with torch.no_grad():
        next(classifier.encoder.parameters()).mul_(1.1)
    assert not np.array_equal(embed(tmp_path, classifier, many), first)
    assert sum(calls) == many.num_cells


def test_the_batch_size_is_of_no_effect(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells
) -> None:
    few, lots = (embed(tmp_path / str(size), classifier, many, size) for size in (1, 1000))
    np.testing.assert_allclose(few, lots, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("content", ["cut", "other"])
def test_a_damaged_file(
    tmp_path: Path, classifier: CellClassifier, many: LabelledCells, content: str
) -> None:
    embed(tmp_path, classifier, many)
    file = min(tmp_path.rglob("*.npy"))
    if content == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        np.save(file, np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=f"{file.name} is damaged .*: delete it to compute it again"):
        embed(tmp_path, classifier, many)
