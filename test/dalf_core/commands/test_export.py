"""The ONNX graph by ONNX Runtime against PyTorch, on a picture the export did not see."""
from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from dalf_core import DALF  # noqa: E402
from dalf_core.commands import export  # noqa: E402
from dalf_core.features import onnx_export  # noqa: E402
from dalf_core.features.image_input import to_gray  # noqa: E402
from dalf_core.features.light_network import LightNetwork  # noqa: E402
from dalf_core.features.network import DalfNetwork  # noqa: E402
from dalf_core.features.onnx_export import ExportError, export_onnx  # noqa: E402
from dalf_core.weights import save_weights  # noqa: E402

from ..feature_fixtures import textured  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(DalfNetwork(), path)
    return str(path)


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> str:
    torch.manual_seed(0)
    network, path = LightNetwork().train(), tmp_path_factory.mktemp("weights") / "light.safetensors"
    with torch.no_grad():
        network(torch.rand(4, 1, 64, 96))
        network.patch_descriptor(torch.rand(64, 1, 32, 16))
    save_weights(network, path)
    return str(path)


def test_the_light_network_at_opset_17(tmp_path, light, capsys):
    path = tmp_path / "light.onnx"
    assert export.main(["--output", str(path), "--weights", light, "--size", "141x96", "--top-k", "300", "--threshold=-1e9"]) == 0
    assert "100.0% the same" in capsys.readouterr().out
    model = onnx.load(str(path))
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["architecture"] == "light" and metadata["geometry"] == "aligned" and metadata["image_size"] == "141x96"
    image = textured(141, 96)
    keypoints, scores, descriptors = session.run(["keypoints", "scores", "descriptors"], {"gray": to_gray(image)[None, None]})
    expected = DALF(light, "cpu", 300, threshold=-1e9, backend="pytorch").extract(image)
    assert keypoints.shape == (300, 2) and np.allclose(scores[:len(expected)], expected.scores, atol=1e-4)
    apart = np.linalg.norm(keypoints[:len(expected), None] - expected.keypoints, axis=2)
    assert (apart.min(axis=1) < 0.01).mean() > 0.98
    assert np.median((descriptors[:len(expected)] * expected.descriptors[apart.argmin(axis=1)]).sum(axis=1)) > 0.9999


def test_the_graph_extracts_what_pytorch_extracts(tmp_path, weights, capsys):
    path = tmp_path / "dalf.onnx"
    arguments = ["--output", str(path), "--weights", weights, "--size", "141x96", "--top-k", "400", "--threshold=-1e9"]
    assert export.main(arguments) == 0 and "100.0% the same" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["dalf.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["geometry"] == "corrected" and metadata["image_size"] == "141x96" and metadata["top_k"] == "400"
    image = textured(141, 96)
    keypoints, scores, descriptors = session.run(["keypoints", "scores", "descriptors"], {"gray": to_gray(image)[None, None]})
    expected = DALF(weights, "cpu", 400, threshold=-1e9, backend="pytorch").extract(image)
    count = len(expected)
    assert keypoints.shape == (400, 2) and 50 < count < 400
    assert (scores[:count] > -np.inf).all() and (scores[count:] == -np.inf).all()
    assert np.allclose(scores[:count], expected.scores, atol=1e-4)
    apart = np.linalg.norm(keypoints[:count, None] - expected.keypoints, axis=2)        # equal scores may change places
    same = apart.min(axis=1) < 0.01         # random weights have flat tops, where rounding decides
    assert same.mean() > 0.98
    assert (descriptors[:count] * expected.descriptors[apart.argmin(axis=1)]).sum(axis=1)[same].min() > 0.9999


@pytest.mark.parametrize("network", ["weights", "light"])
def test_one_graph_takes_any_size_and_number_of_images(tmp_path, request, capsys, network):
    path, weights = tmp_path / "free.onnx", request.getfixturevalue(network)
    assert export.main(["--output", str(path), "--weights", weights, "--size", "free", "--top-k", "300", "--threshold=-1e9"]) == 0
    assert "100.0% the same" in capsys.readouterr().out
    assert [(one.domain, one.version) for one in onnx.load(str(path)).opset_import] == [("", 17)]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["image_size"] == "free"
    dalf = DALF(weights, "cpu", 300, threshold=-1e9, backend="pytorch")
    for number, width, height in ((1, 128, 80), (3, 97, 141), (2, 160, 96)):
        images = [textured(width, height, seed) for seed in range(number)]
        found = session.run(["keypoints", "scores", "descriptors"], {"gray": np.stack([to_gray(image)[None] for image in images])})
        for expected, keypoints, scores, descriptors in zip(dalf.extract_batch(images), *found, strict=True):
            count = int((scores > -np.inf).sum())
            assert keypoints.shape == (300, 2) and len(expected) > 20 and abs(count - len(expected)) <= 0.02 * len(expected)
            apart = np.linalg.norm(keypoints[:count, None] - expected.keypoints, axis=2)
            nearest, same = apart.argmin(axis=1), apart.min(axis=1) < 0.05      # random weights: flat tops
            assert same.mean() > 0.95 and np.allclose(scores[:count][same], expected.scores[nearest][same], atol=1e-4)
            assert np.median((descriptors[:count] * expected.descriptors[nearest]).sum(axis=1)[same]) > 0.9999


def test_a_graph_that_differs_is_not_kept(tmp_path, weights, monkeypatch):
    path = tmp_path / "dalf.onnx"
    path.write_text("the old one")
    dalf = DALF(weights, "cpu", 50, threshold=-1e9, backend="pytorch", descriptor="polar")
    write = onnx_export._write

    def wrongly(partial, module, gray, metadata):
        next(module.network.patch_descriptor.parameters()).neg_()
        write(partial, module, gray, metadata)

    monkeypatch.setattr(onnx_export, "_write", wrongly)
    with torch.inference_mode(), pytest.raises(ExportError, match="differs from PyTorch"):
        export_onnx(path, dalf, 64, 64)
    assert path.read_text() == "the old one" and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_exported_is_named(tmp_path, weights, capsys):
    (tmp_path / "file").touch()
    assert export.main(["--output", str(tmp_path / "file" / "dalf.onnx"), "--weights", weights, "--size", "32x32"]) == 2
    assert "File exists" in capsys.readouterr().err
    assert export.main(["--output", str(tmp_path / "dalf.onnx"), "--weights", str(tmp_path / "none.pth")]) == 2
    assert "none.pth" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_status:
        export.main(["--output", "dalf.onnx", "--size", "640"])
    assert exit_status.value.code == 2
    with pytest.raises(ValueError, match="one scale"):
        export_onnx(tmp_path / "dalf.onnx", DALF(weights, "cpu", backend="pytorch", scales=[0.5, 1]), 64, 64)
