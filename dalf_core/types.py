"""The plain values that pass between the parts of the library."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

WAITING = "waiting"      # no reference yet
TRACKED = "tracked"
DEGRADED = "degraded"
LOST = "lost"


@dataclass(frozen=True)
class Features:
    """Keypoints and descriptors of one image, strongest first; those of a second look, if there was one, stand behind them.

    keypoints: (N, 2) float32, x and y in pixels; the centre of the top-left pixel is (0, 0).
    scores: (N,) float32, detector response, larger is stronger; 0 for what was found by another picture's patch (see match_images).
    descriptors: (N, D) float32, unit length; (N, 0) when none were asked for.
    image_size: (width, height) in pixels of the image they belong to.
    scales: (N,) float32, by what factor the image was resized when each was found; all 1 if not given.
    on_device: the descriptors as a tensor on the GPU that made them, for matching there; None otherwise.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray
    image_size: tuple[int, int]
    scales: np.ndarray = None       # type: ignore[assignment]
    on_device: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.scales is None:
            object.__setattr__(self, "scales", np.ones(len(self.keypoints), np.float32))

    def __len__(self) -> int:
        return len(self.keypoints)

    def strongest(self, count: int) -> Features:
        """The first so many of them."""
        return self.select(slice(count))

    def select(self, rows: np.ndarray | slice) -> Features:
        """Some of them: rows (K,) indices, (N,) bool, or a slice."""
        on_device = self.on_device
        if on_device is not None:
            import torch

            on_device = on_device[rows if isinstance(rows, slice) else torch.as_tensor(rows, device=on_device.device)]
        return Features(self.keypoints[rows], self.scores[rows], self.descriptors[rows], self.image_size, self.scales[rows], on_device)


@dataclass(frozen=True)
class Matches:
    """Pairs of keypoints, reference to query, nearest descriptors first.

    reference_index, query_index: (M,) int64, rows of the two Features.
    distance: (M,) float32, L2 distance of the unit descriptors, 0 to 2.
    inlier: (M,) bool; all True until verified.
    """

    reference_index: np.ndarray
    query_index: np.ndarray
    distance: np.ndarray
    inlier: np.ndarray

    def __len__(self) -> int:
        return len(self.reference_index)

    def select(self, rows: np.ndarray) -> Matches:
        """Some of them: rows (K,) indices or (M,) bool."""
        return Matches(self.reference_index[rows], self.query_index[rows], self.distance[rows], self.inlier[rows])


@dataclass(frozen=True)
class Registration:
    """The reference surface as found in one frame. Positions in the camera optical frame, metres.

    status: "tracked", "degraded" or "lost"; reason says why it is not tracked, in words.
    vertices: (V, 3) float32, deformed reference vertices, same order; the last good ones when lost.
    normals: (V, 3) float32, unit length.
    visible: (V,) bool, a depth reading supports the vertex in this frame or, where there is no reading, a match beside it; the others
    follow their neighbours.
    residual_m: RMS distance of the vertices with a depth reading to the measured surface, along its normal; NaN when lost.
    inlier: (M,) bool, landmarks the solver kept, one per correspondence given.
    node_rotation (K, 3, 3), node_translation (K, 3) m: the warp's graph, see registration.graph.
    milliseconds: processing time by stage.
    """

    status: str
    reason: str
    vertices: np.ndarray
    normals: np.ndarray
    visible: np.ndarray
    residual_m: float
    inlier: np.ndarray
    node_rotation: np.ndarray
    node_translation: np.ndarray
    milliseconds: dict[str, float] = field(default_factory=dict)
    warp: Any = None
    confidence: np.ndarray = None       # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.confidence is None:
            object.__setattr__(self, "confidence", np.asarray(self.visible, np.float32))


@dataclass(frozen=True)
class PointTrack:
    """A named point in every frame. position: (T, 3) metres; visible: (T,) bool; where it is not known NaN and False."""

    position: np.ndarray
    visible: np.ndarray
