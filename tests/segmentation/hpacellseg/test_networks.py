from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hpa_cells.segmentation.hpacellseg.networks import (
    DPN_92,
    STRIDE_PX,
    DPNUNet,
    DualPathPlan,
    _DualPathBlock,
)

RECORDED = json.loads(Path(__file__).with_name("recorded_outputs.json").read_text(encoding="utf-8"))


def test_outputs_are_those_of_the_original(made_up: dict[str, Any]) -> None:
    """Recorded from the original's class by benchmarks/hpacellseg_networks.py."""
    network = DPNUNet()
    made_up["fill_by_formula"](network, RECORDED["seed"])
    image = torch.from_numpy(made_up["made_up_image"](*RECORDED["shape_px"]))
    with torch.inference_mode():
        logits = network.eval()(image.permute(2, 0, 1)[None] / 255)[0]
    step = RECORDED["step_px"]
    torch.testing.assert_close(logits[:, ::step, ::step], torch.tensor(RECORDED["logits"]), atol=1e-4, rtol=0)


def test_dpn_92_has_the_published_sizes() -> None:
    with torch.device("meta"):
        network = DPNUNet(DPN_92)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert DPN_92.stage_widths == [64, 336, 704, 1552, 2688]
    assert sum(value.numel() for value in network.parameters()) == 139_108_867
    assert shapes["encoder_stages.0.0.weight"] == (64, 3, 7, 7)
    assert shapes["encoder_stages.1.1.c1x1_w_s1.conv.weight"] == (288, 64, 1, 1)
    assert shapes["encoder_stages.3.0.c1x1_w_s2.conv.weight"] == (1072, 704, 1, 1)
    assert shapes["encoder_stages.4.3.bn.weight"] == (2688,)
    assert shapes["decoder_stages.3.layer.1.weight"] == (1552, 2688, 3, 3)
    assert shapes["bottlenecks.0.seq.0.weight"] == (1552, 3104, 3, 3)
    assert shapes["final.0.weight"] == (3, 64, 3, 3)


@pytest.mark.parametrize("stride", [None, 1, 2])
def test_a_block_equals_two_paths_kept_apart(stride: int | None) -> None:
    torch.manual_seed(0)
    block = _DualPathBlock(14, residual_width=8, reduced_width=4, increment=3, groups=2, stride=stride).eval()
    maps = torch.randn(2, 14, 8, 12)
    past = maps if stride is None else block.get_submodule(f"c1x1_w_s{stride}")(maps)
    residual, dense = past[:, :8], past[:, 8:]
    new = block.c1x1_c(block.c3x3_b(block.c1x1_a(maps)))
    residual = residual + new[:, :8]
    dense = torch.cat([dense, new[:, 8:]], dim=1)
    torch.testing.assert_close(block(maps), torch.cat([residual, dense], dim=1), atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(32, 32), (96, 64)])
def test_the_output_has_the_shape_of_the_input(
    another_narrow: Callable[[str], DPNUNet], shape: tuple[int, int]
) -> None:
    with torch.inference_mode():
        assert another_narrow("a")(torch.zeros(2, 3, *shape)).shape == (2, 3, *shape)


def test_the_stride_is_the_least(another_narrow: Callable[[str], DPNUNet]) -> None:
    with pytest.raises(RuntimeError), torch.inference_mode():
        another_narrow("a")(torch.zeros(1, 3, STRIDE_PX + STRIDE_PX // 2, STRIDE_PX))


def test_the_blocks_of_a_plan_widen_as_stated() -> None:
    plan = DualPathPlan(stem_width=2, residual_width=4, depths=(1, 3), increments=(1, 2))
    assert plan.stage_widths == [2, 4 + 3, 8 + 10]
