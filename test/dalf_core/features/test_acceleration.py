"""OpenVINO against PyTorch, the reference."""
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from dalf_core import DALF
from dalf_core.features import acceleration

runs_openvino = pytest.mark.skipif(bool(acceleration.openvino_fault()), reason=acceleration.openvino_fault())


@pytest.fixture(scope="module")
def image(data_folder):
    return cv2.imread(str(data_folder / "dalf/kanagawa_1.png"))[:237, :318]      # odd, and its own number of keypoints


@pytest.fixture(scope="module")
def weights(data_folder):
    return str(data_folder / "dalf/model_ts-fl_final.pth")


@runs_openvino
def test_results_equal_those_of_pytorch(image, weights):
    ours, reference = (DALF(weights, "cpu", top_k=200, backend=backend, precision="float32") for backend in ("openvino", "pytorch"))
    assert ours.backend.startswith("openvino") and reference.backend == "pytorch"
    got, expected = ours.extract(image), reference.extract(image)
    np.testing.assert_allclose(got.keypoints, expected.keypoints, atol=1e-3)
    assert (got.descriptors * expected.descriptors).sum(axis=1).min() > 0.99999


@runs_openvino
def test_sizes_are_compiled_once(image, weights, monkeypatch):
    ours, calls = DALF(weights, "cpu", top_k=100, backend="openvino", precision="float32"), []
    plain = acceleration.compiled

    def noted(module, shapes, *more):
        calls.extend(shapes)
        return plain(module, shapes, *more)

    monkeypatch.setattr(acceleration, "compiled", noted)
    first, other = ours.extract(image), ours.extract(image[:200])
    assert [shape for shape in calls if shape[1] == 1 and shape[0] == 1] == [(1, 1, 237, 318), (1, 1, 200, 318)]
    count = len(calls)
    assert count == 5                       # U-Net and warper twice, patch descriptor
    for features, again in ((first, image), (other, image[:200])):
        np.testing.assert_array_equal(ours.extract(again).descriptors, features.descriptors)
    assert len(calls) == count
    reference = DALF(weights, "cpu", top_k=100, backend="pytorch").extract(image[:200])
    np.testing.assert_allclose(other.keypoints, reference.keypoints, atol=1e-3)


@runs_openvino
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


@pytest.mark.parametrize(("setting", "threads"), [("3", 3), ("4,2", 4), (" 2 , 1", 2), ("", None), ("many", None), ("0", None)])
def test_the_number_of_threads_is_the_first_of_a_list(monkeypatch, caplog, setting, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert acceleration.threads_asked_for() == threads
    assert ("ignored" in caplog.text) == (setting in ("many", "0"))


@runs_openvino
def test_a_list_of_thread_numbers_is_no_error(monkeypatch, image, weights):
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    assert len(DALF(weights, "cpu", top_k=20, descriptor="backbone", backend="openvino", precision="float32").extract(image)) == 20


def test_where_openvino_does_not_run_pytorch_does_and_says_so(monkeypatch, caplog, weights):
    monkeypatch.setattr(acceleration, "openvino_fault", lambda: "OpenVINO does not run on this processor (bad combination)")
    assert DALF(weights, "cpu", precision="float32").backend == "pytorch"
    assert "bad combination" in caplog.text and "runs PyTorch" in caplog.text
    with pytest.raises(RuntimeError, match="bad combination.*pytorch"):
        DALF(weights, "cpu", backend="openvino", precision="float32")
    with pytest.raises(ValueError, match="OpenVINO"):
        DALF(weights, "cpu", precision="bfloat16")


@runs_openvino
@pytest.mark.parametrize(("wrong", "fault"), [(lambda x: x, ""), (lambda x: x * 1.004, ""), (lambda x: x[:, ::-1], "computes wrongly"),
                                              (lambda x: x * np.nan, "computes wrongly")])
def test_openvino_that_computes_wrongly_is_not_used(monkeypatch, wrong, fault):
    """As its convolutions do on an emulated ARM processor with SVE2; float32 rounded to bfloat16 is no fault."""
    real = acceleration.compiled

    def compiled(*arguments):
        model = real(*arguments)
        return lambda values: [wrong(model(values)[0])]

    monkeypatch.setattr(acceleration, "compiled", compiled)
    before = torch.random.get_rng_state()
    found = acceleration.openvino_fault.__wrapped__()
    assert fault in found and bool(found) == bool(fault)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_openvino_is_tried_before_it_is_used():
    """With the newest processors' instructions taken away, as on a virtual machine's basic processor."""
    program = ("import numpy; from dalf_core.features import acceleration; from dalf_core.features.extractor import DALF; "
               "print(repr(acceleration.openvino_fault())); "
               "image = numpy.random.default_rng(0).integers(0, 255, (64, 64), numpy.uint8); "
               "DALF(device='cpu', top_k=5, descriptor='backbone').extract(image)")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "SSE41"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "''" or "does not run on this processor" in done.stdout and "runs PyTorch" in done.stderr
