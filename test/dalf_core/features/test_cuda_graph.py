"""CUDA graphs, as far as they can be tested without a GPU: what each is captured for, and when none is used.

Here a "graph" holds fast what a real one does: the device, the shape, the type and every constant of the call it was captured in.
"""
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from dalf_core import DALF
from dalf_core.features import cuda_graph, extractor
from dalf_core.features.cuda_graph import CAPTURE, GRAPHS_KEPT, WARM_UPS, CapturedGraph, GraphedFunction, GraphKey
from dalf_core.features.network import DalfNetwork
from dalf_core.torch_device import gpu_work
from dalf_core.weights import save_weights

from ..feature_fixtures import textured

CPU = torch.device("cpu")


class FakeGraph:
    captured: list[cuda_graph.GraphKey] = []

    def __init__(self, function, x, key) -> None:
        self._function, self._key = function, key
        self.captured.append(key)

    def __call__(self, x):
        assert (tuple(x.shape), x.dtype) == (self._key.shape, self._key.dtype)
        return self._function(x, *self._key.constants)


def test_a_capture_runs_on_the_stream_of_its_own_gpu_and_alone(monkeypatch):
    """PyTorch's default stream of captures belongs to the first GPU that captured: elsewhere a graph of it would stay empty."""
    asked, runs = [], []

    class Graph:
        replay = staticmethod(lambda: runs.append("replay"))

    @contextmanager
    def capture(graph, *, stream, capture_error_mode):
        asked.append((stream, capture_error_mode, CAPTURE.locked()))
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    key = GraphKey(CPU, (2,), torch.float32, (3,))
    made = CapturedGraph(lambda x, factor: runs.append(CAPTURE.locked()) or (x * factor,), torch.ones(2), key)
    assert asked == [("stream of cpu", "thread_local", True)] and not CAPTURE.locked()
    assert runs == [False] * WARM_UPS + [True]
    first, second = made(torch.zeros(2))[0], made(torch.zeros(2))[0]
    assert runs[-2:] == ["replay"] * 2 and first.data_ptr() != second.data_ptr()      # what a call returns is the caller's own


@pytest.fixture
def captured(monkeypatch) -> list[cuda_graph.GraphKey]:
    monkeypatch.setattr(cuda_graph, "CapturedGraph", FakeGraph)
    monkeypatch.setattr(FakeGraph, "captured", [])
    return FakeGraph.captured


def test_a_graph_is_captured_for_each_shape_type_and_constant(captured):
    double = GraphedFunction(lambda x, factor: (x * factor,), CPU)
    x = torch.ones(2, 3)
    calls = [(x, 2), (x, 3), (x[:1], 2), (x.double(), 2), (x, 2), (x, 3)]
    for value, factor in calls:
        assert torch.equal(double(value, factor)[0], value * factor)
    assert [(key.shape, key.dtype, key.constants) for key in captured] == [
        ((2, 3), torch.float32, (2,)), ((2, 3), torch.float32, (3,)), ((1, 3), torch.float32, (2,)), ((2, 3), torch.float64, (2,))]
    assert all(key.device == CPU for key in captured)


def test_only_the_latest_graphs_are_kept(captured):
    same = GraphedFunction(lambda x: (x,), CPU)
    for length in [*range(1, GRAPHS_KEPT + 2), 1, GRAPHS_KEPT + 1]:
        same(torch.zeros(length))
    assert len(captured) == GRAPHS_KEPT + 2         # the first was let go, the last was not
    same.clear()
    same(torch.zeros(1))
    assert len(captured) == GRAPHS_KEPT + 3


@pytest.fixture
def dalf(tmp_path, captured) -> DALF:
    """An extractor on the CPU that works as one with precision="float16" does on a GPU."""
    torch.manual_seed(0)
    save_weights(DalfNetwork(), tmp_path / "random.safetensors")
    made = DALF(tmp_path / "random.safetensors", "cpu", top_k=50, threshold=-1e9, backend="pytorch")
    made._graph = GraphedFunction(extractor._run_fixed, CPU)
    return made


def check(dalf: DALF, image: np.ndarray, mask: np.ndarray | None = None) -> None:
    """It gives what it gives without graphs."""
    graph, found = dalf._graph, dalf.extract(image, mask)
    dalf._graph = None
    expected = dalf.extract(image, mask)
    dalf._graph = graph
    assert len(found) == len(expected) > 5
    assert np.allclose(found.keypoints, expected.keypoints, atol=1e-4) and np.allclose(found.descriptors, expected.descriptors, atol=1e-4)


def test_what_changes_between_images_reaches_the_graph(dalf, captured):
    image, other = textured(96, 64), textured(96, 64, 1)
    for picture in (image, other, textured(64, 96), image):
        check(dalf, picture)
    assert len(captured) == 2
    dalf.top_k = 20
    check(dalf, image)
    assert len(captured) == 3 and captured[-1].constants[1] == 20
    dalf._pipeline = replace(dalf._pipeline, threshold=float(np.median(dalf.heatmap(image))))
    check(dalf, image)
    dalf._pipeline = replace(dalf._pipeline, descriptor="polar")
    check(dalf, image)
    assert len(captured) == 5


def test_scales_have_graphs_of_their_own(dalf, captured):
    dalf.scales = (0.5, 1.0)
    check(dalf, textured(96, 64))
    assert [(key.shape, key.constants[1]) for key in captured] == [((1, 1, 32, 48), 25), ((1, 1, 64, 96), 50)]


def test_tiles_masks_and_batches_are_never_captured(dalf, captured):
    image = textured(96, 64)
    mask = np.zeros((64, 96), np.uint8)
    mask[10:50, 10:80] = 1
    check(dalf, image, mask)
    dalf._pipeline = replace(dalf._pipeline, tile_above=64 * 96 - 1)
    check(dalf, image)
    assert captured == []
    dalf._pipeline = replace(dalf._pipeline, tile_above=64 * 96)
    check(dalf, image)
    assert len(captured) == 1


def test_what_is_captured_never_works_in_tiles(dalf, monkeypatch):
    """They make tensors on the CPU, which a capture does not allow."""
    monkeypatch.setattr(type(dalf.network.backbone), "tiled", None)
    small = replace(dalf._pipeline, tile_above=1)
    with torch.inference_mode():
        assert len(small.run_fixed(torch.rand(1, 1, 64, 96), 10).scores) == 10


def test_little_memory_lets_the_graphs_go_and_captures_smaller_steps(dalf, captured, monkeypatch):
    image, describe = textured(96, 64), DalfNetwork.describe
    check(dalf, image)

    def crammed(network, gray, features, xy, *, chunk, **options):
        if chunk > 40:
            raise torch.OutOfMemoryError("out of memory")
        return describe(network, gray, features, xy, chunk=chunk, **options)

    monkeypatch.setattr(DalfNetwork, "describe", crammed)
    check(dalf, image)
    assert [key.constants[0].chunk for key in captured] == [64, 32]


def test_fixed_settings_cannot_be_changed_unseen(dalf):
    for name in ("threshold", "keypoint_bias"):
        with pytest.raises(AttributeError):
            setattr(dalf, name, 1.0)
    with pytest.raises(AttributeError):
        dalf._pipeline.chunk = 3


@pytest.mark.gpu
def test_a_real_graph_gives_what_the_function_gives():
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    affine = GraphedFunction(lambda x, factor: (x * factor + 1,), device)
    with gpu_work(device):
        for value, factor in ((1.0, 2), (5.0, 2), (5.0, 3)):
            assert affine(torch.full((4,), value), factor)[0].tolist() == [value * factor + 1] * 4
