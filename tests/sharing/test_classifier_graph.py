"""Classifiers as ONNX say what they say by torch, whatever their parts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from hpa_cells.cells import CropSettings, crop_cells
from hpa_cells.classes import get_class_set
from hpa_cells.commands.settings import conf_folder
from hpa_cells.fields import find_fields, read_field
from hpa_cells.models import (
    SHIPPED_MODEL,
    CellClassifier,
    Checkpoint,
    ClassifierSettings,
    PoolingSettings,
    load_checkpoint,
    model_input,
)
from hpa_cells.models.pooling import build_pooling
from hpa_cells.segmentation import UNet
from hpa_cells.sharing import export_classifier
from hpa_cells.sharing.onnx_file import Graph, write_onnx

TINY = {"encoder": "resnet10t", "encoder_options": {"channels": [4, 8, 8, 12], "stem_width": 4}}
CLASSES = get_class_set("hpa2021")
# Fields of cells: a single one, one field, several in any order.
FIELDS = ([0], [0] * 9, [1, 0], [2, 0, 3, 1, 2, 2, 0, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2])


class _OneLayer(nn.Module):
    """An encoder that takes little to export: for what comes after it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, size, kernel_size=8, stride=8)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images).relu()

    def forward_head(self, maps: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        return maps.mean(dim=(2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(images))


def checkpoint_of(
    size_px: int = 32, encoder_of: Callable[[int], nn.Module] | None = _OneLayer, **settings: Any
) -> Checkpoint:
    """A model that was never trained but whose logits are not near 0."""
    torch.manual_seed(0)
    model = CellClassifier(ClassifierSettings(num_classes=len(CLASSES), **(TINY | settings))).eval()
    if encoder_of is not None:
        model.encoder = encoder_of(model.embedding_size)
    for name, parameter in model.named_parameters():
        if "encoder" not in name:
            nn.init.normal_(parameter, std=1.0)
    of_crops = {"size_px": size_px, "masked": True, "um_per_px": None, "margin": 0.03}
    view = settings.get("view", "crops")
    return Checkpoint(
        model=model,
        class_set=CLASSES,
        crop_settings=of_crops if view == "crops" else {},
        thresholds=np.linspace(0.1, 0.9, len(CLASSES), dtype=np.float32),
        square_settings={"size_px": size_px} if view == "squares" else None,
        field_settings={"um_per_px": 0.32, "masked": True} if view == "field" else None,
        weights_hash="0" * 64,
    )


def crops(number: int, size_px: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (number, 4, size_px, size_px), dtype=np.uint8)


def by_torch(model: CellClassifier, images: Any, fields: list[int], masks: Any = None) -> dict[str, Any]:
    """By the functions that predict, which know nothing of ONNX."""
    arguments = (
        model_input(images),
        torch.tensor(fields),
        *([] if masks is None else [torch.from_numpy(masks)]),
    )
    with torch.inference_mode():
        outputs = model(*arguments)
    cells, of_fields = model.probabilities(*arguments)
    said = {
        "cell_logits": outputs.cell_logits,
        "cell_probabilities": cells,
        "embeddings": outputs.embeddings,
        "field_logits": outputs.field_logits,
        "field_probabilities": of_fields,
    }
    return {name: each.numpy() for name, each in said.items()}


def poolings() -> dict[str, PoolingSettings]:
    """Every file of conf/pooling."""
    return {
        path.stem: PoolingSettings(**yaml.safe_load(path.read_text())).with_positions(CLASSES)
        for path in sorted((conf_folder() / "pooling").glob("*.yaml"))
    }


@pytest.mark.parametrize(("pooling", "head"), [("gated_attention", "own"), ("by_class", "shared")])
def test_both_heads(tmp_path: Path, read_onnx: Any, largest_difference: Any, pooling: str, head: str) -> None:
    checkpoint = checkpoint_of(pooling=poolings()[pooling], field_head=head)
    export_classifier(checkpoint, tmp_path / "m.onnx", opset=18)
    run = read_onnx(tmp_path / "m.onnx")
    for fields in FIELDS:
        images = crops(len(fields), 32)
        wanted = by_torch(checkpoint.model, images, fields)
        assert wanted["field_logits"].shape == (max(fields) + 1, 19)
        assert np.ptp(wanted["cell_logits"]) > 0.5
        found = run(images=images, field_index=np.array(fields))
        assert largest_difference(wanted, found) < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


class _Pooled(nn.Module):
    """Every pooling of logits, and those that take other values of embeddings: to be exported together."""

    def __init__(self) -> None:
        super().__init__()
        of_logits, of_embeddings = {}, {}
        for name, settings in poolings().items():
            of_logits[name] = build_pooling(settings, num_values=19, embedding_size=6)
            if not settings.needs_class_logits:
                of_embeddings[name] = build_pooling(settings, num_values=6, embedding_size=6)
        self.of_logits, self.of_embeddings = nn.ModuleDict(of_logits), nn.ModuleDict(of_embeddings)

    def forward(
        self, logits: torch.Tensor, embeddings: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        num_fields = index.max().item() + 1
        return (
            *(each(logits, index, num_fields, embeddings) for each in self.of_logits.values()),
            *(each(embeddings, index, num_fields, embeddings) for each in self.of_embeddings.values()),
        )

    def outputs(self) -> dict[str, tuple[str | int, ...]]:
        """What each gives, by name."""
        return {f"{name} of logits": ("fields", 19) for name in self.of_logits} | {
            f"{name} of embeddings": ("fields", 6) for name in self.of_embeddings
        }


def test_every_pooling_also_of_sure_cells(tmp_path: Path, read_onnx: Any) -> None:
    """Logits far from 0, where a probability is rounded to 0 or 1, in bags that have one cell or many."""
    torch.manual_seed(0)
    network = _Pooled().eval()
    assert len(network.outputs()) > len(poolings()) > 5
    trials = []
    for fields in FIELDS[::-1]:
        shape = (len(fields), 19)
        for scale in (1.0, 20.0, 60.0):
            logits = scale * torch.linspace(-1, 1, shape[0] * 19)[torch.randperm(shape[0] * 19)].reshape(
                shape
            )
            trials.append((logits, torch.randn(len(fields), 6), torch.tensor(fields)))
            trials.append((-scale * torch.ones(shape), torch.randn(len(fields), 6), torch.tensor(fields)))
    graph = Graph(
        network=network,
        inputs={"logits": ("cells", 19), "embeddings": ("cells", 6), "index": ("cells",)},
        outputs=network.outputs(),
        trials=trials,
    )
    write_onnx(graph, tmp_path / "m.onnx", metadata={"version": "1"}, opset=18, name="Every pooling")
    run = read_onnx(tmp_path / "m.onnx")
    assert run.outputs == list(network.outputs())
    for logits, embeddings, index in trials:
        found = run(logits=logits.numpy(), embeddings=embeddings.numpy(), index=index.numpy())
        for name, wanted in zip(found, network(logits, embeddings, index), strict=True):
            assert found[name].shape == wanted.shape == (index.max() + 1, *network.outputs()[name][1:])
            assert np.isfinite(found[name]).all(), name
            assert np.abs(wanted.detach().numpy() - found[name]).max() < 1e-4, name


# The kinds of networks that conf/encoder names, with fewer and narrower layers.
SMALL = [
    ("densenet121", {"growth_rate": 4, "block_config": [1, 1, 1, 1]}),
    ("convnext_tiny", {"depths": [1, 1, 1, 1], "dims": [8, 8, 12, 16]}),
    ("test_efficientnet", {}),
    ("seresnet50", {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}),
    ("vit_small_patch16_224", {"dynamic_img_size": True, "depth": 2, "embed_dim": 24, "num_heads": 2}),
]


@pytest.mark.parametrize(("name", "options"), SMALL, ids=[name for name, _ in SMALL])
def test_encoders_of_every_kind(
    tmp_path: Path, read_onnx: Any, largest_difference: Any, name: str, options: dict[str, Any]
) -> None:
    checkpoint = checkpoint_of(encoder_of=None, encoder=name, encoder_options=options)
    export_classifier(checkpoint, tmp_path / "m.onnx", opset=18)
    run = read_onnx(tmp_path / "m.onnx")
    for fields in FIELDS:
        images = crops(len(fields), 32)
        found = run(images=images, field_index=np.array(fields))
        assert largest_difference(by_torch(checkpoint.model, images, fields), found) < 1e-4


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the model in the package, by another version of ONNX's operators than elsewhere."""
    path = tmp_path_factory.mktemp("shipped") / "m.onnx"
    export_classifier(load_checkpoint(SHIPPED_MODEL), path, opset=20)
    return path


def test_the_model_in_the_package_on_a_real_field(
    real_data: Path, shipped: Path, read_onnx: Any, largest_difference: Any
) -> None:
    checkpoint = load_checkpoint(SHIPPED_MODEL)
    field = read_field(find_fields(real_data / "hpa2021" / "fields")[0])
    segmentation = UNet(device="cpu").segment([field])[0]
    images = crop_cells(field, segmentation, CropSettings(**checkpoint.crop_settings)).images
    assert len(images) > 5
    run = read_onnx(shipped)
    for number in (1, len(images)):
        fields = [0] * number
        found = run(images=images[:number], field_index=np.array(fields))
        assert largest_difference(by_torch(checkpoint.model, images[:number], fields), found) < 1e-4


@pytest.mark.parametrize(
    ("encoder_of", "stride"), [(_OneLayer, None), (None, 16)], ids=["own stride", "finer stride"]
)
def test_whole_fields_with_masks(
    tmp_path: Path,
    read_onnx: Any,
    largest_difference: Any,
    encoder_of: Callable[[int], nn.Module] | None,
    stride: int | None,
) -> None:
    checkpoint = checkpoint_of(encoder_of=encoder_of, view="field", map_stride=stride)
    export_classifier(checkpoint, tmp_path / "m.onnx", opset=18)
    run = read_onnx(tmp_path / "m.onnx")
    assert run.metadata["shown"] == {"um_per_px": 0.32, "masked": True}
    random = np.random.default_rng(0)
    for num_cells, height, width in (([1], 64, 64), ([3, 2], 96, 160), ([2, 5, 1], 192, 64)):
        shape = (len(num_cells), height, width)
        images = random.integers(0, 256, (shape[0], 4, height, width), dtype=np.uint8)
        masks, fields = np.zeros(shape, dtype=np.int32), []
        for field, number in enumerate(num_cells):
            for _ in range(number):
                fields.append(field)
                top = random.integers(0, height - 20)
                # The last of those that overlap is whole, so that each number has a pixel.
                masks[field, top : top + 20, len(fields) : len(fields) + 1] = len(fields)
                free = masks[field, :, 20:] == 0
                masks[field, :, 20:][free & (random.random(free.shape) < 0.2)] = len(fields)
        # Cells are numbered through all fields, in any order.
        order = random.permutation(len(fields))
        masks = np.append(0, order + 1)[masks].astype(np.int32)
        fields = [fields[index] for index in np.argsort(order)]
        wanted = by_torch(checkpoint.model, images, fields, masks)
        found = run(images=images, masks=masks, field_index=np.array(fields))
        assert largest_difference(wanted, found) < 1e-4


def test_squares_of_fields_have_answers_about_fields_only(
    tmp_path: Path, read_onnx: Any, largest_difference: Any
) -> None:
    checkpoint = checkpoint_of(view="squares")
    export_classifier(checkpoint, tmp_path / "m.onnx", opset=18)
    run = read_onnx(tmp_path / "m.onnx")
    assert run.outputs == ["field_logits", "field_probabilities"]
    images, fields = crops(6, 32), [0, 0, 1, 1, 1, 0]
    wanted = by_torch(checkpoint.model, images, fields)
    assert (
        largest_difference(
            {name: wanted[name] for name in run.outputs}, run(images=images, field_index=np.array(fields))
        )
        < 1e-4
    )


def test_the_file_is_valid_and_tells_all_that_is_needed(shipped: Path, read_onnx: Any) -> None:
    model = onnx.load(shipped)
    onnx.checker.check_model(model, full_check=True)
    assert {each.domain: each.version for each in model.opset_import}[""] == 20
    sizes = {
        value.name: [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {
        "images": ["cells", 4, 96, 96],
        "field_index": ["cells"],
        "cell_logits": ["cells", 19],
        "cell_probabilities": ["cells", 19],
        "embeddings": ["cells", 256],
        "field_logits": ["fields", 19],
        "field_probabilities": ["fields", 19],
    }
    # Nothing of the machine that it was made on.
    data = shipped.read_bytes()
    assert b".py" not in data
    assert str(Path.home()).encode() not in data
    metadata = read_onnx(shipped).metadata
    config = json.loads((SHIPPED_MODEL / "checkpoint.json").read_text())
    assert metadata["weights_sha256"] == config["weights_sha256"]
    assert dict(zip(metadata["classes"], metadata["thresholds"], strict=True)) == pytest.approx(
        config["thresholds"]
    )
    assert metadata["channels"] == ["microtubules", "protein", "nucleus", "er"]
    assert metadata["colors"] == ["red", "green", "blue", "yellow"]
    assert metadata["shown"] == config["crop_settings"]
    assert metadata["channels_that_may_be_0"] == ["er", "microtubules"]
    assert metadata["about"] == "Trained on simulated cells only, with the true labels of each."


class _Unknown(nn.Module):
    """Does what ONNX has no words for."""

    def __init__(self, size: int) -> None:
        super().__init__()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.new_tensor([float(str(images[0, 0, 0, 0].item())[:3])]).expand(len(images), 12)


def test_what_cannot_be_exported_is_refused_and_the_file_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    checkpoint = checkpoint_of(encoder_of=_Unknown)
    with pytest.raises(ValueError, match="A classifier with encoder resnet10t cannot be written as ONNX"):
        export_classifier(checkpoint, path, opset=18)
    checkpoint = checkpoint_of()
    checkpoint.crop_settings.clear()
    with pytest.raises(ValueError, match="does not say how large its crops are"):
        export_classifier(checkpoint, path, opset=18)
    with pytest.raises(ValueError, match="opset is 17: give 18 or more"):
        export_classifier(checkpoint_of(), path, opset=17)
    # torch would write another version and keep silent.
    with pytest.raises(
        ValueError, match="opset is 99, of which the installed torch and onnxscript know nothing"
    ):
        export_classifier(checkpoint_of(), path, opset=99)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"m.onnx": b"before"}


def test_a_file_that_says_something_else_does_not_appear(tmp_path: Path) -> None:
    """A network that is another one while it is exported."""
    checkpoint = checkpoint_of()
    head = checkpoint.model.cell_head

    class Other(nn.Module):
        def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = head(embeddings)
            return logits + 0.001 if torch.compiler.is_exporting() else logits

    checkpoint.model.cell_head = Other()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"gives another cell_logits as ONNX than by torch, by up to 0\.001"):
        export_classifier(checkpoint, tmp_path / "m.onnx", opset=18)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'needs the package {package}.*pip install "hpa-cells\[onnx\]"'):
        export_classifier(checkpoint_of(), tmp_path / "m.onnx", opset=18)
