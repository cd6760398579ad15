from __future__ import annotations

import pytest
import torch

from hpa_cells.classes import get_class_set
from hpa_cells.training.made_up import MadeUpCells, MadeUpSettings
from hpa_cells.types import Channel

CLASSES = get_class_set("hpa2021")
NEGATIVE, MICROTUBULES, ER = (
    CLASSES.index(key) for key in ("negative", "microtubules", "endoplasmic_reticulum")
)
OTHERS = [Channel.MICROTUBULES, Channel.NUCLEUS, Channel.ER]


def cells(number: int = 60) -> torch.Tensor:
    torch.manual_seed(0)
    return 0.5 + torch.rand(number, 4, 6, 6) / 2


def make(crops: torch.Tensor, share: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    return MadeUpCells(MadeUpSettings(share=share, weight=1.0), CLASSES).make(crops)


def test_each_kind_has_its_label_and_its_protein() -> None:
    crops, labels = make(cells())
    assert (labels.sum(dim=1) == 1).all()
    for index, source in ((NEGATIVE, None), (MICROTUBULES, Channel.MICROTUBULES), (ER, Channel.ER)):
        of_kind = crops[labels[:, index] == 1]
        assert 8 < len(of_kind) < 40
        if source is None:
            assert of_kind[:, Channel.PROTEIN].max() <= 0.1
        else:
            ratio = (of_kind[:, Channel.PROTEIN] / of_kind[:, source]).flatten(1)
            torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
            assert ratio.min() >= 0.5
            assert ratio.max() <= 1
            assert ratio.std(dim=0).min() > 0.05
    assert labels[:, [NEGATIVE, MICROTUBULES, ER]].sum() == len(labels)


def test_the_other_channels_and_the_cells_themselves_stay() -> None:
    originals = cells()
    before = originals.clone()
    crops, _ = make(originals)
    assert torch.equal(originals, before)
    known = {each[OTHERS].sum().item() for each in originals}
    assert {each[OTHERS].sum().item() for each in crops} == known


def test_as_many_as_wanted() -> None:
    assert len(make(cells(), share=0.25)[0]) == 15
    assert len(make(cells(), share=0.0)[0]) == 0


def test_a_channel_that_is_missing_makes_no_cell() -> None:
    originals = cells()
    originals[:, Channel.ER] = 0
    crops, labels = make(originals)
    assert labels[:, ER].sum() == 0
    assert 20 < len(crops) < 60


def test_classes_decide_which_kinds_there_are() -> None:
    of_2018 = get_class_set("hpa2018")
    _, labels = MadeUpCells(MadeUpSettings(share=1.0, weight=1.0), of_2018).make(cells())
    shown = {of_2018.keys[index] for index in labels.nonzero()[:, 1].tolist()}
    assert shown == {"microtubules", "endoplasmic_reticulum"}


@pytest.mark.parametrize(
    ("share", "weight", "message"),
    [(1.5, 1.0, r"made_up\.share is 1\.5"), (0.5, -1.0, r"made_up\.weight is -1\.0")],
)
def test_settings_that_cannot_be(share: float, weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MadeUpSettings(share=share, weight=weight)
