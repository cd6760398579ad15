from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

from hpa_cells.segmentation.representations import REPRESENTATIONS
from hpa_cells.training.segmenter.crops import CropAugmentation
from hpa_cells.training.segmenter.data import CropBatch, CropData, CropDataset, MixSettings
from hpa_cells.training.segmenter.training_field import TrainingField

MIX = MixSettings(batch_size=4, num_batches=50, simulated_share=0.5, cells_share=0.25, nuclei_share=0.25)


def dataset(fields: list[TrainingField], mix: MixSettings = MIX, seed: int = 0) -> CropDataset:
    return CropDataset(
        fields,
        representation=REPRESENTATIONS["offsets"],
        um_per_px=0.32,
        augmentation=CropAugmentation(side_px=64),
        mix=mix,
        seed=seed,
    )


def test_a_crop_depends_on_seed_and_index_alone(fields: list[TrainingField]) -> None:
    first, again, other = dataset(fields), dataset(fields), dataset(fields, seed=1)
    for index in (17, 3, 17):
        for mine, same in zip(first[index][:2], again[index][:2], strict=True):
            torch.testing.assert_close(mine, same, rtol=0, atol=0)
    assert not torch.equal(first[3][0], other[3][0])


def test_batches(fields: list[TrainingField]) -> None:
    batch = next(iter(CropData(dataset(fields), [], MIX).train_dataloader()))
    assert isinstance(batch, CropBatch)
    assert batch.planes.shape == (4, 3, 64, 64)
    assert batch.targets.shape == (4, 4, 64, 64)
    assert batch.knows_cells.dtype == torch.bool


def test_a_loader_goes_on_where_another_stopped_and_no_epoch_repeats_another(
    fields: list[TrainingField],
) -> None:
    mix = replace(MIX, num_batches=3)
    data = CropData(dataset(fields, mix), [], mix)
    expected = [batch.planes for _ in range(2) for batch in data.train_dataloader()]
    assert len(expected) == 6
    assert len({batch.numpy().tobytes() for batch in expected}) == 6
    for stop in (0, 2, 3, 4):
        first = CropData(dataset(fields, mix), [], mix)
        seen = list(islice((batch.planes for _ in range(2) for batch in first.train_dataloader()), stop))
        second = CropData(dataset(fields, mix), [], mix)
        second.load_state_dict(first.state_dict())
        assert len(second.train_dataloader()) == 3
        while len(seen) < 6:
            seen += [batch.planes for batch in second.train_dataloader()]
        assert all(torch.equal(*pair) for pair in zip(seen, expected, strict=True)), stop


def test_sources_are_mixed_as_asked(fields: list[TrainingField]) -> None:
    data = dataset(fields, replace(MIX, simulated_share=0.0, cells_share=0.3, nuclei_share=0.7))
    knows_cells = [bool(data[index][2]) for index in range(len(data))]
    # Within three standard deviations of 200 draws.
    assert sum(knows_cells) / len(data) == pytest.approx(0.3, abs=0.1)


def test_a_source_without_fields_leaves_its_share(fields: list[TrainingField]) -> None:
    data = dataset(fields[1:])
    knows_cells = [bool(data[index][2]) for index in range(len(data))]
    assert sum(knows_cells) / len(data) == pytest.approx(0.5, abs=0.11)


def test_only_crops_of_nuclei_hide_the_cells(fields: list[TrainingField]) -> None:
    assert all(dataset(fields[:2])[index][2] for index in range(10))
    assert not any(dataset(fields[2:])[index][2] for index in range(10))


def test_crops_in_which_nothing_shows_them_hide_the_cells(fields: list[TrainingField]) -> None:
    planes, ends = fields[0].planes.copy(), fields[0].ends.copy()
    planes[..., 1], ends[1] = 0, 0
    # Whole dark margins: crops of them show nothing either.
    planes[64:, :, 0], ends[0, 0] = 0, 20
    data = dataset([replace(fields[0], planes=planes, ends=ends)])
    knows_cells = [bool(data[index][2]) for index in range(20)]
    assert any(knows_cells)
    assert not all(knows_cells)


def test_nothing_to_train_on(fields: list[TrainingField]) -> None:
    with pytest.raises(ValueError, match="There is nothing to train on"):
        dataset([])
    with pytest.raises(ValueError, match="There is nothing to train on"):
        dataset(fields[2:], replace(MIX, nuclei_share=0.0))
