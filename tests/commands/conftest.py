"""The console program as a user sees it, in this process; and a few drawn fields to train on."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpa_cells.commands.app import main
from hpa_cells.types import Field, Segmentation


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def hpa_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Call ``hpa-cells`` with these arguments."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    at_sigterm = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hpa-cells", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code
        return Ended(status if isinstance(status, int) else 0, *capsys.readouterr())

    yield call
    root.handlers = handlers
    # Not by its attribute: loggers remember what they let through.
    root.setLevel(level)
    signal.signal(signal.SIGTERM, at_sigterm or signal.SIG_DFL)


@pytest.fixture
def predict(hpa_cells: Callable[..., Ended], small_world: Any, tmp_path: Path) -> Callable[..., Ended]:
    """Call ``hpa-cells predict`` on the small world and its masks, into ``tmp_path/run``."""

    def run(*changed: str) -> Ended:
        settings = [
            f"fields={small_world.fields}",
            f"model={small_world.model}",
            f"out={tmp_path / 'run'}",
            "segmenter=precomputed",
            f"segmenter.folder={small_world.masks}",
            "device=cpu",
            "shard_fields=2",
        ]
        return hpa_cells("predict", *settings, *changed)

    return run


@dataclass(frozen=True, slots=True)
class Drawn:
    """Ten fields of two round cells each, their labels and their truth, and trainings on them."""

    root: Path
    num_fields: int = 10

    def overrides(self, out: Path, *more: str) -> list[str]:
        """Settings of a training of six steps, with the true masks."""
        return [
            f"data.root={self.root}",
            f"out={out}",
            f"crop_store={self.root / 'crops'}",
            "method=dual_head",
            "data.pixel_size_um=0.5",
            "segmenter=cell_table",
            f"segmenter.folder={self.root / 'truth'}",
            "encoder.options={channels:[4,4,8,8],stem_width:4}",
            "crops.size_px=16",
            "bags.fields_per_batch=4",
            "trainer=cpu",
            "trainer.max_epochs=3",
            "optimizer.lr=0.02",
            "logger=csv",
            "workers=1",
            "threads=1",
            *more,
        ]

    def train(self, out: Path, *more: str) -> float:
        """Train in this process."""
        from hpa_cells.commands.settings import compose
        from hpa_cells.commands.train import run

        return run(compose("train", self.overrides(out, *more)))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """Fields to train on; of every second the protein fills the cells."""
    import numpy as np

    from hpa_cells.cells import cell_rows, field_row
    from hpa_cells.classes import get_class_set
    from hpa_cells.fields import write_field
    from hpa_cells.table import Provenance, TableWriter
    from hpa_cells.types import CellScores

    world = Drawn(tmp_path_factory.mktemp("drawn"))
    class_set = get_class_set("hpa2021")
    lines = ["ID,Label"]
    provenance = Provenance(version="0", class_set="hpa2021", source="test")
    with TableWriter(world.root / "truth", provenance=provenance) as table:
        for index in range(world.num_fields):
            field, segmentation = _draw(index)
            write_field(field, world.root / "train")
            labels = np.zeros((2, 19), dtype=np.float32)
            labels[:, class_set.index("cytosol" if index % 2 else "negative")] = 1
            lines.append(f"{field.field_id},{labels[0].argmax()}")
            scores = CellScores(
                field_id=field.field_id,
                class_set=class_set,
                cell_ids=segmentation.cell_ids,
                probabilities=labels,
                field_probabilities=labels[0],
                embeddings=np.zeros((2, 0), dtype=np.float32),
            )
            table.add(cells=cell_rows(segmentation, scores), field_row=field_row(segmentation, scores))
    (world.root / "train.csv").write_text("\n".join(lines) + "\n")
    return world


def _draw(index: int) -> tuple[Field, Segmentation]:
    import cv2
    import numpy as np

    from hpa_cells.types import Channel

    image = np.random.default_rng(index).integers(5, 15, (4, 64, 96), dtype=np.uint8)
    cells = np.zeros((64, 96), dtype=np.int32)
    for cell_id, middle in ((5, (28, 32)), (300, (68, 32))):
        cv2.circle(cells, middle, 18, cell_id, -1)
    image[Channel.MICROTUBULES][cells > 0] = 150
    image[Channel.ER][cells > 0] = 120
    image[Channel.NUCLEUS][cv2.erode((cells > 0).astype(np.uint8), np.ones((17, 17))) > 0] = 200
    if index % 2:
        image[Channel.PROTEIN][cells > 0] = 200
    field = Field(field_id=f"f{index:02d}", image=image, pixel_size_um=0.5)
    nuclei = np.where(image[Channel.NUCLEUS] == 200, cells, 0)
    return field, Segmentation(field_id=field.field_id, cells=cells, nuclei=nuclei, pixel_size_um=0.5)
