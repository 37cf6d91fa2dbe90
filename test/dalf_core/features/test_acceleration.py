"""OpenVINO against PyTorch, the reference."""
from functools import partial

import cv2
import numpy as np
import pytest

from dalf_core import DALF
from dalf_core.features import acceleration

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


def test_sizes_are_compiled_once_and_the_network_is_converted_once(image, weights, monkeypatch):
    ours, calls = DALF(weights, "cpu", top_k=100, backend="openvino"), {"converted": [], "compiled": []}
    plain = {name: getattr(acceleration, name) for name in calls}

    def noted(name, model, shape, *more):
        calls[name].append(shape)
        return plain[name](model, shape, *more)

    for name in calls:
        monkeypatch.setattr(acceleration, name, partial(noted, name))
    first, other = ours.extract(image), ours.extract(image[:200])
    assert len(calls["converted"]) == 3                         # U-Net, warper, patch descriptor
    assert [shape for shape in calls["compiled"] if shape[1] == 1 and shape[0] == 1] == [(1, 1, 237, 318), (1, 1, 200, 318)]
    count = len(calls["compiled"])
    for features, again in ((first, image), (other, image[:200])):
        np.testing.assert_array_equal(ours.extract(again).descriptors, features.descriptors)
    assert len(calls["compiled"]) == count and len(calls["converted"]) == 3
    reference = DALF(weights, "cpu", top_k=100, backend="pytorch").extract(image[:200])
    np.testing.assert_allclose(other.keypoints, reference.keypoints, atol=1e-3)


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
