"""From a network to a file of ONNX, which is compared with the network before it appears."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from hpa_cells.atomic import replaced_on_success

__all__ = ["LEAST_OPSET", "METADATA_KEY", "Graph", "write_onnx"]

log = logging.getLogger(__name__)

METADATA_KEY: Final = "hpa_cells"
# What torch writes; before it, ONNX has no largest value of each bag.
LEAST_OPSET: Final = 18
# Sums of float32 in another order: of probabilities and usual logits this is far below what anyone reads off.
_TOLERANCE, _RELATIVE_TOLERANCE = 1e-4, 1e-5
# What a file of protobuf can hold.
_MOST_BYTES: Final = (1 << 31) - 1
_REASON_LENGTH: Final = 300
_NOISY: Final = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A network as it is exported.

    Attributes
    ----------
    network
        In evaluation mode, on the CPU; takes tensors by position and gives a tuple of them.
    inputs
        Name of each input -> names of its dimensions, in order; a number is a size that is fixed.
    outputs
        The same of what it gives.
    trials
        Inputs to compare by; the first, of sizes above 1 that are not alike, is also the one to trace.
    """

    network: nn.Module
    inputs: Mapping[str, tuple[str | int, ...]]
    outputs: Mapping[str, tuple[str | int, ...]]
    trials: Sequence[tuple[Tensor, ...]]


def write_onnx(graph: Graph, path: Path, *, metadata: dict[str, Any], opset: int, name: str) -> None:
    """Write the file; it appears when onnxruntime has given the same as torch.

    Parameters
    ----------
    graph
        The network.
    path
        The file.
    metadata
        Plain values that JSON knows, all that is needed to use it: written as JSON under `METADATA_KEY`.
    opset
        Version of ONNX's operators.
    name
        Of the network, for messages.

    Raises
    ------
    ValueError
        If a package is missing, the network has something that ONNX has not, or what comes out differs.
    """
    onnx = _packages()
    if opset < LEAST_OPSET:
        raise ValueError(f"opset is {opset}: give {LEAST_OPSET} or more.")
    with _quiet():
        model = _converted(graph, opset=opset, name=name)
    written = next(each.version for each in model.opset_import if not each.domain)
    # Of a version that it does not know, torch keeps its own and says so in its log only.
    if written != opset:
        raise ValueError(
            f"opset is {opset}, of which the installed torch and onnxscript know nothing: they write {written}. Give "
            "a lower one, or install later versions of both."
        )
    _describe(model, graph, metadata)
    # More than that cannot be asked for its bytes.
    if model.ByteSize() > _MOST_BYTES:
        raise ValueError(f"{name} has more than 2 GiB of weights, which a file of ONNX cannot hold.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{name} makes no valid ONNX ({_reason(error)}): give another `opset`.") from error
    data = model.SerializeToString()
    _compare(data, graph, name)
    with replaced_on_success(path) as temporary:
        temporary.write_bytes(data)


def _packages() -> Any:
    """The package onnx; the others are asked for too, before any work."""
    try:
        import onnx
        import onnx.checker
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise ValueError(
            f'ONNX needs the package {error.name}, which is not installed: pip install "hpa-cells[onnx]".'
        ) from error
    assert onnxruntime is not None
    assert onnxscript is not None
    return onnx


def _converted(graph: Graph, *, opset: int, name: str) -> Any:
    """The network as a protobuf of ONNX, with weights and sizes that are free."""
    shapes = tuple(
        {axis: torch.export.Dim.AUTO for axis, size in enumerate(sizes) if isinstance(size, str)}
        for sizes in graph.inputs.values()
    )
    try:
        with torch.no_grad():
            program = torch.export.export(graph.network, graph.trials[0], dynamic_shapes=shapes, strict=False)
            converted = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                verbose=False,
            )
    # What torch raises for what it cannot trace or translate has no common kind.
    except Exception as error:
        raise ValueError(
            f"{name} cannot be written as ONNX ({type(error).__name__}: {_reason(error)}): it has a layer "
            f"that ONNX, or this torch ({torch.__version__}), has no words for."
        ) from error
    assert converted is not None
    return converted.model_proto


def _describe(model: Any, graph: Graph, metadata: dict[str, Any]) -> None:
    """Put in names of sizes and what the file is, and leave out where on this machine the code lies."""
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for values, described in ((model.graph.input, graph.inputs), (model.graph.output, graph.outputs)):
        for value in values:
            del value.metadata_props[:]
            for dimension, size in zip(value.type.tensor_type.shape.dim, described[value.name], strict=True):
                if isinstance(size, str):
                    dimension.dim_param = size
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "hpa_cells", str(metadata["version"])
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata, allow_nan=False))


def _compare(data: bytes, graph: Graph, name: str) -> None:
    """Refuse a file that says something else than the network, of any of the trials."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for trial in graph.trials:
            with torch.inference_mode():
                wanted = [each.numpy() for each in graph.network(*trial)]
            found = session.run(None, dict(zip(graph.inputs, (each.numpy() for each in trial), strict=True)))
            for output, mine, theirs in zip(graph.outputs, wanted, found, strict=True):
                _compare_one(output, mine, theirs, name)
    # Of a family of its own, which has no common kind.
    except Exception as error:
        if isinstance(error, ValueError):
            raise
        raise ValueError(
            f"{name} does not run as ONNX ({type(error).__name__}: {_reason(error)}): give another `opset`."
        ) from error


def _compare_one(output: str, mine: Any, theirs: Any, name: str) -> None:
    if mine.shape != theirs.shape:
        raise ValueError(f"{name} gives {output} of {theirs.shape} as ONNX, {mine.shape} by torch.")
    difference = np.abs(mine - theirs)
    if not (difference <= _TOLERANCE + _RELATIVE_TOLERANCE * np.abs(mine)).all():
        raise ValueError(
            f"{name} gives another {output} as ONNX than by torch, by up to {np.nanmax(difference):.2g}: it is not "
            "written."
        )


def _reason(error: BaseException) -> str:
    """What is at the root of an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shorten(str(error), _REASON_LENGTH).rstrip(".:")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the packages tell of themselves."""
    levels = {each: logging.getLogger(each).level for each in _NOISY}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in _NOISY:
            logging.getLogger(each).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in levels.items():
                logging.getLogger(each).setLevel(level)
