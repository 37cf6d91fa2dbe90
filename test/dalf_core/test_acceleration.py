"""OpenVINO against PyTorch, the reference."""
import cv2
import numpy as np
import pytest

from dalf_core import DALF, acceleration

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def image(data_folder):
    return cv2.imread(str(data_folder / "dalf/kanagawa_1.png"))[:237, :318]      # odd, and its own number of keypoints


@pytest.fixture(scope="module")
def weights(data_folder):
    return str(data_folder / "dalf/model_ts-fl_final.pth")


def test_results_equal_those_of_pytorch(image, weights):
    ours, reference = (DALF(weights, "cpu", top_k=200, backend=backend) for backend in ("openvino", "pytorch"))
    assert ours.backend.startswith("openvino") and reference.backend == "pytorch"
    got, expected = ours.extract(image), reference.extract(image)
    np.testing.assert_allclose(got.keypoints, expected.keypoints, atol=1e-3)
    assert (got.descriptors * expected.descriptors).sum(axis=1).min() > 0.99999


def test_going_back_to_another_image_size_compiles_nothing(image, weights, monkeypatch):
    ours, shapes = DALF(weights, "cpu", top_k=100, backend="openvino"), []
    compile_ = acceleration.compiled
    monkeypatch.setattr(acceleration, "compiled", lambda module, shape, *more: shapes.append(shape) or compile_(module, shape, *more))
    first = ours.extract(image)
    ours.extract(image[:200])
    count = len(shapes)
    np.testing.assert_array_equal(ours.extract(image).descriptors, first.descriptors)
    ours.extract(image[:200])
    assert len(shapes) == count and len({shape[2:] for shape in shapes if shape[:2] == (1, 1)}) == 2


def test_bfloat16_stays_close(image, weights):
    ours, reference = (DALF(weights, "cpu", top_k=200, precision=precision) for precision in ("bfloat16", "float32"))
    got, expected = ours.extract(image), reference.extract(image)
    apart = np.linalg.norm(got.keypoints[:, None] - expected.keypoints[None], axis=2)
    near = apart.min(axis=1) < 0.3
    assert near.mean() > 0.7
    cosine = (got.descriptors * expected.descriptors[apart.argmin(axis=1)]).sum(axis=1)[near]
    assert np.median(cosine) > 0.999


@pytest.mark.parametrize("options, cause", [({"precision": "int4"}, "precision"), ({"backend": "tensorrt"}, "backend"),
                                            ({"precision": "bfloat16", "backend": "pytorch"}, "OpenVINO"),
                                            ({"precision": "bfloat16", "geometry": "original"}, "OpenVINO")])
def test_impossible_choices_are_refused(weights, options, cause):
    with pytest.raises(ValueError, match=cause):
        DALF(weights, "cpu", **options)
