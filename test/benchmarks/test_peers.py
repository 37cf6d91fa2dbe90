"""Matchers of other projects: their conventions are undone, and what cannot be had is named and left out.

Their libraries are no packages of the project. What is asked of them here is as in kornia 0.9.0, lomatch 1.0.0 and romav2 2.0.1.
"""
from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

matching = pytest.importorskip("matching")
peers = importlib.import_module("peers")
tensors = importlib.import_module("peers.tensors")

SIZE = (64, 48)


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return tuple(random.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8) for _ in range(2))


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> None:
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)


def test_images_are_rgb_from_0_to_1() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = 255, 51, 0                    # blue, green, red
    tensor = tensors.rgb_tensor(image)
    assert tensor.shape == (1, 3, 2, 3) and tensor.dtype == torch.float32
    assert tensor[0, :, 0, 1].tolist() == pytest.approx([0, 0.2, 1]) and tensor.sum() == pytest.approx(1.2)


def test_edges_become_pixels_with_centres_at_integers() -> None:
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1 + 1 / 64, 1 - 1 / 48]])
    assert tensors.pixels(corners, np.zeros((48, 64, 3))).tolist() == [[-0.5, -0.5], [63.5, 47.5], [0, 47]]


def test_aliked_lightglue(pictures: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict = {}

    class Aliked:
        @classmethod
        def from_pretrained(cls, name: str, max_num_keypoints: int) -> Aliked:
            asked.update(name=name, most=max_num_keypoints)
            return cls()

        def __call__(self, images: torch.Tensor) -> list[SimpleNamespace]:
            count = 3 if images[0, 0, 0, 0] == pictures[0][0, 0, 2] / 255 else 2
            xy = torch.arange(2.0 * count).reshape(count, 2)
            return [SimpleNamespace(keypoints=xy, keypoint_scores=xy[:, 0], descriptors=torch.ones(count, 128))]

    class LightGlue(torch.nn.Module):
        def __init__(self, features: str) -> None:
            super().__init__()
            asked.update(features=features)

        def forward(self, data: dict) -> dict:
            asked.update(data=data, training=self.training)
            return {"matches": [torch.tensor([[2, 0], [0, 1]])]}

    monkeypatch.setattr("kornia.feature.ALIKED", Aliked, raising=False)
    monkeypatch.setattr("kornia.feature.LightGlue", LightGlue)
    row = peers.make_peer("aliked-lightglue", 77)
    a, b, matched = row.match_pair(*pictures)
    assert (asked["name"], asked["most"], asked["features"], asked["training"]) == ("aliked-n16", 77, "aliked", False)
    assert len(a) == 3 and len(b) == 2 and matched.tolist() == [[2, 0], [0, 1]] and a.image_size == SIZE
    assert asked["data"]["image0"]["keypoints"].shape == (1, 3, 2) and asked["data"]["image1"]["descriptors"].shape == (1, 2, 128)
    assert asked["data"]["image1"]["image_size"].tolist() == [list(SIZE)]               # width, height
    nothing = type(a)(a.keypoints[:0], a.scores[:0], a.descriptors[:0], SIZE)
    assert row.match(nothing, b).shape == row.match(b, nothing).shape == (0, 2)


def test_xfeat(pictures: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    class XFeat:
        @classmethod
        def from_pretrained(cls, top_k: int) -> XFeat:
            assert top_k == 5
            return cls()

        def detectAndCompute(self, image: torch.Tensor) -> list[dict[str, torch.Tensor]]:       # noqa: N802
            assert image.shape == (1, 3, *SIZE[::-1])
            return [{"keypoints": torch.tensor([[1.0, 2], [3, 4]]), "scores": torch.ones(2), "descriptors": torch.eye(64)[:2]}]

    monkeypatch.setattr("kornia.feature.XFeat", XFeat, raising=False)
    a, _, matched = peers.make_peer("xfeat", 5).match_pair(*pictures)
    assert a.keypoints.tolist() == [[1, 2], [3, 4]] and matched.tolist() == [[0, 0], [1, 1]]


def test_loma(pictures: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads files, gives places from edge to edge, and its partners of A's keypoints, -1 for none."""
    read: list[np.ndarray] = []

    class LoMa:
        cfg = SimpleNamespace(filter_threshold=0.1)

        def __init__(self, config: str) -> None:
            assert config == "B"

        def detect_and_describe(self, image: str, num_keypoints: int) -> tuple:
            read.append(cv2.imread(image))
            xy = torch.tensor([[[-1.0, -1], [0, 0], [1, 1]]])[:, :num_keypoints]
            return xy, torch.ones(1, xy.shape[1], 256), *SIZE[::-1]

        def __call__(self, *_: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"scores": torch.zeros(1, 3, 3)}

    def filter_matches(scores: torch.Tensor, threshold: float) -> tuple[torch.Tensor, ...]:
        assert threshold == 0.1
        return (torch.tensor([[1, -1, 0]]),)

    module(monkeypatch, "loma", LoMa=LoMa, LoMaB=lambda: "B")
    module(monkeypatch, "loma.loma", filter_matches=filter_matches)
    a, b, matched = peers.make_peer("loma", 3).match_pair(*pictures)
    assert all(np.array_equal(picture, seen) for picture, seen in zip(pictures, read, strict=True))
    assert a.keypoints.tolist() == b.keypoints.tolist() == [[-0.5, -0.5], [31.5, 23.5], [63.5, 47.5]]
    assert matched.tolist() == [[0, 1], [2, 0]] and a.descriptors.shape == (3, 256)
    nothing, _, matched = peers.make_peer("loma", 0).match_pair(*pictures)
    assert len(nothing) == 0 and matched.shape == (0, 2)


def test_romav2(pictures: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    class RoMaV2:
        def match(self, a: np.ndarray, b: np.ndarray) -> str:
            assert np.array_equal(a, pictures[0][..., ::-1]) and np.array_equal(b, pictures[1][..., ::-1])       # RGB
            return "warp"

        def sample(self, warp: str, count: int) -> tuple[torch.Tensor, ...]:
            assert warp == "warp"
            return torch.cat([torch.tensor([[-1.0, -1, 1, 1]]), torch.rand(count - 1, 4)]), torch.ones(count), None, None

    module(monkeypatch, "romav2", RoMaV2=RoMaV2)
    row = peers.make_peer("romav2", 6)
    state = torch.get_rng_state()
    a, b, matched = row.match_pair(*pictures)
    assert a.keypoints[0].tolist() == [-0.5, -0.5] and b.keypoints[0].tolist() == [63.5, 47.5]
    assert matched.tolist() == [[row, row] for row in range(6)]
    assert np.array_equal(a.keypoints, row.match_pair(*pictures)[0].keypoints) and torch.equal(state, torch.get_rng_state())


def test_what_cannot_be_had_is_left_out(photo_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """One line each, whether the library is absent or a download fails; the others are measured."""
    def no_network() -> None:
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "loma", None)
    module(monkeypatch, "romav2", RoMaV2=no_network)
    asked = ["--photos", str(photo_files), "--pairs", "1", "--levels", "easy"]
    assert matching.main([*asked, "--extractors", "loma,orb,romav2"]) == 0
    told = capsys.readouterr()
    assert "orb" in told.out and "loma" not in told.out
    lines = [line for line in told.err.splitlines() if "left out" in line]
    assert len(lines) == 2 and "loma is left out" in lines[0] and "romav2 is left out" in lines[1]
    assert "ModuleNotFoundError" in lines[0] and "OSError: Name or service not known" in lines[1]
    assert all("docs/benchmarks.md" in line for line in lines)
    assert matching.main([*asked, "--extractors", "loma"]) == 2
    assert "no extractor is left" in capsys.readouterr().err
