from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hpa_cells.training.module import macro_average_precision
from hpa_cells.training.neighbours import field_means, neighbour_votes


def slow_twin(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One pair of fields at a time."""
    middle = [float(np.mean([row[d] for row in embeddings])) for d in range(embeddings.shape[1])]
    votes = np.zeros(labels.shape)
    for field in range(len(embeddings)):
        pairs = []
        for other in range(len(embeddings)):
            if other != field:
                one = [a - m for a, m in zip(embeddings[field], middle, strict=True)]
                two = [a - m for a, m in zip(embeddings[other], middle, strict=True)]
                cosine = sum(a * b for a, b in zip(one, two, strict=True)) / (
                    math.hypot(*one) * math.hypot(*two)
                )
                pairs.append((cosine, other))
        chosen = sorted(pairs, reverse=True)[:20]
        total = sum(math.exp(cosine / 0.07) for cosine, _ in chosen)
        for cosine, other in chosen:
            votes[field] += math.exp(cosine / 0.07) / total * labels[other]
    return votes


@pytest.mark.parametrize("num_fields", [2, 15, 60])
def test_as_the_slow_twin(num_fields: int) -> None:
    rng = np.random.default_rng(num_fields)
    embeddings = rng.normal(3, 1, (num_fields, 6)).astype(np.float32)
    labels = rng.random((num_fields, 4)) < 0.3
    np.testing.assert_allclose(neighbour_votes(embeddings, labels), slow_twin(embeddings, labels), atol=1e-5)


def test_embeddings_that_tell_the_label_are_better_than_others() -> None:
    rng = np.random.default_rng(0)
    labels = np.eye(5, dtype=bool)[rng.integers(0, 5, 200)]
    telling = rng.normal(0, 1, (200, 8)) + 2 * labels @ rng.normal(0, 1, (5, 8))
    silent = rng.normal(0, 1, (200, 8))
    good, chance = (
        macro_average_precision(neighbour_votes(each.astype(np.float32), labels), labels)
        for each in (telling, silent)
    )
    assert good > 0.8
    assert chance == pytest.approx(0.2, abs=0.06)


def test_a_field_does_not_see_its_own_label() -> None:
    labels = np.zeros((10, 1), dtype=bool)
    labels[3] = True
    embeddings = np.random.default_rng(0).normal(0, 1, (10, 4)).astype(np.float32)
    assert neighbour_votes(embeddings, labels)[3] == 0


def test_one_field_or_equal_fields() -> None:
    assert neighbour_votes(np.ones((1, 3), dtype=np.float32), np.ones((1, 2), dtype=bool)).tolist() == [
        [0, 0]
    ]
    same = neighbour_votes(np.ones((4, 3), dtype=np.float32), np.eye(4, dtype=bool))
    np.testing.assert_allclose(same, (1 - np.eye(4)) / 3, atol=1e-6)


def test_means_of_the_cells_of_each_field() -> None:
    embeddings = torch.arange(12.0).reshape(6, 2).to(torch.bfloat16)
    index = torch.tensor([1, 0, 1, 2, 1, 0])
    means = field_means(embeddings, index, 3)
    assert means.dtype == torch.float32
    expected = torch.stack([embeddings[index == field].float().mean(dim=0) for field in range(3)])
    torch.testing.assert_close(means, expected)
