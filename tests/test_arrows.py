"""Imports go down the house only, as drawn in docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hpa_cells"
BOTTOM = {
    *("classes", "presence", "types", "table", "provenance", "atomic", "limits", "parquet", "spreadsheet"),
    *("shown", "addresses", "places", "figures", "label_images", "hub"),
}
MASKS = BOTTOM | {"masks"}
FLOOR = MASKS | {"fields", "cells", "models", "metrics"}

# Room -> the rooms it may import, beside itself.
ALLOWED = {
    "classes": set(),
    "label_images": set(),
    "presence": set(),
    "shown": set(),
    "addresses": {"limits", "shown"},
    "places": {"addresses", "shown"},
    "hub": {"limits", "shown"},
    "atomic": {"places"},
    "figures": {"atomic"},
    "types": {"classes", "label_images"},
    "limits": set(),
    "parquet": {"limits", "places"},
    "spreadsheet": set(),
    "provenance": {"parquet", "places", "shown"},
    "table": {"classes", "types", "provenance", "atomic", "parquet", "places"},
    "masks": BOTTOM,
    "fields": MASKS,
    "cells": MASKS,
    "models": MASKS,
    "metrics": MASKS,
    "simulation": BOTTOM,
    "segmentation": FLOOR,
    "training": FLOOR | {"segmentation"},
    "prediction": FLOOR | {"segmentation"},
    "export": FLOOR | {"segmentation"},
    "report": FLOOR | {"segmentation"},
    "explore": FLOOR | {"segmentation"},
    "sharing": FLOOR | {"segmentation"},
}
ALLOWED["commands"] = set(ALLOWED)
ALLOWED["__init__"] = ALLOWED["__main__"] = {"commands"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of hpa_cells that a module names in any import, also inside functions and as import_module("...")."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    rooms = {name.split(".")[1] for name in names if name.startswith("hpa_cells.")}
    return {room for room in rooms if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    against = imported_rooms(path) - ALLOWED[room] - {room}
    assert not against, f"{path.relative_to(PACKAGE)} may not import {', '.join(sorted(against))}"


def test_models_do_without_lightning() -> None:
    for path in (PACKAGE / "models").rglob("*.py"):
        assert "lightning" not in path.read_text(), f"{path} imports Lightning: it belongs to training"


def test_allowed_arrows_have_no_circle() -> None:
    seen: set[str] = set()
    while len(seen) < len(ALLOWED):
        free = {room for room, below in ALLOWED.items() if room not in seen and below <= seen}
        assert free, f"a circle among {sorted(set(ALLOWED) - seen)}"
        seen |= free


def test_an_arrow_upwards_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def late():\n    from hpa_cells.training import loop\n")
    assert imported_rooms(module) == {"training"}
