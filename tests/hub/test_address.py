"""Addresses of models on a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpa_cells.hub import HubModel, is_on_hub
from hpa_cells.hub.package import is_among
from hpa_cells.models.start import FILES_ON_HUB

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("hf://lab/cells", "lab/cells", None),
        ("hf://lab/cells/", "lab/cells", None),
        ("HF://Lab-1/my.cells_2@v1.0", "Lab-1/my.cells_2", "v1.0"),
        ("hf://lab/cells@refs/pr/3", "lab/cells", "refs/pr/3"),
        (f"hf://lab/cells@{COMMIT}", "lab/cells", COMMIT),
    ],
)
def test_parts_of_an_address(text: str, repository: str, revision: str | None) -> None:
    model = HubModel.parse(text)
    assert model == HubModel(repository=repository, revision=revision)
    assert model.is_pinned == (revision == COMMIT)
    assert HubModel.parse(str(model)) == model


@pytest.mark.parametrize(
    "text",
    [
        *("hf://", "hf://lab", "hf://lab/", "hf:/lab/cells", "hf://lab/cells/more", "hf://lab//cells"),
        *(
            "hf://../cells",
            "hf://lab/..",
            "hf://lab/.cells",
            "hf://lab/-cells",
            "hf://lab/a--b",
            "hf://lab/cells.",
        ),
        *(
            "hf://lab/cells@",
            "hf://lab/cells@../x",
            "hf://lab/cells@/x",
            "hf://lab/cells@a/./b",
            "hf://lab/cells@a b",
        ),
        *("hf://models/cells", "hf://datasets/lab/cells", "hf://a:b@lab/cells", "hf://lab/cells?token=x"),
        *("hf://lab/cells\n", "hf://läb/cells", r"hf://lab\cells", "s3://lab/cells", "lab/cells"),
    ],
)
def test_what_is_no_address_of_a_model(text: str) -> None:
    with pytest.raises(ValueError, match="names no model on a hub: write hf://owner/name"):
        HubModel.parse(text)


def test_a_path_that_has_lost_a_slash_is_told_apart_from_a_folder() -> None:
    assert is_on_hub(str(Path("hf://lab/cells")))
    assert is_on_hub(Path("hf://lab/cells"))
    assert not any(map(is_on_hub, ("hf", "hf/x", "shf://x", "runs/hf:/", None, 3, ["hf://lab/cells"])))


@pytest.mark.parametrize(
    "name", ["checkpoint.json", "model.safetensors", "README.md", "fold-12/checkpoint.json"]
)
def test_files_of_a_model(name: str) -> None:
    assert is_among(name, FILES_ON_HUB)


@pytest.mark.parametrize(
    "name",
    [
        *("pytorch_model.bin", "model.safetensors.pkl", "x/checkpoint.json", "fold-0/a/checkpoint.json"),
        *("fold-../checkpoint.json", "fold-0\\..\\checkpoint.json", "/checkpoint.json", "checkpoint.json\n"),
        *("fold-*/checkpoint.json", "fold-[0]/checkpoint.json", "Checkpoint.json"),
    ],
)
def test_files_that_are_none_of_a_model(name: str) -> None:
    assert not is_among(name, FILES_ON_HUB)
