from __future__ import annotations

import pickle
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hpa_cells.models import EncoderSettings, build_encoder
from hpa_cells.models.encoder_weights import check_hub, read_weights, without_classifier

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_tensors_of_a_pth_file(tmp_path: Path, wrapper: str | None) -> None:
    parallel = {f"module.{name}": value for name, value in WEIGHTS.items()}
    torch.save(parallel if wrapper is None else {wrapper: parallel, "epoch": 3}, tmp_path / "weights.pth")
    found = read_weights(tmp_path / "weights.pth")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize("in_torch", [True, False])
def test_hostile_pickle_is_not_run(tmp_path: Path, in_torch: bool) -> None:
    content = {"a": torch.zeros(1), "b": Hostile(tmp_path / "harm")}
    path = tmp_path / "weights.pth"
    if in_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content["b"], protocol=2))
    with pytest.raises(ValueError, match=r"weights\.pth (is no file of plain tensors|is damaged)"):
        build_encoder(EncoderSettings(name="test_resnet", weights_file=str(path)))
    assert not (tmp_path / "harm").exists()
    # The same pickle does its harm where it is run.
    torch.load(path, weights_only=False) if in_torch else pickle.loads(path.read_bytes())
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content", [nn.Linear(2, 2), [torch.zeros(1)], torch.zeros(1), {"epoch": 3}, {0: torch.zeros(1)}]
)
def test_other_objects_than_tensors_by_name_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth .*torch\.save\(network\.state_dict\(\), FILE\)"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "old.pth"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_file_that_is_cut_off(tmp_path: Path, suffix: str, share: float) -> None:
    weights = {"a": torch.zeros(1000)}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=suffix == "pth")
    read_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        ValueError, match=rf"weights\.{suffix} is (damaged or cut off|no file of plain tensors)"
    ):
        read_weights(path)


@pytest.mark.parametrize("text", [b"hello world", b"<html>not found</html>", b"\x80\x02.", bytes(500)])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_file_of_something_else(tmp_path: Path, suffix: str, text: bytes) -> None:
    (tmp_path / f"weights.{suffix}").write_bytes(text)
    with pytest.raises(
        ValueError, match=rf"weights\.{suffix} is (damaged or cut off|no file of plain tensors)"
    ):
        read_weights(tmp_path / f"weights.{suffix}")


def test_classifier_is_left_out_with_what_stands_beside_it() -> None:
    names = ["stem.weight", "head.norm.weight", "head.bn.bias", "head.fc.weight", "header.weight"]
    weights = {name: torch.zeros(1) for name in names}
    wanted = ["stem.weight", "head.norm.weight", "other.weight"]
    kept = ["stem.weight", "head.norm.weight", "header.weight"]
    assert list(without_classifier(weights, wanted, "head.fc")) == kept
    assert list(without_classifier(weights, wanted, ["head.fc", "header"])) == kept[:2]
    assert list(without_classifier(weights, wanted, None)) == names


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose network ends at once, with an empty cache of published weights, which is returned."""
    with create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def wait(*_: object) -> None:
        raise AssertionError("it waits before it tries again")

    monkeypatch.setattr("time.sleep", wait)
    return tmp_path / "cache"


def test_unreachable_weights_are_explained_at_once(no_hub: Path) -> None:
    with pytest.raises(
        OSError, match=r"test_resnet cannot be fetched \(.*refused.*encoder\.weights_file=FILE"
    ):
        build_encoder(EncoderSettings(name="test_resnet", pretrained=True))


def test_weights_that_break_off_are_explained(monkeypatch: pytest.MonkeyPatch, no_hub: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("connection lost")

    monkeypatch.setattr("hpa_cells.models.encoder.check_hub", lambda: None)
    monkeypatch.setattr("timm.models._builder.load_pretrained", broken)
    with pytest.raises(OSError, match=r"cannot be fetched \(connection lost\).*encoder\.weights_file=FILE"):
        build_encoder(EncoderSettings(name="test_resnet", pretrained=True))


@pytest.mark.parametrize("first_layer", ["repeat", "mean"])
def test_weights_fetched_before_need_no_network(no_hub: Path, first_layer: str) -> None:
    folder = no_hub / "models--timm--test_resnet.r160_in1k"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    weights = timm.create_model("test_resnet").state_dict()
    save_file(weights, snapshot / "model.safetensors")
    settings = EncoderSettings(name="test_resnet", pretrained=True, first_layer=first_layer)
    loaded = build_encoder(settings).state_dict()
    colours = weights["conv1.0.weight"]
    mean = colours.sum(dim=1, keepdim=True) / 4
    expected = colours[:, [0, 1, 2, 0]] * 0.75 if first_layer == "repeat" else mean.expand(-1, 4, -1, -1)
    torch.testing.assert_close(loaded.pop("conv1.0.weight"), expected)
    for name, value in loaded.items():
        assert torch.equal(value, weights[name]), name


def test_network_without_published_weights(no_hub: Path) -> None:
    with pytest.raises(ValueError, match=r"publishes no weights for encoder resnet200 *:.*pretrained=false"):
        build_encoder(EncoderSettings(name="resnet200", pretrained=True))


@pytest.fixture
def unkind_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that answers, but knows nothing."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), NotFound) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield
        thread.join()


def test_hub_is_reached_whatever_it_answers(unkind_server: None) -> None:
    check_hub()


def test_certificates_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def distrust(*_: object, **__: object) -> None:
        raise URLError(ssl.SSLError("certificate verify failed"))

    monkeypatch.setattr("hpa_cells.models.encoder_weights.urlopen", distrust)
    check_hub()
