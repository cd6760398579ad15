"""The verbs of ``hpa-cells`` as Python functions.

Each composes the same settings as its command and runs the same code. What a command asks for is a named
argument; any other setting of the verb may follow as one (``tta="d4"``), and a dotted or added one goes into
`overrides` in Hydra's grammar (``overrides=["data.num_folds=3"]``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from hpa_cells.commands.addresses import refuse_addresses
from hpa_cells.commands.grammar import quoted
from hpa_cells.commands.hub_models import pin_models
from hpa_cells.commands.settings import compose_checked, refuse_useless_out
from hpa_cells.places import Address, Place, place
from hpa_cells.prediction.parts import Part
from hpa_cells.table import read_table

__all__ = [
    "calibrate",
    "evaluate",
    "explore",
    "export",
    "merge",
    "onnx",
    "predict",
    "pull",
    "push",
    "report",
    "segment",
    "simulate",
    "train",
]

Setting: TypeAlias = "bool | int | float | str | Place | Sequence[Setting] | None"


def simulate(*, out: Path | str, overrides: Sequence[str] = (), **settings: Setting) -> Path:
    """Folder of simulated fields, their labels and the truth of every cell; `out` itself.

    Examples
    --------
    >>> simulate(out="data/sim", fields=20, workers=2)  # doctest: +SKIP
    PosixPath('data/sim')
    """
    _run("simulate", settings | {"out": out}, overrides)
    return Path(out)


def segment(
    *, fields: Place | str, out: Place | str, overrides: Sequence[str] = (), **settings: Setting
) -> Place:
    """Folder of label images, cells and nuclei of every field; `out` itself.

    Examples
    --------
    >>> segment(fields="data/sim/test", out="masks", segmenter="watershed")  # doctest: +SKIP
    PosixPath('masks')
    """
    _run("segment", settings | {"fields": fields, "out": out}, overrides)
    return place(out)


def train(*, out: Path | str, overrides: Sequence[str] = (), **settings: Setting) -> Path:
    """Checkpoint folder of a classifier trained with field labels; `out` itself.

    Examples
    --------
    >>> train(out="model", experiment="dual_head", overrides=["data.root=data/sim"])  # doctest: +SKIP
    PosixPath('model')
    """
    _run("train", settings | {"out": out}, overrides)
    return Path(out)


def predict(
    *,
    fields: Place | str,
    model: Path | str | Sequence[Path | str] = "shipped",
    out: Place | str,
    overrides: Sequence[str] = (),
    **settings: Setting,
) -> pd.DataFrame:
    """Cells of a run, one row each, as `hpa_cells.table.CellTable.cells`; also written to `out`.

    Without a model of your own the one in the package answers, which has seen simulated cells only; ``hf://owner/name``
    is one of a hub.

    Raises
    ------
    FieldsFailedError
        If some fields failed; ``out/failures.csv`` names them and `hpa_cells.read_table` reads the others.

    Examples
    --------
    >>> cells = predict(fields="data/sim/test", model="model", out="run", tta="d4")  # doctest: +SKIP
    >>> cells[["field_id", "cell_id", "p_nucleoli"]].head()  # doctest: +SKIP
    """
    _run("predict", settings | {"fields": fields, "model": model, "out": out}, overrides)
    part = settings.get("part")
    return read_table(place(out) if part is None else Part.parse(str(part)).folder(place(out))).cells


def merge(*, out: Place | str, overrides: Sequence[str] = (), **settings: Setting) -> pd.DataFrame:
    """Cells of all parts of a run, as `predict` gives them; also written to `out`.

    Examples
    --------
    >>> predict(fields="data/sim/test", model="model", out="run", part="1/2")  # doctest: +SKIP
    >>> predict(fields="data/sim/test", model="model", out="run", part="2/2")  # doctest: +SKIP
    >>> cells = merge(out="run")  # doctest: +SKIP
    """
    _run("merge", settings | {"out": out}, overrides)
    return read_table(out).cells


def evaluate(
    *,
    table: Place | str | Sequence[Place | str],
    truth: Path | str,
    out: Path | str,
    overrides: Sequence[str] = (),
    **settings: Setting,
) -> pd.DataFrame:
    """Scores of one or more runs against a truth, one row a run and class; the same as ``out/per_class.csv``.

    Examples
    --------
    >>> scores = evaluate(table="run", truth="data/sim/truth_test", out="scores")  # doctest: +SKIP
    >>> scores[["name", "challenge_ap", "num_truths"]]  # doctest: +SKIP
    """
    _run("evaluate", settings | {"table": table, "truth": truth, "out": out}, overrides)
    return pd.read_csv(Path(out) / "per_class.csv")


def calibrate(
    *,
    table: Path | str,
    truth: Path | str,
    out: Path | str,
    overrides: Sequence[str] = (),
    **settings: Setting,
) -> Path:
    """Folder of a fusion and a calibration learned on validation fields; `out` itself.

    Examples
    --------
    >>> calibrate(table="run", truth="data/sim/truth", out="scores", missing_fields="leave_out")  # doctest: +SKIP
    PosixPath('scores')
    >>> overrides = ["fusion.file=scores"]
    >>> predict(fields="F", model="M", out="R", fusion="learned", overrides=overrides)  # doctest: +SKIP
    """
    _run("calibrate", settings | {"table": table, "truth": truth, "out": out}, overrides)
    return Path(out)


def export(
    *,
    table: Place | str,
    out: Path | str,
    fields: Place | str | None = None,
    overrides: Sequence[str] = (),
    **settings: Setting,
) -> Path:
    """File or folder of a run in another format; `out` itself. Formats that show pixels need its `fields`.

    Examples
    --------
    >>> export(table="run", format="kaggle2021", out="submission.csv")  # doctest: +SKIP
    PosixPath('submission.csv')
    >>> export(table="run", fields="data/sim/test", format="spatialdata", out="run.zarr")  # doctest: +SKIP
    PosixPath('run.zarr')
    """
    _run("export", settings | {"table": table, "out": out, "fields": fields}, overrides)
    return Path(out)


def report(
    *,
    table: Place | str,
    fields: Place | str,
    out: Path | str,
    overrides: Sequence[str] = (),
    **settings: Setting,
) -> Path:
    """HTML page of a run; ``out/report.html``.

    Examples
    --------
    >>> report(table="run", fields="data/sim/test", out="report")  # doctest: +SKIP
    PosixPath('report/report.html')
    """
    _run("report", settings | {"table": table, "fields": fields, "out": out}, overrides)
    return Path(out) / "report.html"


def explore(*, out: Path | str, overrides: Sequence[str] = (), **settings: Setting) -> Path:
    """Folder of statistics of fields, labels or both; `out` itself.

    Examples
    --------
    >>> explore(labels="data/sim/train.csv", out="statistics")  # doctest: +SKIP
    PosixPath('statistics')
    """
    _run("explore", settings | {"out": out}, overrides)
    return Path(out)


def push(*, model: Path | str, out: str, overrides: Sequence[str] = (), **settings: Setting) -> str:
    """Address of the model on the hub, ``hf://owner/name``; `out` itself.

    Examples
    --------
    >>> push(model="model", out="hf://lab/cells", license="cc-by-4.0")  # doctest: +SKIP
    'hf://lab/cells'
    """
    _run("push", settings | {"model": model, "out": out}, overrides)
    return out


def pull(*, model: str, out: Path | str, overrides: Sequence[str] = (), **settings: Setting) -> Path:
    """Folder with a copy of a model on a hub; `out` itself. To use a model, `predict` takes its address, too.

    Examples
    --------
    >>> pull(model="hf://lab/cells", out="model")  # doctest: +SKIP
    PosixPath('model')
    """
    _run("pull", settings | {"model": model, "out": out}, overrides)
    return Path(out)


def onnx(*, model: Path | str, out: Path | str, overrides: Sequence[str] = (), **settings: Setting) -> Path:
    """File of a classifier or a segmenter as ONNX; `out` itself.

    Examples
    --------
    >>> onnx(model="shipped", out="model.onnx")  # doctest: +SKIP
    PosixPath('model.onnx')
    """
    _run("onnx", settings | {"model": model, "out": out}, overrides)
    return Path(out)


def _run(verb: str, settings: Mapping[str, Setting], overrides: Sequence[str]) -> None:
    named = [f"{name}={_in_hydra_grammar(value)}" for name, value in settings.items()]
    config, _ = compose_checked(verb, [*named, *overrides])
    refuse_addresses(verb, config)
    refuse_useless_out(config)
    pin_models(verb, config)
    import_module(f"hpa_cells.commands.{verb}").run(config)


def _in_hydra_grammar(value: Setting) -> str:
    r"""Spell a value in Hydra's override grammar; whatever a string holds comes out as it went in.

    Examples
    --------
    >>> _in_hydra_grammar([True, None, 0.5, "it's a=b, c"])
    "[true,null,0.5,'it\\'s a=b, c']"
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Address):
        return quoted(value.url)
    if isinstance(value, str | Path):
        return quoted(str(value))
    return "[" + ",".join(map(_in_hydra_grammar, value)) + "]"
