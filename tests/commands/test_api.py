import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

import hpa_cells
from hpa_cells.commands import api
from hpa_cells.commands.app import VERBS, FieldsFailedError
from hpa_cells.table import read_table

AWKWARD = [
    "a b",
    "x=1",
    "a,b",
    "it's",
    'say "so"',
    "back\\slash\\",
    "${oc.env:HOME}",
    "{a}",
    "[b]",
    "ü~#%&",
    "null",
]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[DictConfig]]:
    """Put a recorder in the place of a verb's `run`."""

    def install(verb: str) -> list[DictConfig]:
        seen: list[DictConfig] = []
        monkeypatch.setattr(import_module(f"hpa_cells.commands.{verb}"), "run", seen.append)
        return seen

    return install


def through_hydra(value: Any) -> Any:
    """What comes out of Hydra's parser and OmegaConf for a value of the Python interface."""
    [override] = OverridesParser.create().parse_overrides([f"out={api._in_hydra_grammar(value)}"])
    node = OmegaConf.create({"out": None})
    OmegaConf.update(node, "out", override.value())
    return OmegaConf.to_container(node, resolve=True)["out"]


@given(st.text(max_size=20))
def test_a_string_comes_out_as_it_went_in(text: str) -> None:
    assert through_hydra(text) == text


@given(st.text(alphabet="ab\\'\"${}=, []:\n", max_size=14))
def test_a_string_of_what_hydra_takes_for_grammar_comes_out_as_it_went_in(text: str) -> None:
    assert through_hydra(text) == text


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_any_value_comes_out_as_it_went_in(value: Any) -> None:
    assert through_hydra(value) == value


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_paths(spy: Callable[[str], list[DictConfig]], name: str) -> None:
    seen = spy("segment")
    assert hpa_cells.segment(fields=Path("/data") / name, out=name) == Path(name)
    [cfg] = seen
    assert (cfg.fields, cfg.out) == (f"/data/{name}", name)


def test_settings_groups_and_overrides(spy: Callable[[str], list[DictConfig]]) -> None:
    seen = spy("segment")
    overrides = ["segmenter.match_nuclei=true"]
    hpa_cells.segment(fields="F", out="O", overrides=overrides, segmenter="precomputed", segment_fields=3)
    [cfg] = seen
    assert cfg.segment_fields == 3
    assert cfg.segmenter._target_ == "hpa_cells.segmentation.Precomputed"
    assert cfg.segmenter.match_nuclei is True


def test_several_tables(spy: Callable[[str], list[DictConfig]], tmp_path: Path) -> None:
    (tmp_path / "per_class.csv").write_text("run,ap\na,0.5\n")
    seen = spy("evaluate")
    scores = hpa_cells.evaluate(table=["runs/a, b", Path("c")], truth="T", out=tmp_path)
    assert list(seen[0].table) == ["runs/a, b", "c"]
    assert scores.to_dict("list") == {"run": ["a"], "ap": [0.5]}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_function_of_the_package(
    spy: Callable[[str], list[DictConfig]], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = getattr(hpa_cells, verb)
    assert "Examples" in getattr(api, verb).__doc__
    required = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY
    ]
    seen = spy(verb)
    monkeypatch.setattr(api, "read_table", lambda folder: SimpleNamespace(cells=folder))
    (tmp_path / "per_class.csv").write_text("run\n")
    function(**dict.fromkeys(required, tmp_path))
    assert [str(seen[0][name]) for name in required] == [str(tmp_path)] * len(required)


@pytest.mark.parametrize("verb", ["export", "report", "explore"])
def test_a_verb_whose_room_was_imported_is_still_a_function(
    spy: Callable[[str], list[DictConfig]], verb: str, tmp_path: Path
) -> None:
    room = import_module(f"hpa_cells.{verb}")
    seen = spy(verb)
    needed = {"export": {"table": "T"}, "report": {"table": "T", "fields": "F"}, "explore": {}}[verb]
    function = getattr(hpa_cells, verb)
    function(out=tmp_path, **needed)
    function(out=tmp_path, **needed)
    assert len(seen) == 2
    assert inspect.signature(function) == inspect.signature(getattr(api, verb))
    assert set(room.__all__) <= set(dir(function))


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`format\.maskz` is not a setting .* Did you mean `format\.masks`"):
        hpa_cells.export(table="t", out="o.csv", format="csv", overrides=["format.maskz=false"])
    with pytest.raises(ValueError, match=r"`wrokers` is not a setting of segment. Did you mean `workers`"):
        hpa_cells.segment(fields="F", out="O", wrokers=2)


def test_predict_gives_the_table(small_world: Any, tmp_path: Path) -> None:
    cells = hpa_cells.predict(
        fields=small_world.fields,
        model=small_world.model,
        out=tmp_path / "a run, by = hand",
        segmenter="precomputed",
        overrides=[f"segmenter.folder={small_world.masks}"],
        device="cpu",
    )
    pd.testing.assert_frame_equal(cells, read_table(tmp_path / "a run, by = hand").cells)
    assert len(cells) == sum(small_world.num_cells.values())


def test_failed_fields_are_an_error_here_too(small_world: Any, tmp_path: Path) -> None:
    for path in small_world.fields.glob("f0_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:60])
    for path in small_world.fields.glob("f2_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FieldsFailedError, match="1 of 2 fields failed"):
        hpa_cells.predict(
            fields=tmp_path,
            model=small_world.model,
            out=tmp_path / "run",
            segmenter="precomputed",
            overrides=[f"segmenter.folder={small_world.masks}"],
        )
    assert hpa_cells.read_table(tmp_path / "run").fields["field_id"].tolist() == ["f2"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, hpa_cells; dir(hpa_cells)\n"
        "heavy = {'torch', 'lightning', 'pandas', 'numpy', 'hydra', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_what_the_package_has() -> None:
    assert set(VERBS) | {"read_table", "__version__"} == set(dir(hpa_cells))
    with pytest.raises(AttributeError, match="has no attribute 'predcit'"):
        hpa_cells.predcit  # noqa: B018
