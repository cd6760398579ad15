"""The program where the wheel puts it: settings and templates inside the package, no checkout around."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as pyproject.toml lays out the wheel."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    folder = tmp_path_factory.mktemp("site-packages")
    for package in wheel["packages"]:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in wheel["force-include"].items():
        shutil.copytree(ROOT / source, folder / target)
    return folder


@pytest.mark.parametrize(
    ("arguments", "status", "shown"),
    [
        (["--help"], 0, "usage: hpa-cells VERB"),
        (["predict", "--help"], 0, "tta=d4|flips|none  (now none)"),
        (["predict", "fields=nowhere", "model=nowhere", "out=run"], 1, "does not exist"),
    ],
)
def test_the_program_runs_anywhere(
    site_packages: Path, tmp_path: Path, arguments: list[str], status: int, shown: str
) -> None:
    code = (
        "import sys, hpa_cells; from hpa_cells.commands.app import main\n"
        f"assert hpa_cells.__file__.startswith({str(site_packages)!r}), hpa_cells.__file__\n"
        "main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site_packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
    assert shown in ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_templates_travel_with_the_package(site_packages: Path) -> None:
    templates = {path.name for path in (site_packages / "hpa_cells" / "report" / "templates").iterdir()}
    assert templates == {path.name for path in (ROOT / "hpa_cells" / "report" / "templates").iterdir()}
    assert {path.rsplit(".", 1)[1] for path in templates} == {"j2", "css", "js"}
    assert (site_packages / "hpa_cells" / "py.typed").exists()
