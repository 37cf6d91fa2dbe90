"""Weights: where they come from, and one clear error for each thing that can be wrong with them."""
from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dalf_core import weights
from dalf_core.features.geometry import CORRECTED, ORIGINAL
from dalf_core.features.network import OFFICIAL_NAMES, DalfNetwork
from dalf_core.weights import WeightsError, load_network, read_weights, resolve, save_weights

SHIPPED = weights.BUILT_IN


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    monkeypatch.setattr(weights, "BUILT_IN", tmp_path / "no" / "built_in.safetensors")


@pytest.fixture
def official_tensors() -> dict[str, torch.Tensor]:
    """Random tensors under the official names."""
    torch.manual_seed(0)
    named = {}
    for name, tensor in DalfNetwork().state_dict().items():
        official, ours = next((o, n) for o, n in OFFICIAL_NAMES.items() if name.startswith(n))
        named[official + name[len(ours):]] = tensor
    return named


@pytest.fixture
def checkpoint(tmp_path, official_tensors) -> Path:
    torch.save(official_tensors, tmp_path / "some.pth")
    return tmp_path / "some.pth"


def same(network: DalfNetwork, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(network.state_dict()[weights.rename_official(name)], value) for name, value in tensors.items())


def test_official_checkpoint_loads_unchanged(data_folder):
    path = data_folder / "dalf" / weights.OFFICIAL_FILE
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network, loaded = load_network(path)
    assert same(network, tensors) and len(tensors) == len(network.state_dict())
    assert loaded.geometry == ORIGINAL and not network.training
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.OFFICIAL_SHA256


def test_a_path_and_the_environment(monkeypatch, checkpoint, official_tensors):
    assert same(load_network(checkpoint)[0], official_tensors)
    assert same(load_network(str(checkpoint))[0], official_tensors)
    monkeypatch.setenv(weights.ENVIRONMENT, str(checkpoint))
    assert resolve(None) == checkpoint


def test_built_in_weights_come_before_the_official_ones(monkeypatch, tmp_path, checkpoint):
    save_weights(DalfNetwork(), tmp_path / "own.safetensors")
    monkeypatch.setattr(weights, "BUILT_IN", tmp_path / "own.safetensors")
    assert resolve(None) == tmp_path / "own.safetensors"
    monkeypatch.setenv(weights.ENVIRONMENT, str(checkpoint))
    assert resolve(None) == checkpoint


def test_the_shipped_light_weights():
    """They say how they were made, are small, and find a turned and dimmed picture's keypoints where they went."""
    from dalf_core import DALF, match

    assert resolve("light").stat().st_size < 2e6
    network, loaded = load_network("light")
    assert network.architecture == "light" and {"recipe", "data", "score", "start"} <= set(loaded.metadata)
    rng = np.random.default_rng(0)
    picture = sum(cv2.resize(rng.random((9 * k, 12 * k), np.float32), (384, 288), interpolation=cv2.INTER_CUBIC) / k for k in (1, 2, 4, 8))
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((191.5, 143.5), 75, 0.9)
    turned = cv2.warpAffine(picture // 2 + 60, turn, (384, 288), borderMode=cv2.BORDER_REFLECT)
    dalf = DALF("light", "cpu", top_k=400)
    a, b = dalf.extract(picture), dalf.extract(turned)
    found = match(a, b)
    error = np.linalg.norm(a.keypoints[found.reference_index] @ turn[:, :2].T + turn[:, 2] - b.keypoints[found.query_index], axis=1)
    assert len(error) > 100 and (error < 2).mean() > 0.7


def test_the_shipped_weights():
    """They are ours, read with the corrected geometry, and say how they were made."""
    assert SHIPPED.is_file()
    network, loaded = load_network(SHIPPED)
    assert loaded.geometry == CORRECTED and {"recipe", "data", "score", "start"} <= set(loaded.metadata)
    assert 0 < loaded.threshold < 1000 and abs(loaded.keypoint_bias) < 1
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_our_own_files_say_what_they_are(tmp_path):
    torch.manual_seed(1)
    network, path = DalfNetwork(), tmp_path / "named_anyhow.bin"
    save_weights(network, path, geometry=CORRECTED, metadata={"steps": "7"})
    again, loaded = load_network(path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    assert loaded.geometry == CORRECTED and loaded.metadata["steps"] == "7"
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []
    with pytest.raises(ValueError, match="geometry"):
        save_weights(network, path, geometry="round")


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_does_not_run(tmp_path, official_tensors, legacy):
    trace, path = tmp_path / "it_ran", tmp_path / "bomb.pth"
    torch.save({**official_tensors, "extra": _Bomb(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="refused and none of it was run"):
        load_network(path)
    path.write_bytes(pickle.dumps(_Bomb(trace)))
    with pytest.raises(WeightsError, match="bomb.pth"):
        load_network(path)
    assert not trace.exists()


def test_damaged_and_foreign_files(tmp_path, checkpoint):
    whole = checkpoint.read_bytes()
    flipped = bytearray(whole)
    flipped[-40:] = bytes(40)
    save_weights(DalfNetwork(), tmp_path / "own.safetensors")
    own = (tmp_path / "own.safetensors").read_bytes()
    cases = {"empty": (b"", "is empty"), "text": (b"hello, this is a page", "no checkpoint"),
             "cut": (whole[:len(whole) // 2], "damaged"), "flipped": (bytes(flipped), "damaged"),
             "cut_own": (own[:len(own) // 2], "damaged"), "zip": (b"PK\x03\x04 no more", "damaged")}
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            load_network(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_tensors_are_named(tmp_path, official_tensors):
    path = tmp_path / "wrong.pth"

    def message(content) -> str:
        torch.save(content, path)
        with pytest.raises(WeightsError) as caught:
            load_network(path)
        return str(caught.value)

    first = next(iter(official_tensors))
    assert "is missing" in message({n: t for n, t in official_tensors.items() if n != first})
    assert "has shape" in message({**official_tensors, first: torch.zeros(3)})
    assert "extra is unknown" in message({**official_tensors, "extra": torch.zeros(3)})
    assert "NaN" in message({**official_tensors, first: torch.full_like(official_tensors[first], torch.nan)})
    assert "more" in message({"a": torch.zeros(1)})
    assert "not a plain table" in message([1, 2, 3])
    assert "not a plain table" in message({"model": official_tensors})
    assert "not a plain table" in message(torch.zeros(3))


def test_foreign_safetensors(tmp_path):
    from safetensors.torch import save_file
    save_file({"a": torch.zeros(2)}, str(tmp_path / "x.safetensors"))
    with pytest.raises(WeightsError, match="does not describe"):
        read_weights(tmp_path / "x.safetensors")


def test_missing_file_and_directory(monkeypatch, tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_network(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="is a directory"):
        load_network(tmp_path)
    with pytest.raises(WeightsError, match="path, not int"):
        load_network(3)  # type: ignore[arg-type]
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "absent.pth"))
    with pytest.raises(WeightsError, match=weights.ENVIRONMENT):
        load_network()


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; what it should serve goes into tmp_path/served."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}/weights.pth"
        web.shutdown()


def test_download_is_checked_cached_and_repaired(monkeypatch, tmp_path, server, checkpoint):
    content = checkpoint.read_bytes()
    monkeypatch.setattr(weights, "OFFICIAL_URL", server)
    monkeypatch.setattr(weights, "OFFICIAL_SHA256", hashlib.sha256(content).hexdigest())
    (tmp_path / "served" / "weights.pth").write_bytes(content)
    path = resolve("official")
    assert path == tmp_path / "cache" / "dalf" / weights.OFFICIAL_FILE and path.read_bytes() == content
    assert len(list(path.parent.iterdir())) == 1
    (tmp_path / "served" / "weights.pth").unlink()
    assert resolve(None) == path                    # offline now, from the cache
    path.write_bytes(content[:100])                 # damaged in the cache, and nothing to repair it with
    with pytest.raises(WeightsError, match="could not be downloaded"):
        resolve("official")
    (tmp_path / "served" / "weights.pth").write_bytes(content)
    assert resolve("official").read_bytes() == content
    monkeypatch.setenv(weights.ENVIRONMENT, str(checkpoint))
    path.unlink()
    assert resolve("official") == checkpoint        # the environment names the very file


def test_a_wrong_download_is_not_kept(monkeypatch, tmp_path, server):
    monkeypatch.setattr(weights, "OFFICIAL_URL", server)
    (tmp_path / "served" / "weights.pth").write_bytes(b"an error page")
    with pytest.raises(WeightsError, match="is not the official checkpoint"):
        resolve("official")
    assert list((tmp_path / "cache" / "dalf").iterdir()) == []


def test_no_network_says_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "OFFICIAL_URL", "http://127.0.0.1:9/weights.pth")
    with pytest.raises(WeightsError) as caught:
        resolve(None)
    text = str(caught.value)
    assert "could not be downloaded" in text and weights.ENVIRONMENT in text and weights.OFFICIAL_SHA256 in text
    assert str(tmp_path / "cache" / "dalf" / weights.OFFICIAL_FILE) in text


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="could not be stored"):
        resolve("official")
